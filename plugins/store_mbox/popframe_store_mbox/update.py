"""The UPDATE state: which octets of the spool go.

Rules of this file: a message is removed only where it was found again, by the digest of its From_ line and header,
never merely by its place in a file that may have changed; and every octet that was not proven to belong to a marked
message stays.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress

from popframe import TemporaryFailure
from popframe_store_mbox.file import FileState, read_at
from popframe_store_mbox.from_line import FROM_LINE, MAX_FROM_LINE_OCTETS
from popframe_store_mbox.index_file import StoredIndex
from popframe_store_mbox.journal import write_journal
from popframe_store_mbox.scan import Index, scan
from popframe_store_mbox.snapshot import Snapshot
from popframe_store_mbox.uid import digest_of

Range = tuple[int, int]
"""First octet, and the one after the last."""

MAX_LINE_END_OCTETS = 2
"""What other programs add to a last message without a line end before they append their own."""


def remove_messages(spool: int, journal_path: str, snapshot: Snapshot, deleted: Iterable[int]) -> bool:
    """Remove messages from the locked spool; returns when that is on disk.

    Args:
        spool: The spool as it is now: it may have grown, changed or been replaced since.
        journal_path: Where a journal goes if one is needed.
        snapshot: The session's messages.
        deleted: Which of them are to go.

    Returns:
        Whether all of them were where the session had found them.

    Raises:
        TemporaryFailure: Not all could be identified. Nothing was changed.
        OSError: The disk is full, or broken. Nothing was changed, or the next to open the spool goes on.
    """
    marked = sorted(deleted)
    is_in_place = (snapshot.is_scanned and snapshot.is_unchanged(spool)) or _are_in_place(spool, snapshot, marked)
    gaps = _merged(sorted(_ranges(spool, snapshot, marked, is_in_place=is_in_place)))
    if not gaps:
        return is_in_place
    state = FileState.of(spool)
    kept = _between(gaps, state.size)
    if kept:
        journal = write_journal(journal_path, spool, gaps[0][0], kept, state.size)
        journal.begin(spool)
        journal.finish(spool)
    else:
        os.ftruncate(spool, gaps[0][0])
        os.fsync(spool)
    if state.is_same_file(snapshot.state) and state.size == snapshot.state.size:
        with suppress(OSError):  # who checks for new mail compares these times: what is left is not new
            os.utime(spool)
    return is_in_place


def _ranges(spool: int, snapshot: Snapshot, deleted: list[int], *, is_in_place: bool) -> Iterator[Range]:
    """Return the octets of each message in the present file, those of a message that is gone left out.

    Raises:
        TemporaryFailure: A message cannot be told from another.
    """
    index = snapshot.index
    if is_in_place:
        return ((index.start[message], index.next[message]) for message in deleted)
    return _ranges_by_uid(scan(spool, os.fstat(spool).st_size), index, deleted)


def _are_in_place(spool: int, snapshot: Snapshot, deleted: list[int]) -> bool:
    """Tell whether each message begins and ends where it did, as it does when the file has only grown.

    In a file that is shorter something was removed; of several copies nobody can tell which.
    """
    state = FileState.of(spool)
    has_not_shrunk = state.is_same_file(snapshot.state) and state.size >= snapshot.state.size
    return has_not_shrunk and all(
        snapshot.has_in_place(spool, message) and _is_boundary(spool, snapshot.index.next[message], state.size)
        for message in deleted
    )


def _is_boundary(spool: int, offset: int, size: int) -> bool:
    """Tell whether a message begins there, or the file ends."""
    return offset == size or FROM_LINE.match(read_at(spool, MAX_FROM_LINE_OCTETS, offset)) is not None


def _ranges_by_uid(present: Index, index: Index | StoredIndex, deleted: list[int]) -> Iterator[Range]:
    """Yield the octets of each message that is still in a changed file.

    Raises:
        TemporaryFailure: Of several copies some are gone, or the text behind a header is not the same.
    """
    had = Counter(map(digest_of, index.uids))
    has = Counter(map(digest_of, present.uids))
    places = {uid: place for place, uid in enumerate(present.uids)}
    for message in deleted:
        uid = index.uids[message]
        digest = digest_of(uid)
        if has[digest] == 0:
            continue  # somebody else removed it
        if has[digest] < had[digest]:
            raise TemporaryFailure(f"of {had[digest]} copies of message {digest} another program left {has[digest]}")
        place = places[uid]
        added = _body_length(present, place) - _body_length(index, message)
        if not 0 <= added <= (MAX_LINE_END_OCTETS if index.next[message] == index.size else 0):
            raise TemporaryFailure(f"another program changed the text of message {uid}")
        yield present.start[place], present.next[place]


def _body_length(index: Index | StoredIndex, message: int) -> int:
    """Return how many octets follow the header, to which other programs add fields."""
    return index.end[message] - index.header_end[message]


def _merged(ranges: Iterable[Range]) -> list[Range]:
    """Join ranges that touch."""
    merged: list[Range] = []
    for start, end in ranges:
        if merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def _between(gaps: list[Range], size: int) -> list[Range]:
    """Return what stays behind the first gap."""
    starts = [end for _, end in gaps]
    ends = [start for start, _ in gaps[1:]] + [size]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]
