r"""Version 1, a line of text (section 2.1): ``PROXY TCP4 192.0.2.1 198.51.100.1 50000 110\r\n``."""

from __future__ import annotations

import ipaddress

from popframe.server.proxy_protocol.header import NO_CLIENT, Endpoints, InvalidHeader, ProxyHeader, address_text

START = b"PROXY "
"""How every line begins."""

MAX_LINE_OCTETS = 107
"""The longest line with its CRLF (section 2.1)."""

MAX_PORT = 65_535
"""A port is 16 bits wide (RFC 9293 section 3.1)."""


def line_length(octets: bytes) -> int | None:
    """Return how many octets the line has that begins here, None if its end is not there yet.

    Args:
        octets: They begin with :data:`START`, or are the beginning of it.

    Raises:
        InvalidHeader: It does not end in time, or a CR or an LF stands alone.
    """
    end = octets.find(b"\r\n", 0, MAX_LINE_OCTETS)
    line = octets[:MAX_LINE_OCTETS] if end < 0 else octets[:end]
    if b"\n" in line or b"\r" in line[: len(line) - (end < 0)]:
        raise InvalidHeader("a CR or LF that ends no line")
    if end >= 0:
        return end + 2
    if len(line) == MAX_LINE_OCTETS:
        raise InvalidHeader(f"no CRLF within {MAX_LINE_OCTETS} octets")
    return None


def parse_line(line: bytes) -> ProxyHeader:
    """Read one whole line.

    Raises:
        InvalidHeader: It is not exactly what section 2.1 describes.
    """
    fields = line.removeprefix(START).removesuffix(b"\r\n").split(b" ")
    if fields[0] == b"UNKNOWN":
        return NO_CLIENT  # whatever follows is to be ignored
    if len(fields) != 5:
        raise InvalidHeader(f"{len(fields)} fields behind PROXY instead of 5")
    try:
        family, source, destination, source_port, destination_port = (field.decode("ascii") for field in fields)
    except UnicodeDecodeError as error:
        raise InvalidHeader("octets that are not ASCII") from error
    return ProxyHeader(
        Endpoints(_address(family, source), _port(source_port), _address(family, destination), _port(destination_port))
    )


def _address(family: str, text: str) -> str:
    try:
        match family:
            case "TCP4":
                return address_text(ipaddress.IPv4Address(text))  # takes no leading zeros
            case "TCP6" if "%" not in text:  # an interface of the proxy's machine means nothing here
                return address_text(ipaddress.IPv6Address(text))
    except ValueError as error:
        raise InvalidHeader(f"an address that is none of {family}") from error
    raise InvalidHeader("an address with an interface" if family == "TCP6" else "an unknown address family")


def _port(text: str) -> int:
    """Take only what ``str`` would write: no sign, no blank, no leading zero."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PORT)):
        port = int(text)
        if str(port) == text and port <= MAX_PORT:
            return port
    raise InvalidHeader("a port that is none")
