"""The gate, asked as a front would ask it."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from popframe.errors import TemporaryFailure
from popframe.model import Peer, PlainCredentials
from popframe.server.isolation.channel import Channel, LoginRequest
from popframe.testing.site import MailSite

GATE = """
import os
import socket
import sys
from pathlib import Path

from popframe.server import startup
from popframe.server.isolation.gate import Gate
from popframe.server.service import service_of

configuration = startup.check(Path(sys.argv[1]))
service = service_of(configuration, startup.build(configuration, {}), None)
Gate(socket.socket(fileno=int(sys.argv[2])), service, os.getppid(), 5.0).run()
"""


SLOW = """
import time

from popframe import hookimpl


class Slow:
    @hookimpl
    def popframe_authenticate(self, credentials):
        time.sleep(60)
"""

LIMITS = "max_connections = 2\nmax_connections_per_address = 2\nmax_connections_per_user = 2"


def test_the_gate_outlives_nonsense_and_ends_when_nobody_can_ask_it() -> None:
    """An empty datagram, which a front that was taken over may send, is not the end of all fronts."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with MailSite({"alice": "secret"}) as site, ours, theirs:
        command = [sys.executable, "-c", GATE, str(site.configuration), str(theirs.fileno())]
        gate = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL)
        try:
            theirs.close()
            ours.send(b"")
            channel, back = Channel.pair()
            with back:
                socket.send_fds(ours, [b"nonsense"], [back.fileno(), back.fileno()])
            with pytest.raises(TemporaryFailure, match="no process for the session"):
                channel.receive_account(30)
            channel.close()
            assert gate.poll() is None
            ours.close()
            assert gate.wait(30) == 0
        finally:
            gate.kill()
            gate.wait()


def test_the_gate_starts_no_more_than_may_connect() -> None:
    """The fronts keep to the limit; one that was taken over need not."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with MailSite({"alice": "secret"}) as site, ours, theirs:
        (site.directory / "slow.py").write_text(SLOW)
        site.configure(LIMITS, plugins=("./slow.py", "auth_file", "store_mbox"))
        command = [sys.executable, "-c", GATE, str(site.configuration), str(theirs.fileno())]
        gate = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL)
        channels = []
        try:
            theirs.close()
            for number in range(3):
                channel, back = Channel.pair()
                channels.append(channel)
                request = LoginRequest(str(number), Peer("127.0.0.1"), PlainCredentials("alice", b"secret"))
                with back:
                    socket.send_fds(ours, [request.packed()], [back.fileno(), back.fileno()])
            with pytest.raises(TemporaryFailure, match="2 sessions, and that is the limit"):
                channels[2].receive_account(30)
        finally:
            gate.kill()
            gate.wait()
            for channel in channels:
                channel.close()
