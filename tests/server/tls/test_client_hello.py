"""The first message of a client under TLS."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe.server.tls.client_hello import MAX_HELLO_OCTETS, ClientHello, read_client_hello


def hello(server_name: str | None = None, protocols: list[str] | None = None) -> bytes:
    """Return what OpenSSL sends first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    if protocols is not None:
        context.set_alpn_protocols(protocols)
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def in_records(octets: bytes, size: int) -> bytes:
    """Return the message of one record, cut into records of a size."""
    message = octets[5:]
    pieces = [message[start : start + size] for start in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (hello(), ClientHello()),
        (hello("Pop.Example.ORG"), ClientHello("pop.example.org")),
        (hello(None, ["pop3"]), ClientHello("", (b"pop3",))),
        (hello("pop.example.org", ["http/1.1", "pop3"]), ClientHello("pop.example.org", (b"http/1.1", b"pop3"))),
    ],
)
def test_name_and_protocols_are_read(octets: bytes, expected: ClientHello) -> None:
    """As OpenSSL sends them, however they are cut."""
    assert read_client_hello(octets) == expected
    assert read_client_hello(in_records(octets, 1)) == expected
    assert read_client_hello(in_records(octets, 100) + b"more") == expected


def test_a_part_is_no_message_yet() -> None:
    """T-041: whatever is missing is waited for."""
    octets = hello("pop.example.org", ["pop3"])

    assert [length for length in range(len(octets)) if read_client_hello(octets[:length]) is not None] == []


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"CAPA\r\n",
        b"\x80\x2e\x01\x00\x02\x00\x15",  # SSL 2
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",  # a ServerHello
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",  # 16 MiB
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",  # nothing in it
        hello("pop.example.org").replace(b"pop.example.org", b"pop.exam\x00le.org"),
        hello("pop.example.org").replace(b"pop.example.org", b"pop.exam\xffle.org"),
        hello("pop.example.org").replace(b"\x00\x0fpop", b"\x01\x0fpop"),
    ],
)
def test_what_is_no_client_hello_is_refused(octets: bytes) -> None:
    """H-031, H-034: by one kind of error, for OpenSSL to judge."""
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the octets lack
        read_client_hello(octets)


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", hello("a.example", ["pop3"])[:80], b"\x16\x03\x01\x00\x50\x01\x00\x00\x4c"]),
)
def test_nothing_else_ever_happens(octets: bytes, start: bytes) -> None:
    """H-031, H-037: a message, none yet, or a ValueError."""
    with contextlib.suppress(ValueError):
        read_client_hello(start + octets)


@given(st.data())
def test_no_change_of_an_octet_does_harm(data: st.DataObject) -> None:
    """H-031: lengths that lie lead to a ValueError, or are believed within what is there."""
    octets = bytearray(hello("pop.example.org", ["pop3"]))
    place = data.draw(st.integers(0, len(octets) - 1))
    octets[place] = data.draw(st.integers(0, 255))

    with contextlib.suppress(ValueError):
        found = read_client_hello(bytes(octets))
        assert found is None or len(found.server_name) <= MAX_HELLO_OCTETS
