"""What command handlers see of the maildrop, those of plugins too: the better part of a CommandContext."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from popframe.engine.backend import Backend
from popframe.engine.group import GroupTransaction
from popframe.engine.transaction import Transaction
from popframe.errors import HookContractError
from popframe.model import Account, Maildrop, Peer


class MaildropContext:
    """The part of a session that exists after login; see :class:`popframe.CommandContext`.

    Attributes:
        peer: Where the client connects from.
    """

    def __init__(self, peer: Peer, backend: Backend) -> None:
        self.peer = peer
        self._backend = backend
        self._transaction: Transaction | None = None

    @property
    def transaction(self) -> Transaction:
        """What exists after login.

        Raises:
            HookContractError: Before login: a command that needs it is in the table of the wrong state.
        """
        if self._transaction is None:
            raise HookContractError("a command asked for the maildrop before login")
        return self._transaction

    @property
    def account(self) -> Account:
        """Who logged in."""
        return self.transaction.account

    @property
    def message_count(self) -> int:
        """Messages at login, marked ones included."""
        return self.transaction.message_count

    @property
    def last_accessed(self) -> int:
        """Highest message-number of a RETR or DELE."""
        return self.transaction.last_accessed

    def message_index(self, number: str) -> int:
        """Return the index for a message-number."""
        return self.transaction.message_index(number)

    def is_deleted(self, index: int) -> bool:
        """Tell whether the message is marked as deleted."""
        return index in self.transaction.deleted

    def message_octets(self, index: int) -> int:
        """Return the size of a message."""
        return self.transaction.message_octets(index)

    def message_uid(self, index: int) -> str:
        """Return the unique-id of a message."""
        return self.transaction.message_uid(index)

    def read_message(self, index: int) -> Iterator[bytes]:
        """Yield a message as stored."""
        return self.transaction.maildrop.read_message(index)

    def enter_group(self, maildrop: Maildrop, maxima: Sequence[int]) -> None:
        """Update and close the open maildrop, and go on in a group's."""
        before = self.transaction
        try:
            group = GroupTransaction(maildrop, maxima, before)
            before.commit()
        except Exception:
            self._quietly("closing the maildrop of a group", maildrop.close)
            raise
        self._transaction = group
        self._quietly("closing the maildrop", before.maildrop.close)

    def _quietly(self, doing: str, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self._backend.report_error(doing, error)
