"""The names of clients: in the log when they are there, and in nobody's way."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from popframe.model import Peer
from popframe.server.client_name import MAX_LOOKUPS, ClientNames
from popframe.server.log import FIELDS
from popframe.testing import MailSite

PEER = Peer("192.0.2.7", 1)


def names_of(*addresses: str) -> Callable[[str], set[str]]:
    """Return a directory in which every name has these addresses."""
    return lambda _: set(addresses)


def missing(what: str) -> set[str]:
    """Know nothing."""
    raise socket.gaierror(-2, f"{what} not known")


class Collector(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Yield what collects the events of the server."""
    logger, made = logging.getLogger("popframe"), Collector()
    level = logger.level
    logger.addHandler(made)
    logger.setLevel(logging.INFO)
    yield made
    logger.removeHandler(made)
    logger.setLevel(level)


def told(collector: Collector, names: ClientNames, peer: Peer = PEER) -> tuple[str, dict[str, object], int]:
    """Return the event of one look-up: name, fields, level."""
    names.look_up("s-1", peer)
    deadline = time.monotonic() + 10
    while not collector.records:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    record = collector.records[0]
    return record.getMessage(), getattr(record, FIELDS), record.levelno


@pytest.mark.parametrize(
    ("name_of", "addresses_of", "event", "level"),
    [
        (lambda _: "pc.example.org", names_of("192.0.2.9", "192.0.2.7"), "client-name", logging.INFO),
        (lambda _: "pc.example.org", names_of("192.0.2.9"), "client-name-mismatch", logging.WARNING),
        (lambda _: "pc.example.org", missing, "client-name-unknown", logging.WARNING),
        (missing, missing, "client-name-missing", logging.WARNING),
    ],
)
def test_each_case_has_its_event(
    collector: Collector,
    name_of: Callable[[str], str],
    addresses_of: Callable[[str], set[str]],
    event: str,
    level: int,
) -> None:
    """Those that the Berkeley popper warned of."""
    name, fields, found = told(collector, ClientNames(name_of, addresses_of))

    assert (name, found) == (event, level)
    assert (fields["session"], fields["address"]) == ("s-1", "192.0.2.7")
    assert ("name" in fields) == (event != "client-name-missing")


def test_the_system_knows_this_machine(collector: Collector) -> None:
    """By /etc/hosts."""
    name, fields, _ = told(collector, ClientNames(), Peer("127.0.0.1", 1))

    assert name == "client-name"
    assert fields["name"]


def test_a_name_server_that_does_not_answer_holds_nobody_up() -> None:
    """H-063: so many are looked up at once, and no more."""
    go_on = threading.Event()
    asked: list[str] = []

    def slow(address: str) -> str:
        asked.append(address)
        go_on.wait(30)
        return "pc.example.org"

    names = ClientNames(slow, names_of("192.0.2.7"))
    before = time.monotonic()
    for _ in range(MAX_LOOKUPS + 10):
        names.look_up("s", PEER)
    names.look_up("s", Peer(""))
    seconds = time.monotonic() - before
    deadline = time.monotonic() + 10
    while len(asked) < MAX_LOOKUPS:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    go_on.set()

    assert seconds < 5
    assert len(asked) == MAX_LOOKUPS


def test_a_server_writes_the_name_into_its_log() -> None:
    """Only when it is told to."""
    with MailSite({"alice": "secret"}) as site:
        site.configure("look_up_client_names = true")
        server = site.start()
        with site.connect(server, "alice"):
            server.wait_for_log(" client-name session=")
