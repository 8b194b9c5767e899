"""The store in memory keeps the contract; and the contract's own arithmetic is that of the conformance list."""

from __future__ import annotations

import pytest

from popframe import Account
from popframe.testing import HookedStore, MaildropContract, MemoryMaildrop, MemoryStore, StoreUnderTest
from popframe.testing.maildrop_contract import SAMPLES, as_sent
from popframe.testing.memory import octets_as_sent


class TestMemoryStore(MaildropContract):
    """Every promise of a maildrop, kept by the store in memory."""

    @pytest.fixture
    def store(self) -> StoreUnderTest:
        """Return a store without mail."""
        return HookedStore(MemoryStore())


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("plain", 18),
        ("dots", 41),
        ("dot-in-header", 27),
        ("no-final-line-end", 40),
        ("final-dot", 20),
        ("header-only", 20),
        ("empty", 0),
        ("crlf", 18),
        ("mixed-line-ends", 25),
        ("8-bit", 114),
        ("8-bit-header", 21),
        ("nul", 19),
        ("long-lines", 170_006),
        ("from-line", 78),
        ("lone-cr-at-end", 18),
    ],
)
def test_size_is_that_of_the_octets_sent(name: str, octets: int) -> None:
    """Every LF without CR counts two, a missing last line end two, a lone CR one (RFC 1939 section 11)."""
    content = SAMPLES[name]

    assert (octets_as_sent(content), len(as_sent(content))) == (octets, octets)


def test_maildrops_of_two_users_are_apart() -> None:
    """Nobody sees or locks another's mail."""
    store = MemoryStore()
    alice, bob = (HookedStore(store, Account(name)) for name in ("alice", "bob"))
    alice.deliver(b"Subject: for alice\n\n")
    open_maildrop = alice.open()
    found = list(bob.open().message_uids())
    open_maildrop.close()

    assert found == []


def test_maildrop_can_be_made_of_given_messages() -> None:
    """A test of something else gets a maildrop in one line."""
    stored = {"a": b"Subject: a\n\n", "b": b"Subject: b\n\n"}
    maildrop = MemoryMaildrop(stored)
    maildrop.commit({0}, set())

    assert list(maildrop.message_uids()) == ["a", "b"]
    assert stored == {"b": b"Subject: b\n\n"}
