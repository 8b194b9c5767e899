"""Between a client under TLS and the process of its user: the octets of the one, in clear text, to the other and back.

The process that talks to clients keeps the TLS, and the keys with it; the user's process has one end of a socket pair.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from popframe.server.tls import TlsLayer

PIECE_OCTETS = 65_536
"""Most that is moved at once, and so about what waits in either direction."""

_TIME = struct.Struct("@ll")

ENDED = select.POLLHUP | select.POLLERR


class Relay:
    """One client's relay; it runs in the thread of its session, which has nothing else to do."""

    def __init__(self, client: socket.socket, layer: TlsLayer, inner: socket.socket, patience_seconds: float) -> None:
        """Take what :meth:`pair` has made."""
        self._patience_milliseconds = patience_seconds * 1000
        self._client = client
        self._layer = layer
        self._inner = inner
        self._to_client = memoryview(b"")
        self._to_inner = memoryview(b"")
        self._client_speaks = True
        self._inner_has_ended = False

    @classmethod
    def pair(cls, client: socket.socket, layer: TlsLayer) -> tuple[Self, socket.socket]:
        """Return a relay, and the far end for the user's process; a client that does not read is waited for there."""
        inner, far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        limit = client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIME.size)
        far_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        seconds, microseconds = _TIME.unpack(limit)
        return cls(client, layer, inner, seconds + microseconds / 1_000_000), far_end

    def close(self) -> None:
        """Let go of the user's process; the client's connection is another's to close."""
        self._inner.close()

    def run(self) -> None:
        """Move octets until the user's process has closed its end, and all that it said is with the client.

        The end of what the client sends is passed on as such. A client that can be sent nothing any more ends the
        connection to the user's process, which then learns it at its own next reply, as it would without a relay.
        The user's process watches the clocks; only when it has ended, the time in which a client takes nothing is
        watched here.
        """
        try:
            while self._move():
                pass
        except OSError:
            self._inner.close()

    def _move(self) -> bool:
        """Wait until something can be moved, and move it; False at the end.

        Raises:
            OSError: The client is gone, or sends what is not TLS.
        """
        if not self._to_inner and self._client_speaks:
            self._open_up()
        poll = select.poll()
        client_events = select.POLLIN * (self._client_speaks and not self._to_inner)
        client_events |= select.POLLOUT * bool(self._to_client)
        if client_events:  # its end would be told again and again
            poll.register(self._client, client_events)
        if not (self._inner_has_ended and self._to_client):  # the same
            poll.register(self._inner, select.POLLIN * (not self._to_client) | select.POLLOUT * bool(self._to_inner))
        ready = dict(poll.poll(self._patience_milliseconds if self._inner_has_ended else None))
        if not ready:
            raise TimeoutError("the client does not read")
        client_ready, inner_ready = ready.get(self._client.fileno(), 0), ready.get(self._inner.fileno(), 0)
        self._inner_has_ended = self._inner_has_ended or bool(inner_ready & ENDED)
        if self._to_client and client_ready & (select.POLLOUT | ENDED):
            self._give_to_client()
        if client_ready & (select.POLLIN | ENDED) and self._client_speaks and not self._to_inner:
            self._take_from_client()
        if self._to_inner and inner_ready & (select.POLLOUT | ENDED):
            self._give_to_inner()
        return not inner_ready & (select.POLLIN | ENDED) or bool(self._to_client) or self._take_from_inner()

    def _give_to_client(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._to_client = self._to_client[self._client.send(self._to_client, socket.MSG_DONTWAIT) :]

    def _take_from_client(self) -> None:
        try:
            octets = self._client.recv(PIECE_OCTETS, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if octets:
            self._layer.put_in(octets)
        else:
            self._end_input()

    def _open_up(self) -> None:
        """Take what the layer has in clear text."""
        octets = self._layer.read_now()
        if octets:
            self._to_inner = memoryview(octets)
        elif octets is not None:
            self._end_input()
        self._seal(b"")  # what TLS itself may have to say

    def _end_input(self) -> None:
        self._client_speaks = False
        with contextlib.suppress(OSError):
            self._inner.shutdown(socket.SHUT_WR)

    def _give_to_inner(self) -> None:
        try:
            self._to_inner = self._to_inner[self._inner.send(self._to_inner, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return
        except OSError:  # it has ended, and takes no more; what it has said is still there
            self._to_inner = memoryview(b"")
            self._client_speaks = False

    def _take_from_inner(self) -> bool:
        """Take what the user's process says; False when it has said all."""
        try:
            octets = self._inner.recv(PIECE_OCTETS, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except ConnectionResetError:  # it has ended with something unread
            return False
        if octets:
            self._seal(octets)
        return bool(octets)

    def _seal(self, octets: bytes) -> None:
        if octets:
            self._layer.write_now(octets)
        sealed = self._layer.take_out()
        if sealed:
            self._to_client = memoryview(bytes(self._to_client) + sealed)
