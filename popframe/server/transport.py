"""A client's connection: octets in and out, in clear text or under TLS, and how long each may take."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from popframe.model import Tls
from popframe.server.listener import set_timeout

if TYPE_CHECKING:
    from popframe.server.tls import Certificates, TlsLayer

READ_OCTETS = 65_536
"""Most that is read at once, and so the most of a client's pipeline that waits in memory."""

SHORTEST_WAIT_SECONDS = 0.001
"""A receive timeout of zero would mean none at all."""


class HandshakeFailed(OSError):
    """Client and server do not come together over TLS; the client was sent an alert where there is one."""


class Wire:
    """The socket, with the time that a read may take.

    The timers work through SO_RCVTIMEO and SO_SNDTIMEO, so that a client that behaves costs no system call but recv and
    send.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Take over a connected, blocking socket whose SO_SNDTIMEO bounds how long a client may refuse to read."""
        self.socket = connection
        self._armed_seconds = 0.0

    def receive(self, seconds: float) -> bytes:
        """Wait for octets; none are the end of the connection.

        Raises:
            BlockingIOError: Nothing came in time.
            OSError: The connection is broken.
        """
        if seconds != self._armed_seconds:
            set_timeout(self.socket, socket.SO_RCVTIMEO, max(seconds, SHORTEST_WAIT_SECONDS))
            self._armed_seconds = seconds
        return self.socket.recv(READ_OCTETS)

    def send(self, buffers: list[bytes]) -> None:
        """Send all of it; each call that moves at least one octet starts the time for the next.

        Raises:
            BlockingIOError: The client has read nothing for the whole of SO_SNDTIMEO.
            OSError: The connection is broken.
        """
        sent = self.socket.sendmsg(buffers)
        if sent == sum(map(len, buffers)):
            return
        rest = memoryview(b"".join(buffers))[sent:]
        while rest:
            rest = rest[self.socket.send(rest) :]


class Transport:
    """One client's connection.

    Attributes:
        socket: The socket below everything.
        layer: TLS, once it has begun.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Take over a connected, blocking socket whose SO_SNDTIMEO bounds how long a client may refuse to read."""
        self.socket = connection
        self.layer: TlsLayer | None = None
        self._wire = Wire(connection)
        self.receive = self._wire.receive
        self.send = self._wire.send

    def start_tls(self, certificates: Certificates, seconds: float) -> Tls:
        """Make the handshake; from then on everything is under TLS.

        Raises:
            HandshakeFailed: The two do not come together.
            BlockingIOError: The client has taken too long.
            OSError: The connection is broken.
        """
        from popframe.server.tls import TlsLayer  # with ssl, for which a server without TLS need not wait

        self.layer = TlsLayer(self._wire, certificates, seconds)
        self.receive = self.layer.receive
        self.send = self.layer.send
        return self.layer.tls

    def end_sending(self) -> None:
        """Tell the client that nothing more comes.

        Raises:
            OSError: It is gone.
        """
        if self.layer is not None:
            self.layer.say_end()
        self.socket.shutdown(socket.SHUT_WR)

    def break_off(self) -> None:
        """End whatever another thread is waiting for here."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; under TLS the client is told first that this is the end (RFC 8446 section 6.1)."""
        if self.layer is not None:
            with contextlib.suppress(OSError):
                self.layer.say_end()
        self.socket.close()
