"""The smallest user id that may log in."""

from __future__ import annotations

from popframe.model import Account, Peer

ROOT = 0
"""Reading its mail over the network needs root's password on the wire and a process that may do anything; whoever gets
mail for root has it forwarded to a person (aliases(5))."""


class UidFloor:
    """``min_uid``; a virtual account has no user id and is not concerned."""

    def __init__(self, smallest: int) -> None:
        """Take the smallest user id."""
        self._smallest = smallest

    def objection(self, peer: Peer, account: Account) -> str | None:
        """Refuse root, whatever the settings say, and the accounts of services."""
        if account.uid is None:
            return None
        if account.uid == ROOT:
            return "root may not log in"
        if account.uid < self._smallest:
            return f"user id {account.uid} is below login.min_uid, which is {self._smallest}"
        return None
