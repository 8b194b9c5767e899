"""What exists from login to QUIT: the maildrop, the marks on it, and what was done with it.

Rule of this file: storage counts from 0 and knows nothing of marks; the client counts from 1. Here alone the two meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import cast

from popframe.engine import wire
from popframe.engine.backend import Login
from popframe.engine.policy import MAX_NUMBER_DIGITS
from popframe.errors import HookContractError, NoSuchMessage, TemporaryFailure
from popframe.model import Maildrop, PreparedMaildrop, SessionSummary

LISTING_LINES = 1000
"""Lines rendered at a time for a scan or unique-id listing, so that a million messages need no memory."""

MAX_UID_LENGTH = 70
"""RFC 1939 section 7, UIDL."""


class Transaction:
    """The TRANSACTION state of one session."""

    def __init__(self, login: Login) -> None:
        """Take a look at the opened maildrop.

        Raises:
            HookContractError: The storage contradicts itself.
        """
        self.account = login.account
        self.maildrop = login.maildrop
        self._octets: Sequence[int] = self.maildrop.message_octets()
        self._uids: Sequence[str] = self.maildrop.message_uids()
        if len(self._octets) != len(self._uids):
            raise HookContractError(
                f"{type(self.maildrop).__name__} gives {len(self._octets)} sizes and {len(self._uids)} unique-ids"
            )
        self._prepared = cast(PreparedMaildrop, login.maildrop) if _is_prepared(type(login.maildrop)) else None
        self._total_octets = sum(self._octets) if self._prepared is None else self._prepared.total_octets()
        self.deleted: set[int] = set()
        self.seen: set[int] = set()
        self.deleted_octets = 0
        self.is_updated = False
        self.last_accessed = 0
        self.retr_count = 0
        self.retr_octets = 0
        self.top_count = 0
        self.top_octets = 0

    @property
    def message_count(self) -> int:
        """Messages at login, marked ones included."""
        return len(self._octets)

    @property
    def left_count(self) -> int:
        """Messages that are not marked as deleted."""
        return len(self._octets) - len(self.deleted)

    @property
    def left_octets(self) -> int:
        """Octets of the messages that are not marked as deleted."""
        return self._total_octets - self.deleted_octets

    def message_index(self, number: str) -> int:
        """Return the index for a message-number; leading zeros are accepted (RFC 1939 section 4).

        Raises:
            NoSuchMessage: It is not one, or the message is marked as deleted.
        """
        value = decimal(number)
        if value is None or not 1 <= value <= len(self._octets) or value - 1 in self.deleted:
            raise NoSuchMessage(f"message-number {number!r}")
        return value - 1

    def message_octets(self, index: int) -> int:
        """Return the size that LIST tells."""
        return self._octets[index]

    def message_uid(self, index: int) -> str:
        """Return the unique-id that UIDL tells.

        Raises:
            HookContractError: The storage made up one that RFC 1939 section 7 does not allow.
        """
        uid = self._uids[index]
        if not (0 < len(uid) <= MAX_UID_LENGTH and uid.isascii() and uid.isprintable() and " " not in uid):
            raise HookContractError(f"{type(self.maildrop).__name__} gives the illegal unique-id {uid!r}")
        return uid

    def mark_deleted(self, index: int) -> None:
        """Mark a message as deleted (RFC 1939 section 5, DELE)."""
        self.deleted.add(index)
        self.deleted_octets += self._octets[index]
        self.note_access(index)

    def unmark_all(self) -> None:
        """Take back every mark (RFC 1939 section 5, RSET), and what LAST tells (RFC 1460 section 5)."""
        self.deleted.clear()
        self.deleted_octets = 0
        self.last_accessed = 0

    def note_access(self, index: int) -> None:
        """Remember the highest message that was retrieved whole or marked (RFC 1460, LAST)."""
        self.last_accessed = max(self.last_accessed, index + 1)

    def scan_column(self, index: int) -> str:
        """Return what LIST tells of a message behind its number."""
        return str(self._octets[index])

    def scan_listing(self) -> Iterator[bytes]:
        """Yield the lines of LIST."""
        if self._prepared is not None:
            return self._without_deleted(self._prepared.scan_listing())
        return self._listing(self.scan_column)

    def uid_listing(self) -> Iterator[bytes]:
        """Yield the lines of UIDL."""
        if self._prepared is not None:
            return self._without_deleted(self._prepared.uid_listing())
        return self._listing(self.message_uid)

    def _without_deleted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Leave the lines of marked messages out of a listing that has a line for each."""
        if not self.deleted:
            yield from pieces
            return
        index = 0
        rest = b""
        for piece in pieces:
            lines = (rest + piece).splitlines(keepends=True)
            rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
            yield b"".join(line for at, line in enumerate(lines, index) if at not in self.deleted)
            index += len(lines)

    def _listing(self, column: Callable[[int], object]) -> Iterator[bytes]:
        deleted = self.deleted
        for start in range(0, len(self._octets), LISTING_LINES):
            indexes = range(start, min(start + LISTING_LINES, len(self._octets)))
            lines = [f"{index + 1} {column(index)}\r\n" for index in indexes if index not in deleted]
            if lines:
                yield "".join(lines).encode("ascii")

    def whole_message(self, index: int) -> Iterator[bytes]:
        """Yield a message with CRLF line ends; when all of it was taken, it counts as retrieved."""
        octets = self._octets[index]
        yield from self._exactly(octets, wire.with_crlf(self.maildrop.read_message(index)))
        self.seen.add(index)
        self.note_access(index)
        self.retr_count += 1
        self.retr_octets += octets

    def top_of_message(self, index: int, line_count: int) -> Iterator[bytes]:
        """Yield the top of a message with CRLF line ends; this does not count as retrieving it (RFC 1460, LAST)."""
        octets = 0
        for piece in wire.top(wire.with_crlf(self.maildrop.read_message(index)), line_count):
            octets += len(piece)
            yield piece
        self.top_count += 1
        self.top_octets += octets

    def has_dot_lines(self, index: int) -> bool:
        """Tell whether a line of the message may begin with a dot."""
        return self._prepared is None or self._prepared.has_dot_lines(index)

    def commit(self) -> None:
        """Remove what is marked (RFC 1939 section 6)."""
        self.maildrop.commit(frozenset(self.deleted), frozenset(self.seen))
        self.is_updated = True

    def add_to(self, summary: SessionSummary) -> SessionSummary:
        """Return the summary of the session with what was done here."""
        return replace(
            summary,
            username=self.account.username,
            retr_count=self.retr_count,
            retr_octets=self.retr_octets,
            top_count=self.top_count,
            top_octets=self.top_octets,
            deleted_count=len(self.deleted) if self.is_updated else 0,
            deleted_octets=self.deleted_octets if self.is_updated else 0,
            left_count=self.left_count if self.is_updated else self.message_count,
            left_octets=self.left_octets if self.is_updated else self._total_octets,
        )

    @staticmethod
    def _exactly(octets: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Pass pieces on and make sure of their sum: never a whole reply with a part of a message.

        Raises:
            TemporaryFailure: The storage gave more or less than it had said.
        """
        left = octets
        for piece in pieces:
            left -= len(piece)
            if left < 0:
                break
            yield piece
        if left:
            raise TemporaryFailure(f"the storage promised {octets} octets and gave {'more' if left < 0 else 'less'}")


@cache
def _is_prepared(kind: type[Maildrop]) -> bool:
    """Tell whether a class of maildrops is prepared; looked at once for each class."""
    names = ("total_octets", "scan_listing", "uid_listing", "has_dot_lines")
    return all(callable(getattr(kind, name, None)) for name in names)


def decimal(text: str) -> int | None:
    """Return the value of plain ASCII digits, or None: no sign, no blank, no other script's digits."""
    if not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) <= MAX_NUMBER_DIGITS else None
