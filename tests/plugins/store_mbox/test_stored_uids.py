"""uidl = "x-uidl": the unique-ids that Qpopper has written into messages stay what they are."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import Account
from popframe_store_mbox import Settings, StoreMbox, indexed
from popframe_store_mbox.uid import DIGEST_OCTETS, further_copies

ALICE = Account("alice")


def entry(header: bytes) -> bytes:
    """Return a message as it stands in the spool."""
    return b"From a@example.org Mon Jan  5 09:00:00 2026\n" + header + b"\n\ntext\n\n"


@pytest.fixture
def keeping(spool_dir: Path) -> StoreMbox:
    """Return the plugin with the setting."""
    return StoreMbox(Settings(spool_dir=spool_dir, uidl="x-uidl", lock_timeout_seconds=0))


def uids(store: StoreMbox) -> list[str]:
    """Return the unique-ids that a session has, which must be what its listing says."""
    with closing(store.popframe_open_maildrop(ALICE)) as maildrop:
        found = list(maildrop.message_uids())
        lines = b"".join(maildrop.uid_listing()).splitlines()
    assert lines == [b"%d %b" % (number, uid.encode()) for number, uid in enumerate(found, 1)]
    return found


def test_ids_of_qpopper_are_kept(keeping: StoreMbox, store: StoreMbox, spool: Path) -> None:
    """Of every version: a time with a number, MD5, and the printable characters of the last; others get a digest."""
    spool.write_bytes(
        entry(b"X-UIDL: 1767603600.001\nSubject: a")
        + entry(b"Subject: b\nX-UIDL: 0123456789abcdef0123456789abcdef\nStatus: RO")
        + entry(b"Subject: c\nx-uidl:  8;p!!:L@\"!'*9!!\\T/!! ")
        + entry(b"Subject: d")
    )
    digests = uids(store)

    assert uids(keeping) == [
        "1767603600.001",
        "0123456789abcdef0123456789abcdef",
        "8;p!!:L@\"!'*9!!\\T/!!",
        digests[3],
    ]


@pytest.mark.parametrize(
    "value", [b"", b"two words", b"x" * 71, "umläut".encode(), b"\x01", b"a\n folded"], ids=range(6)
)
def test_what_can_be_no_unique_id_does_not_count(
    keeping: StoreMbox, store: StoreMbox, spool: Path, value: bytes
) -> None:
    """1 to 70 octets from 0x21 to 0x7E (RFC 1939 section 7)."""
    spool.write_bytes(entry(b"Subject: a\nX-UIDL: " + value) + entry(b"Subject: b"))

    assert uids(keeping) == uids(store)


def test_of_two_messages_with_one_id_the_first_has_it(keeping: StoreMbox, store: StoreMbox, spool: Path) -> None:
    """A sender may have written it: unique-ids are distinct all the same, also from those of other messages."""
    spool.write_bytes(entry(b"Subject: a") * 2)
    digest = uids(store)[0]
    spool.write_bytes(
        entry(b"Subject: a")
        + entry(b"X-UIDL: one\nSubject: b")
        + entry(b"X-UIDL: one\nSubject: c")
        + entry(b"X-UIDL: %b\nSubject: d" % digest.encode())
    )
    found = uids(keeping)

    assert found[:2] == [digest, "one"]
    assert found[2:] == uids(store)[2:]
    assert len(set(found)) == 4


def test_removing_and_stamping_go_by_the_message_itself(spool_dir: Path, spool: Path) -> None:
    """Also when another program has rewritten the spool meanwhile."""
    store = StoreMbox(Settings(spool_dir=spool_dir, uidl="x-uidl", status_headers="popper", lock_timeout_seconds=0))
    first, second = entry(b"X-UIDL: one\nSubject: a"), entry(b"X-UIDL: two\nSubject: b")
    spool.write_bytes(first + second)
    with closing(store.popframe_open_maildrop(ALICE)) as maildrop:
        spool.write_bytes(second + first)
        maildrop.commit({0}, {1})

    assert spool.read_bytes() == entry(b"X-UIDL: two\nSubject: b\nStatus: RO")


def test_there_is_no_index(keeping: StoreMbox, spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no room for ids of any form; one from before is left as it is."""
    monkeypatch.setattr(indexed, "SMALL_SPOOL_OCTETS", 0)
    spool.write_bytes(entry(b"X-UIDL: one\nSubject: a"))

    assert uids(keeping) == ["one"]
    assert not list(spool.parent.glob("*index*"))


def test_a_private_copy_keeps_them_too(spool_dir: Path, spool: Path) -> None:
    """Both are for sites that come from Qpopper."""
    store = StoreMbox(Settings(spool_dir=spool_dir, uidl="x-uidl", private_copy=True))
    spool.write_bytes(entry(b"X-UIDL: one\nSubject: a"))

    assert uids(store) == ["one"]


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_copies_are_numbered_in_order(before: list[int], numbers: list[int]) -> None:
    """Whether something came before them or not, and however many are sorted at a time."""
    known = Counter(before)
    digests = b"".join(number.to_bytes(DIGEST_OCTETS, "big") for number in numbers)
    expected, seen = {}, Counter(before)
    for message, number in enumerate(numbers):
        seen[number] += 1
        if seen[number] > 1:
            expected[message] = seen[number]

    assert further_copies(digests, lambda digest: known[int.from_bytes(digest, "big")]) == expected
    alone: Counter[int] = Counter()
    first = {}
    for message, number in enumerate(numbers):
        alone[number] += 1
        if alone[number] > 1:
            first[message] = alone[number]
    assert further_copies(digests) == first
