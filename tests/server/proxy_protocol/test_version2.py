"""Headers of version 2 of the PROXY protocol (section 2.2)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe.server.proxy_protocol.crc32c import crc32c
from popframe.server.proxy_protocol.header import Endpoints, InvalidHeader, ProxiedTls, ProxyHeader
from popframe.server.proxy_protocol.reception import header_length, parse_header
from popframe.server.proxy_protocol.version2 import MAX_HEADER_OCTETS
from popframe.testing.proxy_header import block, entry, header, tls_entry

IPV4 = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + struct.pack("!HH", 50000, 110)
IPV6 = bytes.fromhex("20010db8000000000000000000000001 20010db8000000000000000000000002") + struct.pack("!HH", 1, 2)
CLIENT = Endpoints("192.0.2.1", 50000, "198.51.100.2", 110)
NOBODY = ProxyHeader()
ADDRESS_OCTETS = {1: 12, 2: 36, 3: 216}

SENT_BY_HAPROXY = bytes.fromhex(
    "0d0a0d0a000d0a515549540a 21110051 7f000001 7f000001 daa8 a7ff 0300041f451134"
    "0200106d61696c2e6578616d706c652e636f6d 2000280100000000 210007544c5376312e33"
    "230016544c535f4145535f3235365f47434d5f534841333834"
)
"""HAProxy 2.6, for a client that speaks TLS 1.3 with it: checksum, authority and PP2_TYPE_SSL, in this order."""


def with_checksum(before: bytes, after: bytes = b"", *, flip: int = 0) -> bytes:
    """Return a header with a checksum between other entries; ``flip`` makes it wrong."""
    octets = block(0x21, 0x11, IPV4 + before + entry(0x03, bytes(4)) + after)
    place = 16 + len(IPV4) + len(before) + 3
    return octets[:place] + struct.pack("!L", crc32c(octets) ^ flip) + octets[place + 4 :]


def test_ipv4_and_ipv6() -> None:
    """N-012, N-014: the two kinds of clients that there are."""
    assert parse_header(block(0x21, 0x11, IPV4)) == ProxyHeader(CLIENT)
    assert parse_header(block(0x21, 0x21, IPV6)) == ProxyHeader(Endpoints("2001:db8::1", 1, "2001:db8::2", 2))
    assert parse_header(header("::ffff:192.0.2.1")).endpoints == Endpoints("192.0.2.1", 50000, "2001:db8::1", 110)


@pytest.mark.parametrize("octet", sorted(set(range(256)) - {0x20, 0x21}))
def test_any_other_version_or_command_is_refused(octet: int) -> None:
    """N-012: as soon as that octet is there."""
    with pytest.raises(InvalidHeader, match=f"0x{octet:02x}"):
        header_length(block(octet, 0x11, IPV4)[:13])


@pytest.mark.parametrize("rest", [b"", b"12 and junk, no entry", IPV4[:11], bytes(300)])
@pytest.mark.parametrize("kind", [0x00, 0x11, 0x21, 0x41, 0xFF])
def test_the_own_connection_may_say_anything_else(kind: int, rest: bytes) -> None:
    """N-013, H-092: LOCAL skips exactly as many octets as it says, whatever they are."""
    octets = block(0x20, kind, rest)

    assert header_length(octets + b"CAPA\r\n") == len(octets)
    assert parse_header(octets) == NOBODY


@pytest.mark.parametrize("kind", sorted({*range(256)} - {family << 4 | how for family in range(4) for how in range(3)}))
def test_an_undefined_family_or_protocol_is_refused(kind: int) -> None:
    """N-014: 0x41 and 0x13 among them."""
    with pytest.raises(InvalidHeader, match=f"0x{kind:02x}"):
        parse_header(block(0x21, kind, bytes(300)))


@pytest.mark.parametrize("kind", [0x00, 0x01, 0x02, 0x10, 0x12, 0x20, 0x22, 0x30, 0x31, 0x32])
def test_what_tells_of_no_tcp_client_falls_back_to_the_real_ends(kind: int) -> None:
    """N-014: unspecified, datagrams and Unix sockets, as section 2.2 allows; their entries count, and must be right."""
    addresses = bytes(ADDRESS_OCTETS.get(kind >> 4, 0))

    assert parse_header(block(0x21, kind, addresses)) == NOBODY
    assert parse_header(block(0x21, kind, addresses + tls_entry("TLSv1.2", ""))).tls == ProxiedTls("TLSv1.2")
    with pytest.raises(InvalidHeader):
        parse_header(block(0x21, kind, addresses + b"\x20\x00"))


@pytest.mark.parametrize("family", ADDRESS_OCTETS)
@pytest.mark.parametrize("protocol", range(3))
def test_fewer_octets_than_the_addresses_take_are_refused(family: int, protocol: int) -> None:
    """N-014: 12, 36 or 216."""
    kind = family << 4 | protocol
    with pytest.raises(InvalidHeader):
        parse_header(block(0x21, kind, bytes(ADDRESS_OCTETS[family] - 1)))

    parse_header(block(0x21, kind, bytes(ADDRESS_OCTETS[family])))


def test_unknown_entries_are_skipped() -> None:
    """N-015: the header ends where its length says."""
    octets = header("192.0.2.1", destination="198.51.100.2", entries=entry(0xEE, b"whatever") + entry(0x04, b""))

    assert header_length(octets + b"CAPA\r\n") == len(octets)
    assert parse_header(octets) == ProxyHeader(CLIENT)


@pytest.mark.parametrize(
    "entries",
    [
        b"\xee\xff\xff12345",
        b"\xee\x00\x02x",
        b"\xee\x00",
        b"\xee",
        entry(0x20, b"\x01\0\0\0"),
        entry(0x20, b"\x01\0\0\0\0" + b"\x21\x00\x09TLSv1.3"),
        entry(0x20, b"\x01\0\0\0\0" + b"\x21\x00"),
        entry(0x02, b"a") + entry(0x02, b"b"),
        tls_entry() + tls_entry(),
        entry(0x03, b"123"),
        entry(0x03, b"12345"),
    ],
)
def test_entries_that_do_not_fit_are_refused(entries: bytes) -> None:
    """N-015, H-092: none reaches past the header or past the entry that it is in; none is there in two versions."""
    with pytest.raises(InvalidHeader):
        parse_header(header("192.0.2.1", entries=entries))


def test_crc32c_is_the_one_of_castagnoli() -> None:
    """N-016: the usual check value, and the example of RFC 3720 appendix B.4."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA


@pytest.mark.parametrize(("before", "after"), [(b"", b""), (entry(0xEE, b"x"), entry(0x01, b"y")), (b"", tls_entry())])
def test_a_checksum_is_verified(before: bytes, after: bytes) -> None:
    """N-016: wherever it stands; one wrong bit of it, and of anything else, is refused."""
    right = with_checksum(before, after)
    assert parse_header(right).endpoints == CLIENT

    for octets in (with_checksum(before, after, flip=1 << 17), right[:17] + bytes([right[17] ^ 1]) + right[18:]):
        with pytest.raises(InvalidHeader, match="checksum"):
            parse_header(octets)


def test_a_proxy_that_ended_tls_says_so() -> None:
    """N-019: version, cipher, and the name that the client asked for."""
    octets = header("192.0.2.1", entries=entry(0x02, b"mail.example") + tls_entry("TLSv1.2", "ECDHE-X"))

    found = parse_header(octets)

    assert (found.tls, found.authority) == (ProxiedTls("TLSv1.2", "ECDHE-X"), "mail.example")


def test_a_header_of_haproxy_is_read_whole() -> None:
    """N-016, N-019: octets that another program has made, its checksum before the entries that it covers."""
    assert parse_header(SENT_BY_HAPROXY) == ProxyHeader(
        Endpoints("127.0.0.1", 55976, "127.0.0.1", 43007),
        ProxiedTls("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        "mail.example.com",
    )


def test_the_entry_about_tls_may_say_that_there_is_none() -> None:
    """N-019: HAProxy sends it for every client; one bit tells."""
    assert parse_header(header("192.0.2.1", entries=tls_entry(client=6))).tls is None


def test_names_that_are_no_text_stay_visible() -> None:
    r"""H-095: no octet of an authority is lost or taken for another; the log escapes the rest."""
    found = parse_header(header("192.0.2.1", entries=entry(0x02, b"a\xff\r\n\x1b%n")))

    assert found.authority == "a\\xff\r\n\x1b%n"


def test_a_header_has_a_largest_length() -> None:
    """H-092: 65535 octets are refused before they are waited for."""
    room = MAX_HEADER_OCTETS - 16
    assert header_length(block(0x21, 0x11, b"", length=room)) == MAX_HEADER_OCTETS

    for length in (room + 1, 65535):
        with pytest.raises(InvalidHeader, match=str(length + 16)):
            header_length(block(0x21, 0x11, b"1234567890", length=length))


@given(
    octets=st.one_of(
        st.binary(max_size=300).map(lambda rest: block(0x21, 0x11, IPV4 + rest)),
        st.builds(block, st.integers(0, 255), st.integers(0, 255), st.binary(max_size=300)),
        st.binary(max_size=200).map(lambda rest: b"PROXY " + rest + b"\r\n"),
        st.text(max_size=90).map(lambda rest: f"PROXY TCP6 {rest}\r\n".encode()),
    )
)
def test_whatever_comes_is_a_header_or_refused(octets: bytes) -> None:
    """H-092: no other exception, and never more octets than were asked for."""
    try:
        length = header_length(octets)
        if length is not None and length <= len(octets):
            parse_header(octets[:length])
    except InvalidHeader:
        pass
