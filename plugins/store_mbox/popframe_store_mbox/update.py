"""The UPDATE state: which octets of the spool go, and which come.

Rules of this file: a message is removed only where it was found again, by the digest of its From_ line and header,
never merely by its place in a file that may have changed; and every octet that was not proven to belong to a marked
message stays.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field

from popframe import TemporaryFailure
from popframe_store_mbox.columns import Index
from popframe_store_mbox.file import FileState, read_at
from popframe_store_mbox.from_line import FROM_LINE, MAX_FROM_LINE_OCTETS
from popframe_store_mbox.index_file import StoredIndex
from popframe_store_mbox.journal import write_journal
from popframe_store_mbox.place import Place
from popframe_store_mbox.scan import MAX_HEADER_OCTETS, scan
from popframe_store_mbox.snapshot import Snapshot
from popframe_store_mbox.splice import Edit, edited, merged
from popframe_store_mbox.status_header import Stamp, stamp

MAX_LINE_END_OCTETS = 2
"""What other programs add to a last message without a line end before they append their own."""

SAMPLES = 16
"""How many of the marked messages are compared with the file when it has not changed since it was scanned."""


@dataclass(frozen=True, slots=True)
class Update:
    """What is to be done to a spool.

    Attributes:
        edits: The changes, in order and apart from each other.
        is_in_place: All messages are where the session has found them.
        stamps: What is written into messages that stay, by their index; only known when all are in their place.
    """

    edits: list[Edit]
    is_in_place: bool
    stamps: dict[int, Stamp] = field(default_factory=dict)

    def apply(self, spool: int, place: Place, snapshot: Snapshot) -> None:
        """Carry it out on the locked spool; returns when that is on disk.

        Raises:
            TemporaryFailure: It cannot be done now. Nothing was changed, or the next to open the spool goes on.
            OSError: The disk is full, or broken; the same.
        """
        if not self.edits:
            return
        state = FileState.of(spool)
        first = self.edits[0].start
        parts = edited(spool, first, state.size, self.edits)
        if parts:
            journal = write_journal(place, spool, first, parts, state.size)
            journal.begin(spool)
            journal.finish(spool)
        else:
            os.ftruncate(spool, first)
            os.fsync(spool)
        if state.is_same_file(snapshot.state) and state.size == snapshot.state.size:
            with suppress(OSError):  # who checks for new mail compares these times: what is left is not new
                os.utime(spool)


def find_update(
    spool: int, snapshot: Snapshot, deleted: AbstractSet[int], seen: AbstractSet[int] | None = None
) -> Update:
    """Return what removes messages from a spool, and stamps those that stay.

    Args:
        spool: The spool as it is now, locked: it may have grown, changed or been replaced since.
        snapshot: The session's messages.
        deleted: Which of them are to go.
        seen: Which of them were read; None when no message is to be stamped with that.

    Raises:
        TemporaryFailure: Not all could be identified.
        OSError: The spool cannot be read.
    """
    marked = sorted(deleted)
    index = snapshot.index
    if _are_in_place(spool, snapshot, marked):
        edits = [Edit(*extent) for extent in _extents(index, marked)]
        if seen is None:
            return Update(merged(edits), is_in_place=True)
        kept = [message for message in range(len(index)) if message not in deleted]
        if snapshot.is_unchanged(spool) or all(snapshot.has_in_place(spool, message) for message in kept):
            stamps = {message: _stamp(spool, index, message, is_read=message in seen) for message in kept}
            stamps = {message: one for message, one in stamps.items() if one.edits}
            edits += [edit for one in stamps.values() for edit in one.edits]
            return Update(merged(sorted(edits)), is_in_place=True, stamps=stamps)
    present = scan(spool, os.fstat(spool).st_size)
    edits = list(_edits_by_digest(present, index, marked))
    if seen is not None:
        edits += _stamps_by_digest(spool, present, index, deleted, seen)
    return Update(merged(sorted(edits)), is_in_place=False)


def _extents(index: Index | StoredIndex, marked: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first octet of each marked message, and the one after its last."""
    if marked and len(marked) == len(index):
        return iter(((index.start[0], index.next[marked[-1]]),))  # messages follow each other without a gap
    if isinstance(index, StoredIndex):
        return index.extents(marked)
    return ((index.start[message], index.next[message]) for message in marked)


def _are_in_place(spool: int, snapshot: Snapshot, marked: Sequence[int]) -> bool:
    """Tell whether each message begins and ends where it did, as it does when the file has only grown.

    In a file that is shorter something was removed; of several copies nobody can tell which. In one that has not
    changed at all since it was scanned, some are compared all the same: there is nothing that can be wrong but the
    index itself, and who wrote that by mistake was wrong about more than one message.
    """
    if snapshot.is_unchanged(spool):
        if snapshot.is_scanned:
            return True
        marked = [*marked[:: max(1, len(marked) // SAMPLES)], *marked[-1:]]
    state = FileState.of(spool)
    has_not_shrunk = state.is_same_file(snapshot.state) and state.size >= snapshot.state.size
    return has_not_shrunk and all(
        snapshot.has_in_place(spool, message) and _is_boundary(spool, snapshot.index.next[message], state.size)
        for message in marked
    )


def _is_boundary(spool: int, offset: int, size: int) -> bool:
    """Tell whether a message begins there, or the file ends."""
    return offset == size or FROM_LINE.match(read_at(spool, MAX_FROM_LINE_OCTETS, offset)) is not None


def _edits_by_digest(present: Index, index: Index | StoredIndex, marked: Sequence[int]) -> Iterator[Edit]:
    """Yield the removal of each message that is still in a changed file.

    Raises:
        TemporaryFailure: Of several copies some are gone, or the text behind a header is not the same.
    """
    identities = list(index.identities())
    had = Counter(digest for digest, _ in identities)
    has = Counter(digest for digest, _ in present.identities())
    places = {identity: place for place, identity in enumerate(present.identities())}
    for message in marked:
        digest, copy = identities[message]
        if has[digest] == 0:
            continue  # somebody else removed it
        if has[digest] < had[digest]:
            raise TemporaryFailure(
                f"of {had[digest]} copies of message {digest.hex()} another program left {has[digest]}"
            )
        place = places[digest, copy]
        added = _body_length(present, place) - _body_length(index, message)
        if not 0 <= added <= (MAX_LINE_END_OCTETS if index.next[message] == index.size else 0):
            raise TemporaryFailure(f"another program changed the text of message {digest.hex()}")
        yield Edit(present.start[place], present.next[place])


def _body_length(index: Index | StoredIndex, message: int) -> int:
    """Return how many octets follow the header, to which other programs add fields."""
    return index.end[message] - index.header_end[message]


def _stamps_by_digest(
    spool: int, present: Index, index: Index | StoredIndex, deleted: AbstractSet[int], seen: AbstractSet[int]
) -> Iterator[Edit]:
    """Yield what is written into those messages of the session that are still in a changed file."""
    kept = ((message, one) for message, one in enumerate(index.identities()) if message not in deleted)
    reads = {identity: message in seen for message, identity in kept}
    for place, identity in enumerate(present.identities()):
        if identity in reads:
            yield from _stamp(spool, present, place, is_read=reads[identity]).edits


def _stamp(spool: int, index: Index | StoredIndex, message: int, *, is_read: bool) -> Stamp:
    start, header_end = index.start[message], index.header_end[message]
    head = read_at(spool, header_end - start, start)
    has_end = header_end + 1 < index.end[message] and len(head) < MAX_HEADER_OCTETS
    return stamp(head, start, has_end=has_end, is_read=is_read)
