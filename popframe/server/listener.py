"""Listening sockets: bound here, or passed by systemd.

A listener is shared by all fronts, which inherit it: when one of them dies, no connection that waits in the kernel's
queue is lost with it. Options set on a listener are inherited by the connections that it accepts.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from popframe.errors import ConfigError

BACKLOG = 1024
"""Connections that wait in the kernel until a thread takes them; the kernel caps it (net.core.somaxconn)."""

ACCEPT_WAKE_SECONDS = 1.0
"""How often a thread that waits for a connection looks whether its front is to end."""

SYSTEMD_FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""

SYSTEMD_TLS_NAME = "pop3s"
"""What the socket for port 995 is called by IANA, and so in a unit."""


def set_timeout(connection: socket.socket, option: int, seconds: float) -> None:
    """Bound blocking calls by SO_RCVTIMEO or SO_SNDTIMEO.

    Unlike ``settimeout`` this costs no extra system call for each read and write.
    """
    whole = int(seconds)
    connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", whole, int((seconds - whole) * 1_000_000)))


def set_connection_options(connection: socket.socket, write_timeout_seconds: float) -> None:
    """Set what every client's connection has: on itself, or on the listener that it inherits it from."""
    set_timeout(connection, socket.SO_SNDTIMEO, write_timeout_seconds)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        # A reply leaves in one send: waiting for more would only delay it.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def name_of(listener: socket.socket) -> str:
    """Return the address that a listener is bound to, for people."""
    name = listener.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{name}"
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[host]:port``, whose form the configuration has checked."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where clients are to come, and what is spoken there first.

    Attributes:
        address: Address and port, as in the configuration.
        speaks_tls: TLS from the first octet (RFC 8314).
    """

    address: str
    speaks_tls: bool = False


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket on which clients come.

    Attributes:
        socket: It listens.
        speaks_tls: TLS from the first octet (RFC 8314).
    """

    socket: socket.socket
    speaks_tls: bool = False


class Listeners:
    """The listening sockets of the master, each under the endpoint that was asked for.

    Several entries may ask for any port (port 0) of the same address, so an endpoint is known with its place among its
    equals.
    """

    def __init__(self) -> None:
        self._by_endpoint: dict[tuple[Endpoint, int], Listener] = {}
        self._inherited: list[Listener] = []

    @property
    def all(self) -> list[Listener]:
        """All of them, those passed by systemd first."""
        return [*self._inherited, *self._by_endpoint.values()]

    def names(self, *, speaks_tls: bool) -> list[str]:
        """Return the addresses of those that speak TLS first, or of the others, for people."""
        return [name_of(listener.socket) for listener in self.all if listener.speaks_tls is speaks_tls]

    def inherit(self, environment: Mapping[str, str]) -> bool:
        """Take the sockets that systemd passed to this process, if any (sd_listen_fds(3)).

        One whose unit calls it ``pop3s`` (FileDescriptorName=) speaks TLS from the first octet.

        Raises:
            ConfigError: What was passed is not a listening stream socket.
        """
        if environment.get("LISTEN_PID") != str(os.getpid()):
            return False
        names = environment.get("LISTEN_FDNAMES", "").split(":")
        for number in range(int(environment["LISTEN_FDS"])):
            descriptor = SYSTEMD_FIRST_DESCRIPTOR + number
            listener = socket.socket(fileno=descriptor)
            if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise ConfigError(f"systemd passed descriptor {descriptor}, which does not listen: use Accept=no")
            os.set_inheritable(descriptor, False)
            listener.setblocking(True)
            self._inherited.append(Listener(listener, names[number : number + 1] == [SYSTEMD_TLS_NAME]))
        return bool(self._inherited)

    def listen_on(self, endpoints: Sequence[Endpoint]) -> None:
        """Listen on exactly these endpoints: keep those that are bound, bind the new ones, close the others.

        Raises:
            ConfigError: One of the new ones cannot be bound; then everything stays as it was.
        """
        if self._inherited:
            return
        wanted = [(endpoint, endpoints[:place].count(endpoint)) for place, endpoint in enumerate(endpoints)]
        added: dict[tuple[Endpoint, int], Listener] = {}
        for key in wanted:
            if key in self._by_endpoint:
                continue
            endpoint = key[0]
            try:
                added[key] = Listener(_bound(endpoint.address), endpoint.speaks_tls)
            except OSError as error:
                for listener in added.values():
                    listener.socket.close()
                setting = "server.listen_tls" if endpoint.speaks_tls else "server.listen"
                reason = error.strerror or error
                raise ConfigError(f"{setting}: cannot listen on {endpoint.address}: {reason}") from error
        for key in set(self._by_endpoint) - set(wanted):
            self._by_endpoint.pop(key).socket.close()
        self._by_endpoint.update(added)

    def prepare(self, write_timeout_seconds: float) -> None:
        """Set what the accepted connections inherit."""
        for listener in self.all:
            set_timeout(listener.socket, socket.SO_RCVTIMEO, ACCEPT_WAKE_SECONDS)
            set_connection_options(listener.socket, write_timeout_seconds)


def _bound(address: str) -> socket.socket:
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
