"""What a client asks for in its first message: the name of a server, and protocols (RFC 8446 section 4.1.2).

Python's ssl tells neither of them in time: it goes on where the client offers no protocol that the server speaks, which
RFC 7301 section 3.2 forbids, and prints a traceback for a server name that is not ASCII. So the message is read here
before OpenSSL sees it. OpenSSL remains the judge of everything else: what cannot be read here is simply passed on.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_HELLO_OCTETS = 65_536
"""Of a ClientHello that is looked at; today's have 500 to 2,000 octets, with post-quantum keys."""

HANDSHAKE_RECORD = 22
CLIENT_HELLO = 1
RECORD_HEADER_OCTETS = 5
MESSAGE_HEADER_OCTETS = 4
RANDOM_AND_VERSION_OCTETS = 34

SERVER_NAME_EXTENSION = 0
HOST_NAME = 0
ALPN_EXTENSION = 16


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What is of interest in it.

    Attributes:
        server_name: The host name that the client wants to talk to, in lower case (RFC 6066 section 3); empty for none.
        protocols: What it offers to speak (RFC 7301); None when it says nothing about that.
    """

    server_name: str = ""
    protocols: tuple[bytes, ...] | None = None


def read_client_hello(octets: bytes) -> ClientHello | None:
    """Read what a client has sent first.

    Args:
        octets: All of it so far.

    Returns:
        The message; or None when more is needed.

    Raises:
        ValueError: It is no ClientHello, or none that can be read here.
    """
    message = bytearray()
    position = 0
    while True:
        if len(octets) - position < RECORD_HEADER_OCTETS:
            return None
        if octets[position] != HANDSHAKE_RECORD:
            raise ValueError("not a handshake")
        length = int.from_bytes(octets[position + 3 : position + RECORD_HEADER_OCTETS], "big")
        position += RECORD_HEADER_OCTETS
        message += octets[position : position + length]
        if len(message) >= MESSAGE_HEADER_OCTETS:
            if message[0] != CLIENT_HELLO:
                raise ValueError("not a ClientHello")
            end = MESSAGE_HEADER_OCTETS + int.from_bytes(message[1:4], "big")
            if end > MAX_HELLO_OCTETS:
                raise ValueError(f"a ClientHello of {end} octets")
            if len(message) >= end:
                return _read_body(_Octets(bytes(message[MESSAGE_HEADER_OCTETS:end])))
        if len(octets) < position + length:
            return None
        position += length


class _Octets:
    """A piece of a message, read from its start."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._position = 0

    def __bool__(self) -> bool:
        return self._position < len(self._octets)

    def take(self, count: int) -> bytes:
        """Take a number of octets."""
        end = self._position + count
        if end > len(self._octets):
            raise ValueError("shorter than it says")
        octets = self._octets[self._position : end]
        self._position = end
        return octets

    def number(self, size: int) -> int:
        """Take a number of one or two octets."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> _Octets:
        """Take a vector whose length stands in so many octets before it."""
        return _Octets(self.take(self.number(size)))

    def rest(self) -> bytes:
        """Take all that is left."""
        return self.take(len(self._octets) - self._position)


def _read_body(body: _Octets) -> ClientHello:
    body.take(RANDOM_AND_VERSION_OCTETS)
    body.vector(1)  # session id
    body.vector(2)  # cipher suites
    body.vector(1)  # compression methods
    server_name = ""
    protocols: tuple[bytes, ...] | None = None
    extensions = body.vector(2) if body else _Octets(b"")
    while extensions:
        kind = extensions.number(2)
        content = extensions.vector(2)
        if kind == SERVER_NAME_EXTENSION and content:
            server_name = _server_name(content.vector(2))
        elif kind == ALPN_EXTENSION:
            protocols = _protocols(content.vector(2))
    return ClientHello(server_name, protocols)


def _server_name(names: _Octets) -> str:
    while names:
        kind = names.number(1)
        name = names.vector(2).rest()
        if kind == HOST_NAME:
            text = name.decode("ascii")  # a UnicodeDecodeError is a ValueError
            if not text.isprintable():
                raise ValueError("a server name that cannot be one")
            return text.lower()
    return ""


def _protocols(names: _Octets) -> tuple[bytes, ...]:
    found = []
    while names:
        found.append(names.vector(1).rest())
    return tuple(found)
