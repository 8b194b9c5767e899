"""The messages of a spool with the least reading: from the index where it holds, from the spool where not.

Rule of this file: whatever is wrong with an index costs a scan and is never a reason to refuse a login. What an index
says is compared with the From_ lines and headers of messages before these are sent or removed; see ``snapshot``, and
``update`` for how many.
"""

from __future__ import annotations

import struct
from itertools import chain

from popframe import Refusal
from popframe_store_mbox.columns import Index
from popframe_store_mbox.file import FileState, read_at
from popframe_store_mbox.index_file import StoredIndex
from popframe_store_mbox.index_writing import (
    Sums,
    compact_index,
    copies_among,
    extend_index,
    has_room,
    scanned_rows,
    write_index,
)
from popframe_store_mbox.scan import scan
from popframe_store_mbox.uid import head_digest, without_volatile_fields

SMALL_SPOOL_OCTETS = 64 * 1024
"""Up to this length a spool is scanned each time: that costs less than an index."""


USELESS = (Refusal, OSError, struct.error)
"""What an index raises that is damaged, cannot be read or written, or has numbers that lead to impossible ones."""


def messages_of(
    spool: int, state: FileState, index_path: str, *, is_settled: bool, keeps_stored_uids: bool = False
) -> Index | StoredIndex:
    """Return what is in the locked spool.

    Args:
        spool: The open file.
        state: Its state.
        index_path: Where its index is, or will be.
        is_settled: No later change can leave the file in this state.
        keeps_stored_uids: The field X-UIDL counts; there is no index then.

    Raises:
        PermanentFailure: It is not an mbox file.
        OSError: It cannot be read.
    """
    if state.size <= SMALL_SPOOL_OCTETS or keeps_stored_uids:
        return scan(spool, state.size, keeps_stored_uids=keeps_stored_uids)
    stored = StoredIndex.load(index_path)
    if stored is not None:
        try:
            present = _brought_up_to_date(stored, spool, state, index_path, is_settled=is_settled)
        except USELESS:
            present = None
        if present is not stored:
            stored.close()
        if present is not None:
            return present
    scanned = scan(spool, state.size)
    try:
        write_index(index_path, scanned, state, is_settled=is_settled)
    except OSError:
        return scanned
    return StoredIndex.load(index_path) or scanned


def _brought_up_to_date(
    stored: StoredIndex, spool: int, state: FileState, index_path: str, *, is_settled: bool
) -> StoredIndex | None:
    """Return an index of the spool as it is, or None when only a scan can give one.

    What has grown is read on from its last message, which may have got a line end, or be longer than it seemed.
    """
    before = stored.header.state
    if state == before and stored.header.is_settled:
        return stored
    if not state.is_same_file(before) or not len(stored) or state.size < before.size:
        return None
    if state.size == before.size and state != before:
        return None
    last = len(stored) - 1
    row = stored.row(last)
    head = read_at(spool, row.header_end - row.start, row.start)
    if head_digest(without_volatile_fields(head)) != row.digest:
        return None
    tail = scan(spool, state.size, start=row.start, copies_before=copies_among(stored, last))
    if not tail.start or tail.start[0] != row.start:
        return None
    rows = scanned_rows(tail)
    again = next(rows)
    if again == row._replace(list_end=0, uid_end=0):
        extend_index(index_path, stored, last + 1, rows, Sums(), state, is_settled=is_settled)
    else:
        dropped = Sums(row.octets, int(row.copy > 1))
        extend_index(index_path, stored, last, chain((again,), rows), dropped, state, is_settled=is_settled)
    extended = StoredIndex.load(index_path)
    if extended is not None and not has_room(extended):
        compact_index(index_path, extended)
        extended.close()
        extended = StoredIndex.load(index_path)
    return extended
