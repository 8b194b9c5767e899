"""A store that keeps mail in memory: for tests, and as the smallest example of a storage plugin."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from itertools import count

from popframe import Account, IncomingMessage, MaildropInUse, hookimpl


class MemoryMaildrop:
    """One session's messages; see :class:`popframe.Maildrop`."""

    def __init__(self, stored: dict[str, bytes], on_close: Callable[[], None] = lambda: None) -> None:
        """Take a snapshot.

        Args:
            stored: The messages by unique-id, in order; :meth:`commit` removes from it.
            on_close: What is called when the session has ended.
        """
        self._stored = stored
        self._messages = list(stored.items())
        self._on_close = on_close

    def message_octets(self) -> list[int]:
        """Return the size of each message as it is sent."""
        return [octets_as_sent(content) for _, content in self._messages]

    def message_uids(self) -> list[str]:
        """Return the unique-id of each message."""
        return [uid for uid, _ in self._messages]

    def read_message(self, index: int) -> Iterator[bytes]:
        """Yield one message, in one piece."""
        yield self._messages[index][1]

    def commit(self, deleted: AbstractSet[int], seen: AbstractSet[int]) -> None:
        """Remove messages."""
        for index in deleted:
            self._stored.pop(self._messages[index][0], None)

    def close(self) -> None:
        """End the session."""
        self._on_close()


class MemoryStore:
    """The plugin. Nothing is kept when the process ends."""

    def __init__(self) -> None:
        self._stored: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        self._in_use: set[str] = set()
        self._guard = threading.Lock()
        self._uids = count(1)

    @hookimpl
    def popframe_open_maildrop(self, account: Account) -> MemoryMaildrop:
        """Open the account's maildrop; everybody has one.

        Raises:
            MaildropInUse: Another session has it.
        """
        name = account.username
        with self._guard:
            if name in self._in_use:
                raise MaildropInUse(f"another session has the maildrop of {name}")
            self._in_use.add(name)
            return MemoryMaildrop(self._stored[name], lambda: self._in_use.discard(name))

    @hookimpl
    def popframe_deliver_message(self, account: Account, message: IncomingMessage) -> bool:
        """Keep a message."""
        with self._guard:
            self._stored[account.username][str(next(self._uids))] = message.content
        return True


def octets_as_sent(content: bytes) -> int:
    """Return the size of a stored message with CRLF for each line end, the last one included (RFC 1939 section 11)."""
    unended = content != b"" and not content.endswith(b"\n")
    return len(content) + content.count(b"\n") - content.count(b"\r\n") + 2 * unended
