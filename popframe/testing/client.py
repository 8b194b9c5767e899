"""A POP3 client that does exactly what a test says, right or wrong: raw octets out, lines in."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from types import TracebackType
from typing import Self

PATIENCE_SECONDS = 120.0
"""How long a test waits for the server before it fails; on a loaded machine, reading two gibibytes takes a while."""

FAREWELL_SECONDS = 5.0
"""How long a client that leaves waits for the server's end of the connection."""


class RawClient:
    """A connection on which nothing is checked, completed or repaired.

    Whoever leaves its ``with`` block has no session any more: the client says that nothing more comes, and waits until
    the server has closed the connection too. What comes next finds the maildrop free. ``close`` waits for nothing.

    Attributes:
        socket: The connected socket, for what the methods do not cover: shutting down one side, resetting.
        greeting: The first line.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        source: str | None = None,
        first: bytes = b"",
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        """Connect and read the greeting.

        Args:
            address: Host and port.
            source: Address to come from, such as 127.0.0.2.
            first: What to send before everything else, such as a header of the PROXY protocol.
            tls: Speak TLS from the first octet.
            server_name: The name to ask for, and to find in the certificate.

        Raises:
            OSError: The connection, or the handshake, fails.
        """
        self.socket = socket.create_connection(address, PATIENCE_SECONDS, None if source is None else (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(first)
        if tls is not None:
            self._wrap(tls, server_name)
        self._lines = self.socket.makefile("rb")
        try:
            self.greeting = self.line()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave: end the connection, wait for the server to end it, and close it."""
        if exc is None:
            with contextlib.suppress(OSError):  # it may be closed already, on either side
                self._read_off()
        self.close()

    def _read_off(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + FAREWELL_SECONDS
        while (seconds := deadline - time.monotonic()) > 0:
            self.socket.settimeout(seconds)
            if not self.socket.recv(1 << 16):
                return

    def start_tls(self, tls: ssl.SSLContext, server_name: str | None = None) -> bytes:
        """Say STLS, make the handshake if the server agrees, and return its reply.

        Raises:
            OSError: The handshake fails; the connection is closed.
        """
        reply = self.ask("STLS")
        if reply.startswith(b"+OK"):
            self._lines.close()
            self._wrap(tls, server_name)
            self._lines = self.socket.makefile("rb")
        return reply

    def _wrap(self, tls: ssl.SSLContext, server_name: str | None) -> None:
        plain = self.socket
        try:
            self.socket = tls.wrap_socket(plain, server_hostname=server_name)
        except BaseException:
            plain.close()
            raise

    def send(self, octets: bytes) -> None:
        """Send octets as they are."""
        self.socket.sendall(octets)

    def line(self) -> bytes:
        """Return the next line with its end; empty when the server has closed the connection."""
        return self._lines.readline()

    def ask(self, command: str) -> bytes:
        """Send one command line and return the first line of the reply."""
        self.send(command.encode() + b"\r\n")
        return self.line()

    def log_in(self, user: str, password: str) -> bytes:
        """Send USER and PASS and return the reply to PASS."""
        self.ask(f"USER {user}")
        return self.ask(f"PASS {password}")

    def body(self) -> bytes:
        """Return the rest of a multi-line response, still byte-stuffed, without the line that ends it.

        Raises:
            EOFError: The connection ended before that line.
        """
        lines: list[bytes] = []
        while (line := self.line()) != b".\r\n":
            if not line:
                raise EOFError(b"".join(lines[-3:]))
            lines.append(line)
        return b"".join(lines)

    def piece(self, most: int) -> bytes:
        """Return the next octets that have come, at least one; empty when the server has closed the connection."""
        return self._lines.read1(most)

    def rest(self) -> bytes:
        """Return everything until the server closes the connection."""
        return self._lines.read()

    def close(self) -> None:
        """Close the connection."""
        self._lines.close()
        self.socket.close()
