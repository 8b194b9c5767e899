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

SYSTEMD_NAMES = {"pop3s": (True, False), "pop3-proxy": (False, True), "pop3s-proxy": (True, True)}
"""Which sockets speak TLS, and which are for proxies, by what a unit calls them (FileDescriptorName=); IANA calls the
service on port 995 ``pop3s``. Any other name is that of a socket for clients that begin in clear text."""


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
        behind_proxy: A header of the PROXY protocol before everything else.
    """

    address: str
    speaks_tls: bool = False
    behind_proxy: bool = False

    @property
    def has_any_port(self) -> bool:
        """The system chooses the port."""
        return self.address.endswith(":0")

    @property
    def setting(self) -> str:
        """Where the configuration asks for it."""
        return ("proxy" if self.behind_proxy else "server") + (".listen_tls" if self.speaks_tls else ".listen")


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket on which clients come.

    Attributes:
        socket: It listens.
        speaks_tls: TLS from the first octet (RFC 8314).
        behind_proxy: A header of the PROXY protocol before everything else.
    """

    socket: socket.socket
    speaks_tls: bool = False
    behind_proxy: bool = False


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

    def names(self, *, speaks_tls: bool, behind_proxy: bool) -> list[str]:
        """Return the addresses of those of one kind, for people."""
        kind = (speaks_tls, behind_proxy)
        return [
            name_of(listener.socket) for listener in self.all if (listener.speaks_tls, listener.behind_proxy) == kind
        ]

    def check_inherited(self, *, has_certificate: bool, names_proxies: bool) -> None:
        """Refuse sockets of systemd for which the configuration has not what they need.

        Raises:
            ConfigError: It lacks the server's certificate, or the networks of proxies.
        """
        if any(listener.speaks_tls for listener in self._inherited) and not has_certificate:
            raise ConfigError("tls.certificate: is missing, and systemd passed a socket for TLS")
        if any(listener.behind_proxy for listener in self._inherited) and not names_proxies:
            raise ConfigError("proxy.networks: must name the proxies, since systemd passed a socket for them")

    def inherit(self, environment: Mapping[str, str]) -> bool:
        """Take the sockets that systemd passed to this process, if any (sd_listen_fds(3)).

        What one is for is told by its name; see :data:`SYSTEMD_NAMES`.

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
            name = names[number] if number < len(names) else ""
            self._inherited.append(Listener(listener, *SYSTEMD_NAMES.get(name, (False, False))))
        return bool(self._inherited)

    def listen_on(self, endpoints: Sequence[Endpoint]) -> None:
        """Listen on exactly these endpoints: keep those that are bound, bind the new ones, close the others.

        Raises:
            ConfigError: One of the new ones cannot be bound; then everything stays as it was.
        """
        if self._inherited:
            return
        wanted = [(endpoint, endpoints[:place].count(endpoint)) for place, endpoint in enumerate(endpoints)]
        kept = {key: self._by_endpoint[key] for key in wanted if key in self._by_endpoint}
        dropped = {key: listener for key, listener in self._by_endpoint.items() if key not in kept}
        # An address that changes its kind keeps its socket: a second one could not be bound beside it.
        known = {key[0].address: listener.socket for key, listener in dropped.items() if not key[0].has_any_port}
        added: dict[tuple[Endpoint, int], Listener] = {}
        for key in wanted:
            if key in kept:
                continue
            endpoint = key[0]
            try:
                bound = known.get(endpoint.address) or _bound(endpoint.address)
            except OSError as error:
                for listener in added.values():
                    if listener.socket not in known.values():
                        listener.socket.close()
                reason = error.strerror or error
                raise ConfigError(f"{endpoint.setting}: cannot listen on {endpoint.address}: {reason}") from error
            added[key] = Listener(bound, endpoint.speaks_tls, endpoint.behind_proxy)
        self._by_endpoint = kept | added
        used = [listener.socket for listener in self._by_endpoint.values()]
        for listener in dropped.values():
            if listener.socket not in used:
                listener.socket.close()

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
