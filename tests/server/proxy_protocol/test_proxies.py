"""Which proxies are believed, and what is believed of them."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator

import pytest

from popframe.config import ProxySettings
from popframe.model import Peer, Tls
from popframe.server.log import LOGGER_NAME, JsonFormatter
from popframe.server.proxy_protocol import Proxies
from popframe.testing.proxy_header import block, entry, header, line, tls_entry

PROXY = Peer("10.0.0.5", 4711, "10.0.0.9", 1110)
NETWORKS = ("10.0.0.0/29", "2001:db8::/64")


class Events(logging.Handler):
    """Keeps what is logged, as JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one event."""
        self.lines.append(json.loads(JsonFormatter().format(record)))


@pytest.fixture
def events() -> Iterator[list[dict[str, object]]]:
    """Return what is logged during the test."""
    logger, events = logging.getLogger(LOGGER_NAME), Events()
    level = logger.level
    logger.addHandler(events)
    logger.setLevel(logging.DEBUG)
    yield events.lines
    logger.removeHandler(events)
    logger.setLevel(level)


def told(octets: bytes, *, trust_tls: bool = False, speaks_tls: bool = False) -> Peer | None:
    """Return the client that a trusted proxy tells of."""
    ours, far = socket.socketpair()
    with ours, far:
        far.sendall(octets)
        far.shutdown(socket.SHUT_WR)
        return Proxies(ProxySettings(networks=NETWORKS, trust_tls=trust_tls)).client_of(
            ours, PROXY, speaks_tls=speaks_tls
        )


@pytest.mark.parametrize(
    ("address", "is_trusted"),
    [
        ("10.0.0.5", True),
        ("10.0.0.8", False),
        ("127.0.0.1", False),
        ("2001:db8::ffff", True),
        ("2001:db8:0:1::1", False),
        ("fe80::1%eth0", False),
        ("", False),
    ],
)
def test_only_the_networks_of_the_proxies_are_believed(
    address: str, is_trusted: bool, events: list[dict[str, object]]
) -> None:
    """N-009, H-091: neither the loopback interface nor a Unix socket is one by itself."""
    assert Proxies(ProxySettings(networks=NETWORKS)).are_trusted(Peer(address)) is is_trusted
    assert [(event["event"], event["address"]) for event in events] == (
        [] if is_trusted else [("proxy-refused", address or "-")]
    )


@pytest.mark.parametrize("octets", [line("192.0.2.1", 50000), header("192.0.2.1", 50000)])
def test_the_client_takes_the_place_of_the_proxy(octets: bytes) -> None:
    """N-020: both ends are those of the client's own connection; the proxy is told beside."""
    assert told(octets) == Peer("192.0.2.1", 50000, "198.51.100.1", 110, None, "10.0.0.5")


@pytest.mark.parametrize("octets", [b"PROXY UNKNOWN\r\n", block(0x20, 0, b""), block(0x21, 0, b"")])
def test_without_a_client_the_ends_are_the_real_ones(octets: bytes) -> None:
    """N-011, N-013, N-014: a health check is the proxy's own connection."""
    assert told(octets) == Peer("10.0.0.5", 4711, "10.0.0.9", 1110, None, "10.0.0.5")


def test_what_a_proxy_says_of_tls_counts_where_the_site_says_so() -> None:
    """N-019, T-039: there is no channel binding with it, and no name of a certificate."""
    octets = header("192.0.2.1", entries=entry(0x02, b"pop.example.org") + tls_entry("TLSv1.3", "TLS_X"))

    trusted, doubted = told(octets, trust_tls=True), told(octets)

    assert trusted is not None
    assert trusted.tls == Tls("TLSv1.3", "TLS_X", "pop.example.org", by_proxy=True)
    assert doubted is not None
    assert doubted.tls is None


def test_tls_behind_a_header_is_the_clients_own_or_refused(events: list[dict[str, object]]) -> None:
    """N-018, N-019: TLS between proxy and server is not taken for that of a client, nor its certificate."""
    octets = header("192.0.2.1", entries=tls_entry())

    assert told(octets, speaks_tls=True) is None
    assert [event["event"] for event in events] == ["proxy-refused"]
    for client in (told(octets, speaks_tls=True, trust_tls=True), told(header("192.0.2.1"), speaks_tls=True)):
        assert client is not None
        assert client.address == "192.0.2.1"


@pytest.mark.parametrize(
    "octets", [header("192.0.2.1"), header("192.0.2.1", entries=tls_entry(client=0)), line("192.0.2.1")]
)
def test_trust_makes_no_tls_where_there_is_none(octets: bytes) -> None:
    """N-019: neither a header without the entry nor an entry without its bit protects anybody."""
    client = told(octets, trust_tls=True)

    assert client is not None
    assert client.tls is None


def test_a_bad_header_is_one_line_in_the_log(events: list[dict[str, object]]) -> None:
    """N-008, N-009: who, and why."""
    assert told(b"CAPA\r\n") is None

    assert [(event["event"], event["address"], event["reason"]) for event in events] == [
        ("proxy-refused", "10.0.0.5", "something that is no PROXY header")
    ]


def test_a_look_whether_somebody_listens_is_not_logged(events: list[dict[str, object]]) -> None:
    """N-008: health checks that send nothing would fill the log."""
    assert told(b"") is None

    assert events == []


def test_what_a_proxy_passes_on_is_told_at_level_debug(events: list[dict[str, object]]) -> None:
    """H-095: the name that a client asked for is a value like any other; the line stays one line."""
    told(header("192.0.2.1", entries=entry(0x02, b"a\r\nlogin user=bob\x1b%n" + b"x" * 600)))

    (event,) = events
    assert event["level"] == "debug"
    assert event["proxy"] == "10.0.0.5"
    assert str(event["authority"]).startswith("a\r\nlogin user=bob\x1b%nxxx")
