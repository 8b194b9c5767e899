"""Very many clients that only keep their connection, and others who want to read mail."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
import ssl
import threading
import time

import pytest

from popframe.testing.client import RawClient
from popframe.testing.site import MailSite

from .tls_site import HOST, TlsSite

LONG = os.environ.get("POPFRAME_LONG") == "1"
SILENT, TRICKLING = (2000, 500) if LONG else (200, 50)
PER_ADDRESS = 50
LOGINS = 10

LOGIN_SECONDS = 5.0
"""Far more than a login takes; on a machine that does nothing else it is some hundredths."""


@pytest.fixture
def tls(site: MailSite) -> TlsSite:
    """Return a site that takes so many connections."""
    made = TlsSite(site)
    made.configure(server="max_connections = 4096\nfronts = 2\n", tls="handshake_timeout_seconds = 60")
    return made


def strangers(address: tuple[str, int], count: int, first: int) -> list[socket.socket]:
    """Connect from as many addresses as the limit for each demands."""
    return [
        socket.create_connection(address, 30, (f"127.0.{first}.{1 + number // PER_ADDRESS}", 0))
        for number in range(count)
    ]


class Trickle(threading.Thread):
    """Sends an octet a second on each of its connections, and never a whole command."""

    def __init__(self, connections: list[socket.socket]) -> None:
        super().__init__()
        self._connections = connections
        self._is_over = threading.Event()
        self.rounds = 0

    def run(self) -> None:
        """Send until stopped."""
        while not self._is_over.wait(1):
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.send(b"x")
            self.rounds += 1

    def stop(self) -> None:
        """End it."""
        self._is_over.set()
        self.join()


def test_strangers_who_say_nothing_or_hardly_anything_keep_nobody_out(tls: TlsSite) -> None:
    """H-053, H-057, T-040: 2,000 that are silent, half where TLS comes first, and 500 with an octet a second."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * (SILENT + TRICKLING))), hard))
    tls.site.put("alice", [b"Subject: hello\n\nHow are you?\n"])
    server = tls.site.start()
    context = tls.context()
    with contextlib.ExitStack() as opened:
        silent = strangers(server.addresses[0], SILENT // 2, 2) + strangers(server.tls_addresses[0], SILENT // 2, 3)
        trickling = strangers(server.addresses[0], TRICKLING // 2, 4) + strangers(
            server.tls_addresses[0], TRICKLING // 2, 5
        )
        for connection in silent + trickling:
            opened.callback(connection.close)
        trickle = Trickle(trickling)
        trickle.start()
        try:
            for _ in server.until("two octets of each that trickles"):
                if trickle.rounds >= 2:
                    break
            for for_tls in [False, True] * LOGINS:
                started = time.monotonic()
                log_in_and_read(
                    server.tls_addresses[0] if for_tls else server.addresses[0], context if for_tls else None
                )
                assert time.monotonic() - started < LOGIN_SECONDS
        finally:
            trickle.stop()
        poll = select.poll()
        for connection in silent:
            poll.register(connection, select.POLLHUP | select.POLLRDHUP)
        assert poll.poll(0) == []  # nobody was sent away for it


def log_in_and_read(address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
    """Be an ordinary client."""
    with RawClient(address, tls=tls, server_name=HOST) as client:
        assert client.log_in("alice", "secret").startswith(b"+OK")
        client.ask("RETR 1")
        assert b"How are you?" in client.body()
        assert client.ask("QUIT").startswith(b"+OK")
