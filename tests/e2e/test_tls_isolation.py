"""TLS in front of a process for each user: who keeps the keys, and that every octet gets across."""

from __future__ import annotations

import os
import pwd
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from popframe.testing.client import RawClient

from .isolated_site import FROM_LINE, PASSWORD, Site, status_of, uid_of, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a server that becomes each user")

BIG_LINES = 400_000
LINE = b"x" * 60 + b"\n"


class TlsIsolation:
    """A server with a process for each user, and TLS."""

    def __init__(self, folder: Path, *, more: str = "") -> None:
        self.authority = trustme.CA()
        issued = self.authority.issue_cert("localhost", common_name="localhost", key_type=trustme.KeyType.RSA)
        self.certificate = folder / "server.pem"
        self.certificate.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
        self.certificate.chmod(0o600)  # root's: nobody who talks to clients can read it
        self.key = issued.private_key_pem.bytes()
        tls = f'[tls]\ncertificate = "{self.certificate}"'
        more = f'listen_tls = ["127.0.0.1:0"]\nwrite_timeout_seconds = 3\n{more}\n{tls}'
        self.site = Site(folder, ["alice", "bob"], more=more)
        self.server = self.site.server

    def logged_in(self, name: str) -> RawClient:
        """Connect a client under TLS, and log in."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        client = RawClient(self.server.tls_addresses[0], tls=context, server_name="localhost")
        reply = client.log_in(name, PASSWORD)
        assert reply.startswith(b"+OK maildrop has "), reply
        return client


@pytest.fixture
def tls(folder: Path) -> Iterator[TlsIsolation]:
    """Return a running server."""
    made = TlsIsolation(folder)
    with made.server:
        yield made


def memory_of(pid: int) -> bytes:
    """Return what a process has in memory and may write to, which only root may ask."""
    pieces = []
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            area = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if area is not None:
                start, end = (int(number, 16) for number in area.groups())
                memory.seek(start)
                pieces.append(memory.read(end - start))
    return b"".join(pieces)


def traces_of(key: bytes, memory: bytes) -> list[str]:
    """Tell which parts of a private key are in memory, in which form."""
    private = load_pem_private_key(key, None)
    assert isinstance(private, RSAPrivateKey)
    numbers = private.private_numbers()
    found = []
    for name, number in (("p", numbers.p), ("q", numbers.q), ("d", numbers.d)):
        octets = number.to_bytes((number.bit_length() + 7) // 8, "big")
        found += [f"{name} as stored"] * (octets[:64] in memory)
        found += [f"{name} as OpenSSL has it"] * (octets[::-1][:64] in memory)
    found += ["PEM"] * (key.splitlines()[3] in memory)
    return found


def test_the_key_of_the_certificate_is_with_those_who_shake_hands_alone(tls: TlsIsolation) -> None:
    """Neither the gate nor a session's process, which is its child, has any part of it in memory."""
    with tls.logged_in("alice"):
        (session,) = tls.site.processes_of("alice")
        gate = tls.site.gate()
        fronts = [pid for pid in tls.server.fronts() if pid != gate]

        assert {name: traces_of(tls.key, memory_of(pid)) for name, pid in (("gate", gate), ("session", session))} == {
            "gate": [],
            "session": [],
        }
        assert all(traces_of(tls.key, memory_of(pid)) for pid in fronts)  # so that it would have been found


def test_a_process_that_is_the_user_has_no_way_to_the_client_but_through_the_front(tls: TlsIsolation) -> None:
    """Its connection is a socket pair; the one to the client is the front's, and so is what encrypts it."""
    with tls.logged_in("alice") as client:
        (pid,) = tls.site.processes_of("alice")
        sockets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        inodes = {place[8:-1] for place in sockets if place.startswith("socket:")}
        internet = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]}

        assert inodes
        assert not inodes & internet
        assert status_of(pid)["Uid"].split() == [str(tls.site.uids["alice"])] * 4
        assert client.ask("XTRY root") == b"-ERR Operation not permitted\r\n"


def test_what_was_sent_with_the_password_gets_across(tls: TlsIsolation) -> None:
    """In the same record, in further ones, and half a command."""
    context = ssl.create_default_context()
    tls.authority.configure_trust(context)
    with RawClient(tls.server.tls_addresses[0], tls=context, server_name="localhost") as client:
        client.send(b"USER alice\r\nPASS secret\r\nSTAT\r\nNO")
        client.send(b"OP\r\n" * 2 + b"NOOP\r\n" * 5000 + b"DELE 1\r\nQUIT\r\n")
        replies = client.rest().splitlines()

    assert replies[1].startswith(b"+OK maildrop has 2 messages")
    assert replies[2].startswith(b"+OK 2 ")
    assert len(replies) == 3 + 2 + 5000 + 2
    assert replies[-1].startswith(b"+OK bye")
    assert tls.site.mail.joinpath("alice").read_bytes() == FROM_LINE + b"Subject: 1 for alice\n\nhi\n\n"
    tls.server.wait_for_log("outcome=quit")
    assert re.search(r" login .* user=alice tls=TLSv1\.3/", tls.server.log())


def test_a_session_that_begins_with_stls_goes_on_behind_the_relay(tls: TlsIsolation) -> None:
    """T-001: the user's process has a socket pair, and the client its replies."""
    context = ssl.create_default_context()
    tls.authority.configure_trust(context)
    with RawClient(tls.server.addresses[0]) as client:
        assert client.start_tls(context, "localhost").startswith(b"+OK")
        assert client.log_in("bob", PASSWORD).startswith(b"+OK maildrop has 2 messages")
        (pid,) = tls.site.processes_of("bob")
        assert client.ask("RETR 2").startswith(b"+OK")
        assert b"1 for bob" in client.body()
        assert client.ask("QUIT").startswith(b"+OK bye")
    until(lambda: not tls.site.processes_of("bob"), f"process {pid} ends")


def test_a_long_message_gets_across_while_commands_come(tls: TlsIsolation) -> None:
    """24 MB one way, commands the other, with a client that first only writes."""
    tls.site.write("alice", FROM_LINE + b"Subject: long\n\n" + LINE * BIG_LINES + b"\n")
    with tls.logged_in("alice") as client:
        client.send(b"RETR 1\r\n" + b"NOOP\r\n" * 100)
        time.sleep(0.5)
        assert client.line().startswith(b"+OK ")
        assert client.body() == b"Subject: long\r\n\r\n" + LINE.replace(b"\n", b"\r\n") * BIG_LINES
        assert [client.line() for _ in range(100)] == [b"+OK done\r\n"] * 100


def test_a_client_that_reads_nothing_is_cut_off(tls: TlsIsolation) -> None:
    """After write_timeout_seconds, as without a relay; the maildrop is free, and everybody's process is gone."""
    tls.site.write("alice", FROM_LINE + b"Subject: long\n\n" + LINE * BIG_LINES + b"\n")
    with tls.logged_in("alice") as client:
        client.send(b"RETR 1\r\n" * 20 + b"DELE 1\r\nQUIT\r\n")
        until(lambda: not tls.site.processes_of("alice"), "the session's process ends")
        tls.server.wait_for_log("outcome=timed-out")
    assert LINE in (tls.site.mail / "alice").read_bytes()


def test_a_long_trace_does_not_hold_up_the_relay(folder: Path) -> None:
    """The front takes the lines of the trace from the process of the user while it moves the octets of the client."""
    made = TlsIsolation(folder)
    traces = folder / "traces"
    traces.mkdir()
    os.chown(traces, pwd.getpwnam("nobody").pw_uid, -1)
    with made.site.configuration.open("a") as configuration:
        configuration.write('[trace]\nall_sessions = true\nbodies = true\nfile = "traces/trace"\n')
    lines = 20_000
    made.site.write("alice", FROM_LINE + b"Subject: long\n\n" + LINE * lines)
    with made.server, made.logged_in("alice") as client:
        assert client.ask("RETR 1").startswith(b"+OK")
        assert client.body().count(b"x\r\n") == lines
        assert client.ask("QUIT").startswith(b"+OK")
        made.server.wait_for_log(" outcome=quit")
        text = (traces / "trace").read_text()

    assert text.count(f" line={LINE.decode().strip()}\n") == lines
    assert " trace-ended " in text


@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_a_client_that_goes_ends_the_session(tls: TlsIsolation, how: str) -> None:
    """P-030, H-036: nothing is removed, and the process of the user ends at once."""
    client = tls.logged_in("alice")
    client.ask("DELE 1")
    with socket.socket(fileno=os.dup(client.socket.fileno())) as raw:
        if how == "half":
            raw.shutdown(socket.SHUT_WR)
        elif how == "reset":
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if how != "half":
            client.close()
    until(lambda: not tls.site.processes_of("alice"), "the session's process ends")
    client.close()

    tls.server.wait_for_log("outcome=disconnected")
    assert b"0 for alice" in (tls.site.mail / "alice").read_bytes()


def test_a_session_that_dies_ends_the_connection(tls: TlsIsolation) -> None:
    """And nobody else's."""
    with tls.logged_in("alice") as alice, tls.logged_in("bob") as bob:
        alice.send(b"XTRY die\r\n")
        assert alice.line() == b""
        assert bob.ask("NOOP").startswith(b"+OK")
        tls.server.wait_for_log("user=alice outcome=storage-failed")


def test_a_server_that_is_stopped_ends_what_goes_on_elsewhere(tls: TlsIsolation) -> None:
    """Without an update, and without leaving a process behind."""
    with tls.logged_in("alice") as client:
        client.ask("DELE 1")
        assert tls.server.stop() == 0
        assert client.line() == b""
    until(lambda: not tls.site.processes_of("alice"), "the session's process ends")
    assert "user=alice outcome=shut-down" in tls.server.log()
    assert b"0 for alice" in (tls.site.mail / "alice").read_bytes()


def test_inetd_serves_tls_too(tls: TlsIsolation) -> None:
    """With --tls from the first octet; the gate has no key there either."""
    command = [sys.executable, "-m", "popframe", "inetd", "--tls", "--config", str(tls.site.configuration)]
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as ours:
        accepted, _ = listener.accept()
        with accepted:
            process = subprocess.Popen(
                command, stdin=accepted.fileno(), stdout=accepted.fileno(), stderr=subprocess.PIPE
            )
        context = ssl.create_default_context()
        tls.authority.configure_trust(context)
        with process, context.wrap_socket(ours, server_hostname="localhost") as client:
            lines = client.makefile("rb")
            assert lines.readline().startswith(b"+OK")
            client.sendall(b"USER alice\r\nPASS secret\r\n")
            assert [lines.readline()[:3] for _ in range(2)] == [b"+OK"] * 2
            (session,) = tls.site.processes_of("alice")
            gate = int(status_of(session)["PPid"])
            assert uid_of(gate) == 0
            assert [traces_of(tls.key, memory_of(pid)) for pid in (gate, session)] == [[], []]
            client.sendall(b"QUIT\r\n")
            assert lines.readline().startswith(b"+OK bye")
            lines.close()
            process.communicate(timeout=30)
