"""A ledger forgets with time, and never holds more than it may."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from popframe.config.abuse import MAX_WRONG_PASSWORDS
from popframe.server.abuse.ledger import (
    CLOCK_SLIP_SECONDS,
    LABEL_OCTETS,
    LEDGER_OCTETS,
    UNDER_WAY_SECONDS,
    Ledger,
    weight,
)

NOW = 1_800_000_000.0
names = st.binary(min_size=8, max_size=8)
times = st.floats(NOW - UNDER_WAY_SECONDS / 2, NOW)


@given(st.dictionaries(names, times, max_size=30), st.dictionaries(names, times, max_size=10), st.text(max_size=30))
def test_what_was_written_is_read(failed: dict[bytes, float], under_way: dict[bytes, float], label: str) -> None:
    """All of it, as long as there is room."""
    label = label.encode("utf-8", "replace").decode().rstrip("\0")
    payload = Ledger(label, failed, under_way).packed()

    assert len(payload) == LEDGER_OCTETS
    assert Ledger.parsed(payload, NOW, 3600) == Ledger(label, failed, under_way)


@given(st.binary(min_size=LEDGER_OCTETS, max_size=LEDGER_OCTETS))
def test_any_octets_are_a_ledger_that_can_be_written(payload: bytes) -> None:
    """What a disk made of it stops nothing."""
    assert len(Ledger.parsed(payload, NOW, 3600).packed()) == LEDGER_OCTETS


def test_a_wrong_password_is_forgotten_in_time() -> None:
    """Not before, and not because the clock was once wrong."""
    times_by_name = {b"a" * 8: NOW - 3599, b"b" * 8: NOW - 3601, b"c" * 8: NOW + CLOCK_SLIP_SECONDS + 1, b"d" * 8: NOW}
    payload = Ledger("x", times_by_name, {b"e" * 8: NOW - UNDER_WAY_SECONDS - 1, b"f" * 8: NOW - 1}).packed()

    ledger = Ledger.parsed(payload, NOW, 3600)
    assert set(ledger.failed) == {b"a" * 8, b"d" * 8}
    assert set(ledger.under_way) == {b"f" * 8}


def test_the_newest_stay_when_there_are_too_many() -> None:
    """A user name that a thousand addresses try has no larger ledger."""
    failed = {number.to_bytes(8, "big"): NOW - number for number in range(1000)}
    payload = Ledger("x" * 1000, failed).packed()

    ledger = Ledger.parsed(payload, NOW, 3600)
    assert set(ledger.failed.values()) == {NOW - number for number in range(MAX_WRONG_PASSWORDS)}
    assert ledger.label == "x" * LABEL_OCTETS


def test_the_way_out_opens_when_the_oldest_is_forgotten() -> None:
    """As many must be forgotten as are above the limit, and one more."""
    ledger = Ledger("x", {bytes([number]) * 8: NOW + number for number in range(5)})

    assert ledger.clear_at(6, 100) is None
    assert ledger.clear_at(5, 100) == NOW + 100
    assert ledger.clear_at(3, 100) == NOW + 102
    assert ledger.clear_at(0, 100) is None


def test_what_is_forgotten_weighs_nothing() -> None:
    """A ledger full of old attempts gives way to one with a single new one."""
    old = Ledger("old", {bytes([number]) * 8: NOW - 4000 for number in range(20)}).packed()
    new = Ledger("new", {b"x" * 8: NOW - 10}).packed()

    assert weight(old, NOW, 3600) < weight(new, NOW, 3600)
