"""The TRANSACTION state: message-numbers, marks, listings, totals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import Account, HookContractError, NoSuchMessage, Outcome, SessionSummary, TemporaryFailure
from popframe.engine import Login
from popframe.engine.transaction import LISTING_LINES, Transaction, decimal
from popframe.testing import MemoryMaildrop
from popframe.testing.engine_server import PEER

NOT_NUMBERS = [
    "", " ", "+1", "-1", "-0", "0x1", "1.0", "1e0", "1,2", "*", "''", "\uff11", "\u0663", "\u00b2", "1\t", "1 ", "1_0",
    "1\0", "\udcff", "one",
]  # fmt: skip
"""What Python, or another parser, takes for a number, and a client must not (RFC 1939 sections 3 and 4)."""


class Columns(MemoryMaildrop):
    """A maildrop whose sizes and unique-ids are what a test says."""

    def __init__(self, octets: list[int], uids: list[str]) -> None:
        super().__init__({str(index): b"x\n" for index in range(len(octets))})
        self._octets = octets
        self._uids = uids

    def message_octets(self) -> list[int]:
        """Return the test's sizes."""
        return self._octets

    def message_uids(self) -> list[str]:
        """Return the test's unique-ids."""
        return self._uids


def transaction(octets: list[int], uids: list[str] | None = None) -> Transaction:
    """Return a transaction on a maildrop with these columns."""
    names = [str(index) for index in range(len(octets))] if uids is None else uids
    return Transaction(Login(Account("alice"), Columns(octets, names)))


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_what_is_not_plain_digits_is_no_number(text: str) -> None:
    """P-101, H-012: nothing is coerced."""
    assert decimal(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("1", 1), ("007", 7), ("010", 10), ("000", 0), ("0" * 400 + "2", 2), ("4294967297", 2**32 + 1),
        ("18446744073709551616", 2**64), ("9" * 20, 10**20 - 1), ("1" + "0" * 20, None), ("9" * 5000, None),
    ],
)  # fmt: skip
def test_digits_are_a_decimal_number_of_bounded_length(text: str, value: int | None) -> None:
    """P-103, P-104, Q-006, H-012: leading zeros make no octal number, and a thousand digits cost nothing."""
    assert decimal(text) == value


@given(st.integers(0, 2**66), st.integers(0, 30))
def test_every_number_is_read_as_it_is_written(value: int, zeros: int) -> None:
    """What str() writes, decimal() reads, up to twenty digits."""
    text = "0" * zeros + str(value)

    assert decimal(text) == value


@pytest.mark.parametrize("number", [*NOT_NUMBERS, "0", "00", "4", "2147483648", "4294967297", "18446744073709551617"])
def test_what_is_no_message_number_names_no_message(number: str) -> None:
    """P-052, P-056, P-067, P-102, P-103: above all, 0 is not the first one, nor the last."""
    three = transaction([10, 20, 30])

    with pytest.raises(NoSuchMessage):
        three.message_index(number)


def test_numbers_count_from_one_and_stay() -> None:
    """P-049, P-066, P-068, P-100: what is marked loses its number, and no other gets it (RFC 1939 section 4)."""
    three = transaction([10, 20, 30])
    assert [three.message_index(number) for number in ("1", "2", "3")] == [0, 1, 2]
    three.mark_deleted(1)

    assert [three.message_index(number) for number in ("1", "3")] == [0, 2]
    with pytest.raises(NoSuchMessage):
        three.message_index("2")


@given(st.lists(st.integers(0, 2**40), max_size=8), st.data())
def test_totals_leave_out_what_is_marked(octets: list[int], data: st.DataObject) -> None:
    """P-042, P-044, P-070: STAT is the sum of LIST, before, between and after (RFC 1939 section 5)."""
    maildrop = transaction(octets)
    marked = data.draw(st.sets(st.sampled_from(range(len(octets))))) if octets else set()
    for index in marked:
        maildrop.mark_deleted(index)
    left = [size for index, size in enumerate(octets) if index not in marked]
    lines = b"".join(maildrop.scan_listing()).decode().split("\r\n")[:-1]

    assert (maildrop.left_count, maildrop.left_octets) == (len(left), sum(left))
    assert [int(line.partition(" ")[2]) for line in lines] == left
    maildrop.unmark_all()
    assert (maildrop.left_count, maildrop.left_octets) == (len(octets), sum(octets))


@pytest.mark.parametrize("count", [0, 1, LISTING_LINES - 1, LISTING_LINES, LISTING_LINES + 1, 3 * LISTING_LINES])
def test_listings_come_in_pieces_of_whole_lines(count: int) -> None:
    """A million messages need no memory, and no piece is empty."""
    maildrop = transaction([7] * count)
    pieces = list(maildrop.scan_listing())

    assert b"".join(pieces) == b"".join(b"%d 7\r\n" % number for number in range(1, count + 1))
    assert all(piece.endswith(b"\r\n") and piece.count(b"\n") <= LISTING_LINES for piece in pieces)


def test_a_listing_of_marked_messages_is_empty() -> None:
    """P-050, P-097: all deleted looks like none, however many there were."""
    maildrop = transaction([7] * (LISTING_LINES + 5))
    for index in range(LISTING_LINES + 5):
        maildrop.mark_deleted(index)

    assert list(maildrop.scan_listing()) == list(maildrop.uid_listing()) == []


@pytest.mark.parametrize("uid", ["", "x" * 71, "a b", "a\tb", "a\r\nb", "ä", "\x7f", "\0"])
def test_an_illegal_unique_id_is_the_plugins_fault(uid: str) -> None:
    """P-091, P-092: 1 to 70 octets from 0x21 to 0x7E (RFC 1939 section 7)."""
    maildrop = transaction([1, 2], ["good", uid])
    assert maildrop.message_uid(0) == "good"

    with pytest.raises(HookContractError, match="Columns"):
        maildrop.message_uid(1)
    with pytest.raises(HookContractError):
        list(maildrop.uid_listing())


def test_a_unique_id_may_have_any_printable_character_up_to_seventy() -> None:
    """P-092: the whole range of RFC 1939 section 7."""
    uids = ["".join(map(chr, range(0x21, 0x21 + 70))), "".join(map(chr, range(0x7F - 70, 0x7F))), "~"]

    assert [transaction([1, 1, 1], uids).message_uid(index) for index in range(3)] == uids


@pytest.mark.parametrize(("octets", "uids"), [([1], []), ([], ["a"]), ([1, 2], ["a"])])
def test_columns_of_different_length_are_the_plugins_fault(octets: list[int], uids: list[str]) -> None:
    """A message without a size, or without a unique-id, cannot be."""
    with pytest.raises(HookContractError, match=f"{len(octets)} sizes and {len(uids)} unique-ids"):
        transaction(octets, uids)


@pytest.mark.parametrize(("promised", "reason"), [(2, "more"), (4, "less"), (0, "more"), (-1, "more")])
def test_a_message_of_another_size_than_promised_is_refused_or_broken_off(promised: int, reason: str) -> None:
    """P-047, P-063: the size that LIST told holds, or the reply does not end (RFC 1939 section 11)."""
    maildrop = transaction([promised])
    sent: Iterator[bytes] = maildrop.whole_message(0)

    with pytest.raises(TemporaryFailure, match=reason):
        list(sent)
    assert maildrop.seen == set()


def test_the_highest_message_that_was_used_is_remembered() -> None:
    """P-090, X-003, X-004: RETR and DELE count, TOP does not, and RSET begins anew (RFC 1460, LAST)."""
    maildrop = transaction([3, 3, 3])
    list(maildrop.top_of_message(2, 5))
    assert maildrop.last_accessed == 0
    list(maildrop.whole_message(1))
    maildrop.mark_deleted(0)

    assert maildrop.last_accessed == 2
    maildrop.unmark_all()
    assert maildrop.last_accessed == 0


@pytest.mark.parametrize("is_updated", [True, False])
@pytest.mark.parametrize("outcome", Outcome)
def test_only_an_update_has_removed_anything(outcome: Outcome, is_updated: bool) -> None:
    """The summary tells what is left in the maildrop after each kind of end."""
    maildrop = transaction([3, 4, 5])
    maildrop.mark_deleted(2)
    if is_updated:
        maildrop.commit()
    summary = maildrop.add_to(SessionSummary("s", PEER, "", outcome, 0.0))
    expected = (1, 5, 2, 7) if is_updated else (0, 0, 3, 12)

    assert (summary.deleted_count, summary.deleted_octets, summary.left_count, summary.left_octets) == expected
    assert summary.username == "alice"
