"""What an update of the spool does to its index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from popframe_store_mbox.file import FileState
from popframe_store_mbox.index_file import StoredIndex
from popframe_store_mbox.index_format import RowValues
from popframe_store_mbox.index_writing import Sums, extend_index
from popframe_store_mbox.indexed import USELESS
from popframe_store_mbox.status_header import Stamp
from popframe_store_mbox.update import Update


def follow_update(
    index_path: str, index: StoredIndex, deleted: AbstractSet[int], update: Update, spool: int, *, is_latest: bool
) -> None:
    """Let the index say what an update has left.

    Args:
        index_path: The index.
        index: The same, open, as it was before.
        deleted: The messages that were removed.
        update: What was done.
        spool: The locked spool after it.
        is_latest: The index was of the spool as it was when the update began, but for mail that came behind.
    """
    changed = deleted | update.stamps.keys()
    if not changed:
        return
    # After the removal of one of several copies, the unique-ids of others are to be made anew.
    has_copies = bool(index.header.copy_count) and bool(deleted)
    if not (update.is_in_place and is_latest) or has_copies or len(deleted) == len(index):
        index.discard()
        return
    try:
        first = min(changed)
        added = sum(len(edit.octets) - (edit.end - edit.start) for edit in update.edits)
        state = FileState.of(spool)._replace(size=index.size + added)
        passed = Sums()
        rows = _surviving_rows(index, first, deleted, update.stamps, passed)
        extend_index(index_path, index, first, rows, passed, state, is_settled=False)
    except USELESS:
        index.discard()


def _surviving_rows(
    index: StoredIndex, first: int, deleted: AbstractSet[int], stamps: Mapping[int, Stamp], passed: Sums
) -> Iterator[RowValues]:
    """Yield the rows from one message on as they are after an update: without those that went, each where it is now.

    Args:
        index: The messages before the update.
        first: The first message that was removed or stamped.
        deleted: All that were removed.
        stamps: What was written into others.
        passed: The sums over all rows that were looked at, once these were taken.
    """
    moved = passed_octets = passed_copies = 0
    for at, row in enumerate(index.row_values(first), first):
        start, content, header_end, end, following, octets, _, _, digest, copy, has_dot_lines = row
        passed_octets += octets
        passed_copies += copy > 1
        if at in deleted:
            moved -= following - start
            continue
        before = moved
        if at in stamps:
            moved += stamps[at].size_added
            octets += stamps[at].octets_added
        yield (
            start + before,
            content + before,
            header_end + moved,
            end + moved,
            following + moved,
            octets,
            0,
            0,
            digest,
            copy,
            has_dot_lines,
        )
    passed.octets, passed.copies = passed_octets, passed_copies
