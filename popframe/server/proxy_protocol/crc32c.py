"""CRC32c, the checksum of a header (RFC 9260 appendix A); for a few octets once a connection, no compiled library."""

from __future__ import annotations

_POLYNOMIAL = 0x82F63B78
"""Castagnoli's, its bits in the order in which they are sent."""


def _table() -> tuple[int, ...]:
    table = []
    for octet in range(256):
        value = octet
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _table()


def crc32c(octets: bytes) -> int:
    """Return the checksum."""
    value = 0xFFFFFFFF
    for octet in octets:
        value = value >> 8 ^ _TABLE[(value ^ octet) & 0xFF]
    return value ^ 0xFFFFFFFF
