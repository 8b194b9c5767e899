"""A client that has just connected: where it comes from, and what one is told that cannot be served."""

from __future__ import annotations

import contextlib
import socket

from popframe.engine.wire import status_line
from popframe.errors import Refusal
from popframe.extension import Reply
from popframe.model import Peer


def peer_of(transport: socket.socket, address: object) -> Peer:
    """Return the two ends of a connection; an IPv4 client of an IPv6 socket under its IPv4 address."""
    if not isinstance(address, tuple):
        return Peer("")  # a Unix domain socket: no address
    local = transport.getsockname()
    return Peer(_plain(address[0]), address[1], _plain(local[0]), local[1])


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:") if "." in address else address


def turn_away(transport: socket.socket, refusal: Refusal) -> None:
    """Say why in place of the greeting, without waiting for anything."""
    line = status_line(Reply(refusal.wire_text, is_ok=False, code=refusal.code))
    with contextlib.suppress(OSError):
        transport.send(line, socket.MSG_DONTWAIT)
        transport.shutdown(socket.SHUT_WR)
    transport.close()
