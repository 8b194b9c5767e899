"""The messages of an mbox file in memory: one column for each thing that is known of them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from popframe_store_mbox.index_format import Row
from popframe_store_mbox.lazy import LazySequence
from popframe_store_mbox.uid import DIGEST_OCTETS, further_copies, uid_of

LISTED_AT_ONCE = 1000
"""Lines of a listing that are rendered at a time."""


def _column() -> array[int]:
    return array("Q")


@dataclass(slots=True)
class Index:
    """The messages of an mbox file; offsets count from its start.

    Attributes:
        size: Octets of the file that were looked at.
        start: Where a message's From_ line begins.
        content: Where its header begins.
        header_end: Where its header, or the first part of a very long one, ends.
        end: Where its text ends, without the blank line that separates it from the next message.
        next: Where the next message begins, or the file ends.
        octets: Its size as it is sent.
        has_dot_lines: 1 when a line of it begins with a dot.
        digests: What identifies each of them, one behind the other; the same for copies.
        copies: The place of a message among its copies, where that is not 1.
        stored_uids: The unique-ids that another server has written into them, and that count.
    """

    size: int
    start: array[int] = field(default_factory=_column)
    content: array[int] = field(default_factory=_column)
    header_end: array[int] = field(default_factory=_column)
    end: array[int] = field(default_factory=_column)
    next: array[int] = field(default_factory=_column)
    octets: array[int] = field(default_factory=_column)
    has_dot_lines: bytearray = field(default_factory=bytearray)
    digests: bytearray = field(default_factory=bytearray)
    copies: dict[int, int] = field(default_factory=dict)
    stored_uids: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self.start)

    def name_messages(self, copies_before: Callable[[bytes], int] | None) -> None:
        """Give every message its own unique-id, once all are known.

        Args:
            copies_before: Tells how many messages with a digest come before these; None when there are none.
        """
        self.copies = further_copies(self.digests, copies_before)
        if self.stored_uids:
            stored, self.stored_uids = self.stored_uids, {}
            taken = set(self.uids)
            for message, uid in stored.items():
                if uid not in taken:  # of several, the first has it
                    taken.add(uid)
                    self.stored_uids[message] = uid

    def row(self, message: int) -> Row:
        """Return what is known of a message, but for the places of its lines in listings."""
        return Row(
            start=self.start[message],
            content=self.content[message],
            header_end=self.header_end[message],
            end=self.end[message],
            next=self.next[message],
            octets=self.octets[message],
            list_end=0,
            uid_end=0,
            digest=self.digest(message),
            copy=self.copies.get(message, 1),
            has_dot_lines=self.may_have_dot_lines(message),
        )

    def digest(self, message: int) -> bytes:
        """Return what identifies a message and its copies."""
        return bytes(self.digests[message * DIGEST_OCTETS : (message + 1) * DIGEST_OCTETS])

    def identities(self) -> Iterator[tuple[bytes, int]]:
        """Yield the digest of each message, and its place among its copies."""
        copy_of = self.copies.get
        return ((self.digest(message), copy_of(message, 1)) for message in range(len(self)))

    @property
    def uids(self) -> Sequence[str]:
        """The unique-ids, made as they are asked for."""
        return LazySequence(self, self._uid)

    def _uid(self, message: int) -> str:
        return self.stored_uids.get(message) or uid_of(self.digest(message), self.copies.get(message, 1)).decode()

    def total_octets(self) -> int:
        """Return the sum of the sizes."""
        return sum(self.octets)

    def may_have_dot_lines(self, message: int) -> bool:
        """Tell whether a line of the message may begin with a dot."""
        return bool(self.has_dot_lines[message])

    def list_lines(self) -> Iterator[bytes]:
        """Yield the lines of LIST."""
        for at in range(0, len(self.octets), LISTED_AT_ONCE):
            part = enumerate(self.octets[at : at + LISTED_AT_ONCE], at + 1)
            yield b"".join([b"%d %d\r\n" % line for line in part])

    def uid_lines(self) -> Iterator[bytes]:
        """Yield the lines of UIDL."""
        uids = self.uids
        for at in range(0, len(self), LISTED_AT_ONCE):
            part = enumerate(uids[at : at + LISTED_AT_ONCE], at + 1)
            yield "".join([f"{number} {uid}\r\n" for number, uid in part]).encode("ascii")

    def close(self) -> None:
        """Do nothing: there is no file."""

    def discard(self) -> None:
        """Do nothing: there is no file."""
