"""Where the metrics are listened for: a numeric address and a port, or the path of a Unix socket.

Rule of this file: it imports nothing of the server, for it is used in the collector.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

MAX_PORT = 65_535
"""A port is 16 bits wide (RFC 9293 section 3.1)."""

MAX_PATH_OCTETS = 107
"""Longest path of a Unix socket (unix(7)), less the NUL at its end."""

BACKLOG = 16
"""Scrapers that wait; there is one, or a few."""

ANYBODY_MAY_CONNECT = 0o666
"""As to a port. Who may reach the socket is decided by its folder."""


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """A numeric address and a port; 0 for any."""

    host: str
    port: int

    def listen(self) -> socket.socket:
        """Return a socket that listens there.

        Raises:
            OSError: There is none to be had.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((self.host, self.port))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener


@dataclass(frozen=True, slots=True)
class UnixEndpoint:
    """The path of a Unix socket."""

    path: Path

    def listen(self) -> socket.socket:
        """Return a socket that listens there; one that a process has left behind is replaced.

        Raises:
            OSError: There is none to be had; EADDRINUSE when somebody listens there.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            try:
                listener.bind(str(self.path))
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not _is_left_behind(self.path):
                    raise
                self.path.unlink()
                listener.bind(str(self.path))
            self.path.chmod(ANYBODY_MAY_CONNECT)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener


def parse_endpoint(text: str) -> TcpEndpoint | UnixEndpoint:
    """Return the endpoint that a setting names.

    Args:
        text: ``127.0.0.1:9110``, ``[::1]:9110``, ``localhost:9110`` or ``/run/popframe/metrics``.

    Raises:
        ValueError: It is none of these; the message says what is wrong.
    """
    if text.startswith("/"):
        if len(os.fsencode(text)) > MAX_PATH_OCTETS:
            raise ValueError(f"the path of a Unix socket has at most {MAX_PATH_OCTETS} octets")
        return UnixEndpoint(Path(text))
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ValueError(f"{text!r} is neither address:port, as in '127.0.0.1:9110', nor an absolute path")
    if not (port.isascii() and port.isdigit() and int(port[:6]) <= MAX_PORT):
        raise ValueError(f"{port!r} is not a port, a number from 0 to {MAX_PORT}")
    if host == "localhost":
        host = "127.0.0.1"
    is_bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.IPv6Address(host[1:-1]) if is_bracketed else ipaddress.IPv4Address(host)
    except ValueError as error:
        raise ValueError(f"{host!r} is not a numeric address; IPv6 stands in brackets, as in '[::1]:9110'") from error
    return TcpEndpoint(str(address), int(port))


def name_of(listener: socket.socket) -> str:
    """Return where a socket listens, for people."""
    name = listener.getsockname()
    if not isinstance(name, tuple):
        return str(name)
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


def _is_left_behind(path: Path) -> bool:
    """Tell whether a path is that of a socket on which nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as attempt, contextlib.suppress(OSError):
        attempt.setblocking(False)
        return path.is_socket() and attempt.connect_ex(str(path)) == errno.ECONNREFUSED
    return False
