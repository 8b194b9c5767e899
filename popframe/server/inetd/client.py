"""The client that came as descriptor 0."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from dataclasses import dataclass

from popframe.errors import ConfigError, PopframeError
from popframe.model import Peer
from popframe.server.arrival import peer_of

FIRST_FREE_DESCRIPTOR = 3
"""Behind input, output and errors."""

PURPOSE = """\
standard input is {found}, not the connection of a client.
This command serves the one client that inetd, xinetd or systemd has accepted for it. To try it by hand:
  systemd-socket-activate --inetd --accept --listen=127.0.0.1:1110 popframe inetd --config FILE
For a server that listens by itself: popframe serve --config FILE"""

WAIT_MODE = """\
a socket that listens: it is to be started for each client ('nowait' in inetd.conf, 'wait = no' for xinetd, \
'Accept=yes' for systemd)"""

_KINDS = (
    (stat.S_ISCHR, "a terminal or another device"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a folder"),
)


class ClientGone(PopframeError):
    """Whoever has connected is not there any more."""


@dataclass(frozen=True, slots=True)
class Client:
    """A connected client.

    Attributes:
        transport: The connection; descriptors 0 to 2 are it no more.
        peer: Where it comes from.
        had_errors: Standard error was the connection too, and leads nowhere now.
    """

    transport: socket.socket
    peer: Peer
    had_errors: bool


def take_client() -> Client:
    """Take the connection away from the standard descriptors, so that what is written to these does not reach it.

    Raises:
        ConfigError: Standard input is something else; it says what, and how to start this.
        ClientGone: It was a connection, and is one no more.
    """
    transport = _checked_socket()
    shared = [number for number in range(FIRST_FREE_DESCRIPTOR) if _is_same(number, transport)]
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in shared:
        os.dup2(nothing, number)
    os.close(nothing)
    transport.setblocking(True)
    try:
        peer = peer_of(transport, transport.getpeername())
    except OSError as exc:
        transport.close()
        raise ClientGone(f"the client is gone: {exc.strerror}") from exc
    return Client(transport, peer, had_errors=2 in shared)


def _checked_socket() -> socket.socket:
    mode = os.fstat(0).st_mode
    if not stat.S_ISSOCK(mode):
        found = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
        raise ConfigError(PURPOSE.format(found=found))
    transport = socket.socket(fileno=fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_DESCRIPTOR))
    if transport.type != socket.SOCK_STREAM:
        raise ConfigError(PURPOSE.format(found="a socket for datagrams"))
    if transport.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ConfigError(PURPOSE.format(found=WAIT_MODE))
    return transport


def _is_same(number: int, transport: socket.socket) -> bool:
    return os.path.samestat(os.fstat(number), os.fstat(transport.fileno()))
