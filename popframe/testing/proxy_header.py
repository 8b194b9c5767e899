"""Headers of the PROXY protocol, right and wrong, as a proxy would write them: proxy-protocol.txt, section 2."""

from __future__ import annotations

import socket
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""How a header of version 2 begins."""

ENTRY_AUTHORITY = 0x02
ENTRY_SSL = 0x20
ENTRY_SSL_VERSION = 0x21
ENTRY_SSL_CIPHER = 0x23
"""Types of entries."""


def line(source: str, source_port: int = 50000, destination: str = "", destination_port: int = 110) -> bytes:
    """Return a header of version 1 for a client; it came to an address of its own family, unless that is given."""
    family, own = ("TCP6", "2001:db8::1") if ":" in source else ("TCP4", "198.51.100.1")
    return f"PROXY {family} {source} {destination or own} {source_port} {destination_port}\r\n".encode()


def header(
    source: str, source_port: int = 50000, *, destination: str = "", destination_port: int = 110, entries: bytes = b""
) -> bytes:
    """Return a header of version 2 for a client.

    Args:
        source: The client's address.
        source_port: Its port.
        destination: Where it connected to, in the same family; something suitable when left out.
        destination_port: The port of that.
        entries: What :func:`entry` has made.
    """
    family, kind, own = (
        (socket.AF_INET6, 0x21, "2001:db8::1") if ":" in source else (socket.AF_INET, 0x11, "198.51.100.1")
    )
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, destination or own)
    return block(0x21, kind, addresses + struct.pack("!HH", source_port, destination_port) + entries)


def block(version_and_command: int, kind: int, rest: bytes, *, length: int | None = None) -> bytes:
    """Return any header of version 2.

    Args:
        version_and_command: The 13th octet; 0x20 is LOCAL, 0x21 PROXY.
        kind: The 14th octet: address family and protocol.
        rest: Addresses and entries.
        length: What the header says of the length of ``rest``, if not the truth.
    """
    return SIGNATURE + struct.pack("!BBH", version_and_command, kind, len(rest) if length is None else length) + rest


def entry(kind: int, value: bytes) -> bytes:
    """Return one entry: type, length, value."""
    return struct.pack("!BH", kind, len(value)) + value


def tls_entry(version: str = "TLSv1.3", cipher: str = "TLS_AES_256_GCM_SHA384", *, client: int = 1) -> bytes:
    """Return the entry by which a proxy says that the client speaks TLS with it (section 2.2.6).

    Args:
        version: Name of the TLS version.
        cipher: Name of the cipher.
        client: The bits; without bit 0 the client does not speak TLS.
    """
    parts = entry(ENTRY_SSL_VERSION, version.encode()) + entry(ENTRY_SSL_CIPHER, cipher.encode())
    return entry(ENTRY_SSL, struct.pack("!BL", client, 1) + parts)
