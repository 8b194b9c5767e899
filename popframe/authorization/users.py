"""Lists of accounts that may log in, and of those that may not."""

from __future__ import annotations

from collections.abc import Sequence

from popframe.model import Account, Peer


class UserLists:
    """``allow_users`` and ``deny_users``; an account that is in both may not."""

    def __init__(self, allowed: Sequence[str] | None, denied: Sequence[str]) -> None:
        """Take the names; None for everybody."""
        self._allowed = None if allowed is None else frozenset(allowed)
        self._denied = frozenset(denied)

    def objection(self, peer: Peer, account: Account) -> str | None:
        """Compare the canonical name, octet for octet."""
        if account.username in self._denied:
            return "the user is in login.deny_users"
        if self._allowed is not None and account.username not in self._allowed:
            return "the user is not in login.allow_users"
        return None
