"""The messages as a session found them, and whether they are still there.

Rule of this file: a session reads without locks, so it believes what it has read only if the file did not change, or
if the message's From_ line and header were in their place after the reading. A program that rewrites an mbox file does
so forward, so what lies behind an unchanged header is unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from popframe_store_mbox.columns import Index
from popframe_store_mbox.file import FileState, read_at
from popframe_store_mbox.index_file import StoredIndex
from popframe_store_mbox.index_format import Row
from popframe_store_mbox.indexed import messages_of
from popframe_store_mbox.scan import MAX_HEADER_OCTETS
from popframe_store_mbox.uid import head_digest, without_volatile_fields

MAX_HEADER_END_OCTETS = 3
"""A line end and a blank line."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a session found.

    Attributes:
        index: The messages.
        state: The state of the file before they were looked for.
        is_settled: No change after that can have left the state as it is.
    """

    index: Index | StoredIndex
    state: FileState
    is_settled: bool

    @classmethod
    def take(cls, spool: int, index_path: str, *, keeps_stored_uids: bool = False) -> Self:
        """Find the messages of the locked spool.

        Raises:
            PermanentFailure: It is not an mbox file.
            OSError: It cannot be read.
        """
        state = FileState.of(spool)
        is_settled = state.is_settled
        index = messages_of(spool, state, index_path, is_settled=is_settled, keeps_stored_uids=keeps_stored_uids)
        return cls(index, state, is_settled)

    def is_unchanged(self, spool: int) -> bool:
        """Tell whether the file is, for certain, as it was."""
        return self.is_settled and FileState.of(spool) == self.state

    @property
    def is_scanned(self) -> bool:
        """This session itself has read every message; what an index says still has to be compared with the file."""
        return isinstance(self.index, Index)

    def has_in_place(self, spool: int, message: int) -> bool:
        """Tell whether the From_ line and header of a message are where they were, and the rest may be."""
        row = self.index.row(message)
        octets = read_at(spool, row.header_end - row.start + MAX_HEADER_END_OCTETS, row.start)
        return is_beginning(octets, row) and FileState.of(spool).size >= row.end


def is_beginning(octets: bytes, row: Row) -> bool:
    """Tell whether octets begin with the From_ line and header of a message.

    Args:
        octets: What is where the message was: to :data:`MAX_HEADER_END_OCTETS` behind its header at least, or to the
            end of the file.
        row: What is known of it.
    """
    length = row.header_end - row.start
    return head_digest(without_volatile_fields(octets[:length])) == row.digest and (
        octets.startswith((b"\n\n", b"\n\r\n"), length)  # a field that was added here would have moved the text
        or row.header_end >= row.end  # no text follows
        or length >= MAX_HEADER_OCTETS  # only its first part was looked at
    )
