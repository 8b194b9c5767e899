"""Users in memory, for tests that need somebody to log in."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from popframe import Account, AuthenticationFailed, PlainCredentials, hookimpl


@dataclass(frozen=True, slots=True)
class _User:
    account: Account
    password: bytes = field(repr=False)


class MemoryAccounts:
    """An authentication plugin with the users that a test gives it.

    ::

        accounts = MemoryAccounts({"alice": b"secret"})
        accounts.add(Account(username="bob", maildrop="/srv/mail/bob"), b"secret")

    A user may be added at any time, also while other threads log in.
    """

    def __init__(self, passwords: Mapping[str, bytes] | None = None) -> None:
        """Start with virtual users.

        Args:
            passwords: By user name.
        """
        self._users: dict[str, _User] = {}
        for username, password in (passwords or {}).items():
            self.add(Account(username=username), password)

    def add(self, account: Account, password: bytes) -> None:
        """Add a user, or replace the one of that name."""
        self._users[account.username] = _User(account, password)

    @hookimpl
    def popframe_authenticate(self, credentials: PlainCredentials) -> Account | None:
        """Accept a user whose password is the same octet by octet; leave unknown ones to other plugins."""
        user = self._users.get(credentials.username)
        if user is None:
            return None
        if not user.password or not hmac.compare_digest(user.password, credentials.password):
            raise AuthenticationFailed("wrong password")
        return user.account

    @hookimpl
    def popframe_lookup_account(self, username: str) -> Account | None:
        """Return a user whose identity is proven already; whoever has an empty password is locked."""
        user = self._users.get(username)
        if user is not None and not user.password:
            raise AuthenticationFailed("the user is locked")
        return None if user is None else user.account
