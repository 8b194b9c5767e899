"""What command handlers see of the maildrop, those of plugins too: the better part of a CommandContext."""

from __future__ import annotations

from collections.abc import Iterator

from popframe.engine.transaction import Transaction
from popframe.errors import HookContractError
from popframe.model import Account, Peer


class MaildropContext:
    """The part of a session that exists after login; see :class:`popframe.CommandContext`.

    Attributes:
        peer: Where the client connects from.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
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
