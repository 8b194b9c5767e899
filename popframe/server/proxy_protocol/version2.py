"""Version 2, binary (section 2.2): signature, four octets, addresses, and entries of type, length and value."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator

from popframe.server.proxy_protocol.crc32c import crc32c
from popframe.server.proxy_protocol.header import (
    NO_CLIENT,
    Endpoints,
    InvalidHeader,
    ProxiedTls,
    ProxyHeader,
    address_text,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""How every header begins."""

MAX_HEADER_OCTETS = 4096
"""The longest header that is read, though a length of 16 bits allows 64 KiB. Headers are meant to fit one TCP segment
of 536 octets (section 2); only a client's certificate, which some proxies put in, takes some kibibytes."""

VERSION = 2
LOCAL = 0
PROXY = 1

ADDRESS_OCTETS = {0: 0, 1: 12, 2: 36, 3: 216}
"""Octets that the addresses take, by family: unspecified, IPv4, IPv6, Unix."""

PROTOCOLS = range(3)
"""Unspecified, stream, datagram."""

IPV4_STREAM = 0x11
IPV6_STREAM = 0x21
"""What has the addresses of a client of this server; whatever else is defined has none (section 2.2)."""

TYPE_AUTHORITY = 0x02
TYPE_CRC32C = 0x03
TYPE_SSL = 0x20
SUBTYPE_SSL_VERSION = 0x21
SUBTYPE_SSL_CIPHER = 0x23

CLIENT_SSL = 0x01
"""Bit of PP2_TYPE_SSL: the client's connection to the proxy is encrypted. The entry may be there without it."""

_FIXED = struct.Struct("!12sBBH")
_ENTRY = struct.Struct("!BH")
_SSL = struct.Struct("!BL")
_CHECKSUM = struct.Struct("!L")


def header_length(octets: bytes) -> int | None:
    """Return how many octets the header has that begins here, None if that is not there yet.

    Args:
        octets: They begin with :data:`SIGNATURE`, or are the beginning of it.

    Raises:
        InvalidHeader: Its version or command is none, or it is too long.
    """
    version_and_command = octets[len(SIGNATURE) : len(SIGNATURE) + 1]
    if version_and_command and version_and_command[0] not in (VERSION << 4 | LOCAL, VERSION << 4 | PROXY):
        raise InvalidHeader(f"version and command 0x{version_and_command[0]:02x}")
    if len(octets) < _FIXED.size:
        return None
    *_, length = _FIXED.unpack_from(octets)
    if _FIXED.size + length > MAX_HEADER_OCTETS:
        raise InvalidHeader(f"a header of {_FIXED.size + length} octets, more than {MAX_HEADER_OCTETS}")
    return _FIXED.size + int(length)


def parse_header(octets: bytes) -> ProxyHeader:
    """Read one whole header.

    Raises:
        InvalidHeader: It is not exactly what section 2.2 describes.
    """
    _, version_and_command, kind, _ = _FIXED.unpack_from(octets)
    if version_and_command & 0x0F == LOCAL:
        return NO_CLIENT  # the rest is to be skipped unseen
    family, protocol = kind >> 4, kind & 0x0F
    if family not in ADDRESS_OCTETS or protocol not in PROTOCOLS:
        raise InvalidHeader(f"address family and protocol 0x{kind:02x}")
    end = _FIXED.size + ADDRESS_OCTETS[family]
    if end > len(octets):
        raise InvalidHeader(f"{len(octets) - _FIXED.size} octets for addresses that take {ADDRESS_OCTETS[family]}")
    endpoints = None
    if kind == IPV4_STREAM:
        endpoints = _endpoints("!4s4sHH", octets)
    elif kind == IPV6_STREAM:
        endpoints = _endpoints("!16s16sHH", octets)
    entries = _entries(octets, end)
    _check_sum(octets, entries.get(TYPE_CRC32C))
    return ProxyHeader(endpoints, _tls(octets, entries.get(TYPE_SSL)), _text(octets, entries.get(TYPE_AUTHORITY)))


def _endpoints(form: str, octets: bytes) -> Endpoints:
    source, destination, source_port, destination_port = struct.unpack_from(form, octets, _FIXED.size)
    source, destination = (address_text(ipaddress.ip_address(packed)) for packed in (source, destination))
    return Endpoints(source, source_port, destination, destination_port)


def _entries(octets: bytes, start: int, end: int | None = None) -> dict[int, slice]:
    """Return where the value of each type stands.

    Raises:
        InvalidHeader: An entry reaches past the end, or a type is there twice, of which one could be believed.
    """
    found: dict[int, slice] = {}
    for kind, place in _walk(octets, start, len(octets) if end is None else end):
        if kind in found and kind in (TYPE_AUTHORITY, TYPE_CRC32C, TYPE_SSL, SUBTYPE_SSL_VERSION, SUBTYPE_SSL_CIPHER):
            raise InvalidHeader(f"two entries of type 0x{kind:02x}")
        found[kind] = place
    return found


def _walk(octets: bytes, start: int, end: int) -> Iterator[tuple[int, slice]]:
    while start < end:
        if start + _ENTRY.size > end:
            raise InvalidHeader("an entry that is cut off")
        kind, length = _ENTRY.unpack_from(octets, start)
        start += _ENTRY.size
        if start + length > end:
            raise InvalidHeader(f"an entry of type 0x{kind:02x} past the end of the header")
        yield kind, slice(start, start + length)
        start += length


def _check_sum(octets: bytes, place: slice | None) -> None:
    """Verify the checksum (section 2.2.3), if there is one: of the whole header, its own octets taken as zero."""
    if place is None:
        return
    value = octets[place]
    if len(value) != _CHECKSUM.size:
        raise InvalidHeader(f"a checksum of {len(value)} octets")
    zeroed = octets[: place.start] + bytes(_CHECKSUM.size) + octets[place.stop :]
    if _CHECKSUM.pack(crc32c(zeroed)) != value:
        raise InvalidHeader("a wrong checksum")


def _tls(octets: bytes, place: slice | None) -> ProxiedTls | None:
    """Read PP2_TYPE_SSL (section 2.2.6)."""
    if place is None:
        return None
    if place.stop - place.start < _SSL.size:
        raise InvalidHeader("an entry about TLS that is cut off")
    client, _ = _SSL.unpack_from(octets, place.start)
    entries = _entries(octets, place.start + _SSL.size, place.stop)
    if not client & CLIENT_SSL:
        return None
    return ProxiedTls(_text(octets, entries.get(SUBTYPE_SSL_VERSION)), _text(octets, entries.get(SUBTYPE_SSL_CIPHER)))


def _text(octets: bytes, place: slice | None) -> str:
    """Read a text for people; octets that are no UTF-8 stay visible."""
    return "" if place is None else octets[place].decode("utf-8", "backslashreplace")
