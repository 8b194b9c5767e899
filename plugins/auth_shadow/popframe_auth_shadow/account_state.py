"""What passwd and shadow say of a user, and whether the user may log in by it.

Rule of this file: it asks nothing, neither the machine nor the clock. Where the programs of a machine disagree about a
field, the stricter reading counts, except for the maximum age: there a day more or less than PAM allows would only
puzzle.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from popframe import is_password_hash

HASH_IS_IN_SHADOW = "x"
"""A password field of passwd that sends to shadow (passwd(5))."""

LOCKS = ("!", "*")
"""No password matches a field that begins like this (shadow(5)); passwd -l puts ``!`` before the hash."""


@dataclass(frozen=True, slots=True)
class PasswdEntry:
    """A line of passwd(5).

    Attributes:
        name: The user's name.
        stored: The password field: a hash, a lock, nothing, or ``x``.
        uid: Numeric user id.
        gid: Numeric id of the user's own group.
        home: Home directory; may be empty.
        shell: Login shell; may be empty.
    """

    name: str
    stored: str = field(repr=False)
    uid: int
    gid: int
    home: str = ""
    shell: str = ""


@dataclass(frozen=True, slots=True)
class ShadowEntry:
    """A line of shadow(5). A field of it that is empty is None here.

    Attributes:
        stored: The password field: a hash, a lock, or nothing.
        last_change_day: When the password was changed, in days since 1970-01-01 UTC; 0 when it must be changed.
        max_days: How many days after that it must be changed.
        inactive_days: For how many further days other programs accept it, so that it can be changed.
        expire_day: From which day on the account is closed, in days since 1970-01-01 UTC.
    """

    stored: str = field(repr=False)
    last_change_day: int | None = None
    max_days: int | None = None
    inactive_days: int | None = None
    expire_day: int | None = None


@dataclass(frozen=True, slots=True)
class SystemUser:
    """All that the machine says of a user.

    Attributes:
        passwd: The entry in passwd.
        shadow: The entry in shadow; None when there is none.
    """

    passwd: PasswdEntry
    shadow: ShadowEntry | None

    @property
    def stored(self) -> str:
        """The password field that counts."""
        if self.passwd.stored != HASH_IS_IN_SHADOW or self.shadow is None:
            return self.passwd.stored
        return self.shadow.stored


class AccountState(enum.Enum):
    """Whether a user may log in, or why not; the value is what the log says."""

    OPEN = "the account is open"
    LOCKED = "the account is locked: its password field begins with ! or *"
    NOT_IN_SHADOW = "the account is locked: passwd refers to shadow, which has no entry for it"
    EMPTY = "the account has no password, and an empty one is never accepted"
    UNKNOWN_HASH = "the account's password field has no form that libcrypt knows"
    EXPIRED = "the account has expired"
    MUST_CHANGE = "the password must be changed before anything else"
    TOO_OLD = "the password is older than its maximum age, and must be changed"
    INACTIVE = "the password has expired so long ago that the account is closed"

    @property
    def has_hash(self) -> bool:
        """There is a hash to verify a password against."""
        return self not in WITHOUT_HASH


WITHOUT_HASH = frozenset(
    {AccountState.LOCKED, AccountState.NOT_IN_SHADOW, AccountState.EMPTY, AccountState.UNKNOWN_HASH}
)
"""States in which no password can be right."""


def account_state(user: SystemUser, today: int) -> AccountState:
    """Tell whether a user may log in.

    Args:
        user: What the machine says of the user.
        today: Days since 1970-01-01 UTC.
    """
    state = _state_of_password(user)
    if state is AccountState.OPEN and user.shadow is not None:
        return _state_of_dates(user.shadow, today)
    return state


def _state_of_password(user: SystemUser) -> AccountState:
    if user.passwd.stored == HASH_IS_IN_SHADOW and user.shadow is None:
        return AccountState.NOT_IN_SHADOW
    # With the hash in passwd and an entry in shadow as well, passwd -l locks the latter alone.
    fields = [user.stored] if user.shadow is None else [user.stored, user.shadow.stored]
    if any(stored.startswith(LOCKS) for stored in fields):
        return AccountState.LOCKED
    if not user.stored:
        return AccountState.EMPTY
    return AccountState.OPEN if is_password_hash(user.stored) else AccountState.UNKNOWN_HASH


def _state_of_dates(shadow: ShadowEntry, today: int) -> AccountState:
    """Judge the fields of shadow(5) that are days."""
    # Day 0 is taken for "never" by some programs and for a day long past by PAM; chage -E 0 is meant to close.
    if shadow.expire_day is not None and today >= shadow.expire_day:
        return AccountState.EXPIRED
    if shadow.last_change_day == 0:
        return AccountState.MUST_CHANGE
    # An empty day of the last change turns password ageing off (shadow(5)).
    if shadow.last_change_day is None or shadow.max_days is None:
        return AccountState.OPEN
    days_too_old = today - shadow.last_change_day - shadow.max_days
    if days_too_old <= 0:
        return AccountState.OPEN
    if shadow.inactive_days is not None and days_too_old > shadow.inactive_days:
        return AccountState.INACTIVE
    return AccountState.TOO_OLD
