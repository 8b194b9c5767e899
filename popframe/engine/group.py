"""The maildrop of a group, in the place of the user's own (RFC 1082): read only, and LIST has a third column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from popframe.engine.backend import Login
from popframe.engine.transaction import Transaction
from popframe.errors import HookContractError, ReadOnly
from popframe.model import Maildrop, SessionSummary


class GroupTransaction(Transaction):
    """The TRANSACTION state behind the user's own maildrop, which is updated and closed."""

    def __init__(self, maildrop: Maildrop, maxima: Sequence[int], before: Transaction) -> None:
        """Take a look at the maildrop, and go on counting what the session does.

        Args:
            maildrop: What is read from now on.
            maxima: The third column of LIST for each message, rising.
            before: What was read until now.

        Raises:
            HookContractError: The storage contradicts itself.
        """
        super().__init__(Login(before.account, maildrop))
        if len(maxima) != self.message_count or any(b <= a for a, b in pairwise(maxima)):
            raise HookContractError(f"{type(maildrop).__name__}: maxima are not one for each message, and rising")
        self._maxima = maxima
        self._own: Transaction = before._own if isinstance(before, GroupTransaction) else before
        self.retr_count, self.retr_octets = before.retr_count, before.retr_octets
        self.top_count, self.top_octets = before.top_count, before.top_octets

    def mark_deleted(self, index: int) -> None:
        """Refuse.

        Raises:
            ReadOnly: Always.
        """
        raise ReadOnly(f"DELE {index + 1} in a group")

    def scan_column(self, index: int) -> str:
        """Return size and maxima (RFC 1082, XTND BBOARDS)."""
        return f"{self.message_octets(index)} {self._maxima[index]}"

    def scan_listing(self) -> Iterator[bytes]:
        """Yield the lines of LIST, of whatever class the maildrop is."""
        return self._listing(self.scan_column)

    def commit(self) -> None:
        """Do nothing: nothing is marked here, and the update of the user's own maildrop is over."""

    def add_to(self, summary: SessionSummary) -> SessionSummary:
        """Return what was done in all; what is removed and left is that of the user's own maildrop."""
        return replace(
            self._own.add_to(summary),
            retr_count=self.retr_count,
            retr_octets=self.retr_octets,
            top_count=self.top_count,
            top_octets=self.top_octets,
        )
