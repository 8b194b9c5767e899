"""Taking headers off real sockets: neither an octet too many nor a second too long."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe.server.proxy_protocol.header import InvalidHeader, NothingSent, ProxyHeader
from popframe.server.proxy_protocol.reception import parse_header, receive_header
from popframe.testing.proxy_header import block, entry, header, line, tls_entry

HEADERS = [
    line("192.0.2.1"),
    line("2001:db8::1"),
    b"PROXY UNKNOWN\r\n",
    block(0x20, 0x00, b""),
    block(0x20, 0x00, b"twelve octet"),
    header("192.0.2.1"),
    header("2001:db8::1", entries=entry(0xEE, b"x" * 500) + tls_entry()),
]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield the two ends of a connection: ours and the proxy's."""
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def everything_left(near: socket.socket, far: socket.socket) -> bytes:
    """Return what the kernel still has for us."""
    far.shutdown(socket.SHUT_WR)
    return b"".join(iter(lambda: near.recv(65536), b""))


def send_and_end(far: socket.socket, octets: bytes) -> None:
    """Send octets, and nothing after them."""
    far.sendall(octets)
    far.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("octets", HEADERS)
def test_what_follows_a_header_is_left_in_the_kernel(ends: tuple[socket.socket, socket.socket], octets: bytes) -> None:
    """N-015, N-018: commands or a TLS handshake that were sent along are read by whom they concern."""
    near, far = ends
    far.sendall(octets + b"CAPA\r\nPROXY UNKNOWN\r\n")

    assert receive_header(near, 5) == parse_header(octets)
    assert everything_left(near, far) == b"CAPA\r\nPROXY UNKNOWN\r\n"


@pytest.mark.parametrize("octets", HEADERS[:6])
def test_a_header_may_come_octet_by_octet(ends: tuple[socket.socket, socket.socket], octets: bytes) -> None:
    """N-017: and is the same; what follows stays where it is."""
    near, far = ends
    found: list[ProxyHeader] = []
    reader = threading.Thread(target=lambda: found.append(receive_header(near, 20)))
    reader.start()
    for octet in octets:
        far.sendall(bytes([octet]))
        time.sleep(0.001)
    far.sendall(b"QUIT\r\n")
    reader.join()

    assert found == [parse_header(octets)]
    assert everything_left(near, far) == b"QUIT\r\n"


@pytest.mark.parametrize("octets", [b"", b"PROXY TCP4 192", block(0x21, 0x11, b"1234567890", length=4000)])
def test_a_header_that_does_not_come_is_not_waited_for(
    ends: tuple[socket.socket, socket.socket], octets: bytes
) -> None:
    """N-008, H-092: the time is that of the whole header."""
    near, far = ends
    far.sendall(octets)
    start = time.monotonic()

    with pytest.raises(InvalidHeader, match=r"within 0\.2 seconds"):
        receive_header(near, 0.2)
    assert 0.15 < time.monotonic() - start < 5


def test_octets_that_trickle_in_do_not_prolong_it(ends: tuple[socket.socket, socket.socket]) -> None:
    """N-008, N-017: a proxy that sends an octet now and then has no more time than a silent one."""
    near, far = ends
    is_over = threading.Event()

    def trickle() -> None:
        far.sendall(b"PROXY UNKNOWN ")
        with contextlib.suppress(OSError):
            while not is_over.wait(0.05):
                far.sendall(b"x")

    writer = threading.Thread(target=trickle)
    writer.start()
    start = time.monotonic()

    with pytest.raises(InvalidHeader, match=r"within 0\.4 seconds"):
        receive_header(near, 0.4)
    assert time.monotonic() - start < 5
    is_over.set()
    writer.join()


def test_a_connection_that_ends_is_noticed_at_once(ends: tuple[socket.socket, socket.socket]) -> None:
    """N-008: with and without a part of a header; without one it is no more than a look whether somebody listens."""
    near, far = ends
    far.shutdown(socket.SHUT_WR)
    with pytest.raises(NothingSent):
        receive_header(near, 20)

    near, far = socket.socketpair()
    with near, far:
        far.sendall(b"PROXY TCP4")
        far.shutdown(socket.SHUT_WR)
        with pytest.raises(InvalidHeader, match="within the header") as caught:
            receive_header(near, 20)
    assert not isinstance(caught.value, NothingSent)


def test_a_reset_is_an_end() -> None:
    """N-008: a proxy that gives up ends nothing but its connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    with near:
        far.sendall(b"PROXY")
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()

        with pytest.raises(InvalidHeader):
            receive_header(near, 20)


@given(
    octets=st.one_of(
        st.sampled_from(HEADERS),
        st.binary(max_size=40),
        st.builds(block, st.sampled_from([0x20, 0x21]), st.integers(0, 255), st.binary(max_size=60)),
        st.binary(max_size=60).map(lambda rest: b"PROXY TCP4 " + rest),
    ),
    rest=st.binary(max_size=60),
    cut=st.integers(0, 120),
)
def test_no_octet_is_read_that_is_not_the_headers(octets: bytes, rest: bytes, cut: int) -> None:
    """N-017, H-092: whatever comes, in two pieces: what was taken is exactly a header, and all else is still there."""
    stream = octets + rest
    near, far = socket.socketpair()
    with near, far:
        far.sendall(stream[:cut])
        later = threading.Timer(0.002, send_and_end, (far, stream[cut:]))
        later.start()
        try:
            found = receive_header(near, 20)
        except InvalidHeader:
            later.join()
            return
        later.join()
        left = b"".join(iter(lambda: near.recv(65536), b""))

    assert stream.endswith(left)
    assert found == parse_header(stream[: len(stream) - len(left)])
