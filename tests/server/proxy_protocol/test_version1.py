"""Lines of version 1 of the PROXY protocol (section 2.1)."""

from __future__ import annotations

import pytest

from popframe.server.proxy_protocol.header import Endpoints, InvalidHeader, ProxyHeader
from popframe.server.proxy_protocol.reception import header_length, parse_header

LONGEST = (
    b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
)


@pytest.mark.parametrize(
    ("line", "endpoints"),
    [
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 110\r\n", Endpoints("192.0.2.1", 50000, "198.51.100.2", 110)),
        (b"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", Endpoints("255.255.255.255", 65535, "0.0.0.0", 0)),  # noqa: S104
        (b"PROXY TCP6 2001:DB8::1 2001:db8:0:0::2 1 2\r\n", Endpoints("2001:db8::1", 1, "2001:db8::2", 2)),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", Endpoints("192.0.2.1", 1, "::1", 2)),
    ],
)
def test_a_line_names_both_ends(line: bytes, endpoints: Endpoints) -> None:
    """N-010: addresses come out in their usual form, IPv4 clients of an IPv6 socket as such."""
    assert header_length(line + b"CAPA\r\n") == len(line)
    assert parse_header(line) == ProxyHeader(endpoints)


@pytest.mark.parametrize(
    "line", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN \r\n", b"PROXY UNKNOWN \x00\xff  %n junk\r\n", LONGEST]
)
def test_an_unknown_connection_is_taken_as_it_is(line: bytes) -> None:
    """N-011: whatever stands behind UNKNOWN is ignored, up to 107 octets with the CRLF."""
    assert header_length(line) == len(line) <= 107
    assert parse_header(line) == ProxyHeader()


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4  192.0.2.1 198.51.100.2 50000 110\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 110 \r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 50000\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 110 1\r\n",
        b"PROXY TCP4\t192.0.2.1 198.51.100.2 50000 110\r\n",
        b"PROXY TCP4 010.0.0.1 198.51.100.2 50000 110\r\n",
        b"PROXY TCP4 192.0.2 198.51.100.2 50000 110\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.2 50000 110\r\n",
        b"PROXY TCP4 192.0.2.1/32 198.51.100.2 50000 110\r\n",
        b"PROXY TCP4 0xc0.0.2.1 198.51.100.2 50000 110\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 110\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 0110\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 110\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 -1 110\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1_0 110\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 \xb2 110\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2  110\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 50000 110\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.2 50000 110\r\n",
        b"PROXY TCP6 fe80::1%eth0 2001:db8::2 50000 110\r\n",
        b"PROXY TCP6 2001::db8::1 2001:db8::2 50000 110\r\n",
        b"PROXY TCP6 2001:db8::00001 2001:db8::2 50000 110\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.2 50000 110\r\n",
        b"PROXY tcp4 192.0.2.1 198.51.100.2 50000 110\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY unknown\r\n",
        b"PROXY \r\n",
    ],
)
def test_anything_else_is_refused(line: bytes) -> None:
    """N-010: a line is exactly as described or it is none."""
    assert header_length(line) == len(line)
    with pytest.raises(InvalidHeader):
        parse_header(line)


@pytest.mark.parametrize(
    "octets",
    [
        b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 110\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 110\nCAPA\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 110\rCAPA\r\n",
        b"PROXY UNKNOWN\nCAPA\r\n",
        b"PROXY UNKNOWN \r\r\n",
        b"PROXY UNKNOWN " + b"x" * 93,
        b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
        b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n",
    ],
)
def test_only_crlf_within_107_octets_ends_a_line(octets: bytes) -> None:
    """N-010, H-092: a lone CR or LF, and a line that is too long, are refused as soon as they are seen."""
    with pytest.raises(InvalidHeader):
        header_length(octets)


@pytest.mark.parametrize(
    "octets", [b"proxy TCP4", b"PROXX", b"\x16\x03\x01", b"CAPA\r\n", b"\r\n\r\n\r\n", b"\r\n\r\n\0\r\nQUIT\r", b"\0"]
)
def test_something_else_is_refused_at_its_first_wrong_octet(octets: bytes) -> None:
    """N-009: TLS and POP3 are no headers; nothing waits for more of them."""
    header_length(octets[:0])
    with pytest.raises(InvalidHeader):
        header_length(octets)
