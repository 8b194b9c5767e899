"""What the fields of passwd and shadow mean, day by day."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe_auth_shadow.account_state import AccountState, PasswdEntry, ShadowEntry, SystemUser, account_state

TODAY = 20_000
HASH = "$y$j9T$8gWRjdqa6jchZteBd4G3a1$gMxdfl541Nghov/1ydrjcV9Xu8TklP5fwfvtG1H4eU6"
ALICE = PasswdEntry(name="alice", stored="x", uid=1000, gid=100)

OPEN = AccountState.OPEN
days = st.none() | st.integers(0, 2**31)


def state_of(passwd: str, shadow: ShadowEntry | None) -> AccountState:
    """Return the state of a user with this password field in passwd, and this entry in shadow."""
    return account_state(SystemUser(replace(ALICE, stored=passwd), shadow), TODAY)


@pytest.mark.parametrize(
    ("passwd", "shadow", "expected"),
    [
        ("x", HASH, OPEN),
        ("x", None, AccountState.NOT_IN_SHADOW),
        ("x", "", AccountState.EMPTY),
        ("x", "!", AccountState.LOCKED),
        ("x", "!!", AccountState.LOCKED),
        ("x", "!*", AccountState.LOCKED),
        ("x", "*", AccountState.LOCKED),
        ("x", "*LK*", AccountState.LOCKED),
        ("x", "!" + HASH, AccountState.LOCKED),
        ("x", "*" + HASH, AccountState.LOCKED),
        ("x", "x", AccountState.UNKNOWN_HASH),
        ("x", "*0", AccountState.LOCKED),
        ("x", HASH[:-1], AccountState.UNKNOWN_HASH),
        ("x", "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", AccountState.UNKNOWN_HASH),
        (HASH, None, OPEN),
        (HASH, "", OPEN),
        (HASH, HASH, OPEN),
        (HASH, "!" + HASH, AccountState.LOCKED),
        (HASH, "*", AccountState.LOCKED),
        ("", None, AccountState.EMPTY),
        ("", HASH, AccountState.EMPTY),
        ("!", HASH, AccountState.LOCKED),
        ("*", None, AccountState.LOCKED),
        ("!" + HASH, None, AccountState.LOCKED),
        ("X", HASH, AccountState.UNKNOWN_HASH),
        ("xx", HASH, AccountState.UNKNOWN_HASH),
    ],
)
def test_state_follows_from_the_password_fields(passwd: str, shadow: str | None, expected: AccountState) -> None:
    """The hash is where passwd(5) says; a lock in either file locks."""
    assert state_of(passwd, None if shadow is None else ShadowEntry(shadow)) is expected


@pytest.mark.parametrize(
    ("expire_day", "expected"),
    [
        (None, OPEN),
        (TODAY + 1, OPEN),
        (TODAY, AccountState.EXPIRED),
        (TODAY - 1, AccountState.EXPIRED),
        (1, AccountState.EXPIRED),
        (0, AccountState.EXPIRED),
    ],
)
def test_account_is_closed_from_its_expiration_date_on(expire_day: int | None, expected: AccountState) -> None:
    """The day itself is the first without access, for useradd, chage and PAM alike (shadow(5))."""
    assert state_of("x", ShadowEntry(HASH, expire_day=expire_day)) is expected
    assert state_of(HASH, ShadowEntry("", expire_day=expire_day)) is expected


@pytest.mark.parametrize(
    ("last_change_day", "max_days", "inactive_days", "expected"),
    [
        (None, None, None, OPEN),
        (None, 5, None, OPEN),
        (None, 5, 0, OPEN),
        (0, None, None, AccountState.MUST_CHANGE),
        (0, 99_999, 99_999, AccountState.MUST_CHANGE),
        (0, 5, 5, AccountState.MUST_CHANGE),
        (1, None, None, OPEN),
        (1, None, 0, OPEN),
        (1, 99_999, 0, OPEN),
        (TODAY, 0, None, OPEN),
        (TODAY - 1, 0, None, AccountState.TOO_OLD),
        (TODAY - 1, 0, 0, AccountState.INACTIVE),
        (TODAY - 5, 5, None, OPEN),
        (TODAY - 5, 5, 0, OPEN),
        (TODAY - 6, 5, None, AccountState.TOO_OLD),
        (TODAY - 6, 5, 0, AccountState.INACTIVE),
        (TODAY - 6, 5, 1, AccountState.TOO_OLD),
        (TODAY - 7, 5, 1, AccountState.INACTIVE),
        (TODAY - 9, 5, 4, AccountState.TOO_OLD),
        (TODAY - 10, 5, 4, AccountState.INACTIVE),
        (TODAY + 1, 0, 0, OPEN),
        (TODAY + 1000, 5, 5, OPEN),
    ],
)
def test_password_ages(
    last_change_day: int | None, max_days: int | None, inactive_days: int | None, expected: AccountState
) -> None:
    """A password is good up to the last day of its maximum age, as pam_unix has it; an empty field sets no limit."""
    entry = ShadowEntry(HASH, last_change_day, max_days, inactive_days)

    assert state_of("x", entry) is expected
    assert state_of(HASH, replace(entry, stored="")) is expected


def test_reason_that_weighs_most_is_told() -> None:
    """Locked before expired, expired before a password that has aged."""
    aged = ShadowEntry(HASH, last_change_day=1, max_days=1, inactive_days=1, expire_day=1)

    assert state_of("x", replace(aged, stored="!" + HASH)) is AccountState.LOCKED
    assert state_of("x", aged) is AccountState.EXPIRED
    assert state_of("x", replace(aged, expire_day=None)) is AccountState.INACTIVE


@given(st.text(), st.none() | st.builds(ShadowEntry, st.text(), days, days, days, days), st.integers(0, 2**31))
def test_no_field_makes_it_raise(passwd: str, shadow: ShadowEntry | None, today: int) -> None:
    """Whatever stands in the files, there is an answer; and only with a hash that can be verified it is "open"."""
    user = SystemUser(replace(ALICE, stored=passwd), shadow)
    state = account_state(user, today)

    assert state.has_hash or state is not OPEN


def test_reasons_differ_and_say_nothing_of_the_user() -> None:
    """Each state has its own words for the log."""
    reasons = [state.value for state in AccountState]

    assert len(set(reasons)) == len(reasons)


def test_password_field_is_in_no_representation() -> None:
    """What is logged or shown in a trace holds no hash."""
    shown = repr(SystemUser(replace(ALICE, stored=HASH), ShadowEntry(HASH)))

    assert HASH not in shown
