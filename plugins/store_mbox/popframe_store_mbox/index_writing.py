"""Writing the index: anew, or what has changed.

Rules of this file: a new index gets its name only when it is whole; an old one gets a new header only when everything
that the header speaks of is written. Nothing here is synced to disk and no failure is told to anybody: the index is
a cache, its checksums tell what a crash left of it, and without one the spool is scanned.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, chain, islice, repeat
from typing import Self

from popframe_store_mbox.columns import Index
from popframe_store_mbox.file import FileState, is_at, write_at
from popframe_store_mbox.index_file import StoredIndex, cut_segments, is_private
from popframe_store_mbox.index_format import (
    FILTER_BITS_PER_MESSAGE,
    FILTER_BLOCK_OCTETS,
    HEADER_OCTETS,
    MAX_SEGMENTS,
    ROW_OCTETS,
    Header,
    RowValues,
    Segment,
    empty_filter_block,
    filter_octets_for,
    filter_places,
    packed_filter_block,
    packed_rows,
)
from popframe_store_mbox.uid import DIGEST_OCTETS, uid_of

NEW_SUFFIX = "-new"
"""Behind the name of an index that is not whole yet."""

BATCH_ROWS = 4096
"""Rows rendered at a time: some megabytes of memory, whatever the number of messages."""


_DIGEST = struct.Struct(f"{DIGEST_OCTETS}s")


def copies_among(index: StoredIndex, count: int) -> Callable[[bytes], int]:
    """Return what tells how many of the first messages of an index have a digest.

    Args:
        index: What is known.
        count: How many messages; all, or all but the last.
    """
    behind = {row.digest: row.copy - 1 for row in index.rows(count)}
    return lambda digest: behind[digest] if digest in behind else index.copies_of(digest)


class _Filter:
    """The filter of an index that is written: all of it, or the blocks that change."""

    def __init__(self, octets: int, stored_block: Callable[[int], bytearray]) -> None:
        """Begin with the digests of an index.

        Args:
            octets: The length of its filter.
            stored_block: Reads the bits of a block.
        """
        self._octets = octets
        self._stored_block = stored_block
        self._blocks: dict[int, bytearray] = {}

    @classmethod
    def empty(cls, octets: int) -> Self:
        """Begin with no digest."""
        made = cls(octets, lambda _: empty_filter_block())
        made._blocks = {number: empty_filter_block() for number in range(octets // FILTER_BLOCK_OCTETS)}
        return made

    def add(self, digests: Iterable[bytes]) -> None:
        """Let it know of some digests.

        Raises:
            TemporaryFailure: The index is damaged, and gone.
        """
        blocks = self._blocks
        for number, bit in filter_places(digests, self._octets):
            bits = blocks.get(number)
            if bits is None:
                bits = blocks[number] = self._stored_block(number)
            bits[bit >> 3] |= 1 << (bit & 7)

    def write(self, fd: int) -> None:
        """Write all blocks of a new one, or those that something was added to."""
        for number, bits in self._blocks.items():
            write_at(fd, packed_filter_block(bits), HEADER_OCTETS + number * FILTER_BLOCK_OCTETS)


def write_index(path: str, scanned: Index, state: FileState, *, is_settled: bool) -> None:
    """Write an index for a spool that was scanned whole.

    Raises:
        OSError: It cannot be written; an old one is as it was.
    """
    _write_anew(path, scanned_rows(scanned), filter_octets_for(len(scanned)), state, is_settled=is_settled)


def compact_index(path: str, index: StoredIndex) -> None:
    """Write an index anew in one segment.

    Raises:
        OSError: It cannot be written; the old one is as it was.
        TemporaryFailure: The old one is damaged, and gone.
    """
    header = index.header
    _write_anew(path, index.row_values(), filter_octets_for(len(index)), header.state, is_settled=header.is_settled)


def _write_anew(
    path: str, rows: Iterator[RowValues], filter_octets: int, state: FileState, *, is_settled: bool
) -> None:
    temporary = path + NEW_SUFFIX
    fd = _open_new(temporary)
    try:
        end = HEADER_OCTETS + filter_octets
        written = _Filter.empty(filter_octets)
        segment, total, copies = _write_segment(fd, rows, 0, end, written)
        written.write(fd)
        segments = (segment,) if segment.messages else ()
        end = segment.uid_offset + segment.uid_octets
        header = Header(state, is_settled, segment.messages, total, copies, filter_octets, end, segments)
        write_at(fd, header.packed(), 0)
        os.rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        os.close(fd)


def _open_new(path: str) -> int:
    """Open the file that will be the index, empty; one that a killed process has left is used again.

    Raises:
        OSError: It cannot be had: another session is writing it, or somebody else's file is there.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _refuse_other(path, fd)
        os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _refuse_other(path: str, fd: int) -> None:
    """Make sure that a file is ours, and still has its name: a session before may have renamed it meanwhile.

    Raises:
        FileExistsError: It is not.
    """
    if not (is_private(os.fstat(fd)) and is_at(path, fd)):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)


@dataclass(slots=True)
class Sums:
    """What the header of an index says of some rows.

    Attributes:
        octets: Sum of their sizes.
        copies: How many of them are further copies.
    """

    octets: int = 0
    copies: int = 0


def extend_index(
    path: str,
    index: StoredIndex,
    kept: int,
    rows: Iterator[RowValues],
    dropped: Sums,
    state: FileState,
    *,
    is_settled: bool,
) -> None:
    """Let new messages follow the first ones of an index, in place of those behind.

    Args:
        path: The index.
        index: The same, open.
        kept: How many of its messages stay.
        rows: The messages that follow them.
        dropped: The sums over those behind; asked for when all rows were taken.
        state: The spool that the index then describes.
        is_settled: No later change can leave the spool in that state.

    Raises:
        OSError: It cannot be written; the index is as it was, or will be seen to be damaged.
        TemporaryFailure: It is damaged, and gone.
    """
    segments = cut_segments(index, kept)
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        filter_octets = index.header.filter_octets
        extended = _Filter(filter_octets, index.filter_block)
        segment, total, copies = _write_segment(fd, rows, kept, index.header.end, extended)
        extended.write(fd)
        end = index.header.end
        if segment.messages:
            segments = (*segments, segment)
            end = segment.uid_offset + segment.uid_octets
        count = sum(one.messages for one in segments)
        total += index.header.total_octets - dropped.octets
        copies += index.header.copy_count - dropped.copies
        write_at(fd, Header(state, is_settled, count, total, copies, filter_octets, end, segments).packed(), 0)
    finally:
        os.close(fd)


def has_room(index: StoredIndex) -> bool:
    """Tell whether an index can be extended without becoming slow: segments, and messages for its filter."""
    header = index.header
    return (
        len(header.segments) < MAX_SEGMENTS and header.count * FILTER_BITS_PER_MESSAGE <= 4 * 8 * header.filter_octets
    )


def scanned_rows(scanned: Index) -> Iterator[RowValues]:
    """Return the messages of a scan as rows, without the places of their lines, which writing adds."""
    numbers = (scanned.start, scanned.content, scanned.header_end, scanned.end, scanned.next, scanned.octets)
    digests = chain.from_iterable(_DIGEST.iter_unpack(scanned.digests))
    copies = map(scanned.copies.get, range(len(scanned)), repeat(1))
    return zip(*numbers, repeat(0), repeat(0), digests, copies, scanned.has_dot_lines, strict=False)


def _write_segment(
    fd: int, rows: Iterator[RowValues], first: int, offset: int, known: _Filter
) -> tuple[Segment, int, int]:
    """Write a segment behind everything else; return it, the sum of the sizes, and the number of further copies.

    The rows are written as they come; the lines, whose place is known only afterwards, are kept until then.
    """
    list_lines: list[bytes] = []
    uid_lines: list[bytes] = []
    messages = list_end = uid_end = total = further = 0
    while batch := list(islice(rows, BATCH_ROWS)):
        _, _, _, _, _, octets, _, _, digests, copies, _ = zip(*batch, strict=True)
        numbers = range(first + messages + 1, first + messages + len(batch) + 1)
        listed = list(map(b"%d %d\r\n".__mod__, zip(numbers, octets, strict=True)))
        named = list(map(b"%d %b\r\n".__mod__, zip(numbers, map(uid_of, digests, copies), strict=True)))
        list_ends = list(accumulate(map(len, listed), initial=list_end))[1:]
        uid_ends = list(accumulate(map(len, named), initial=uid_end))[1:]
        write_at(fd, packed_rows(batch, list_ends, uid_ends), offset + messages * ROW_OCTETS)
        known.add(digests)
        total += sum(octets)
        further += sum(copy > 1 for copy in copies)
        list_lines.append(b"".join(listed))
        uid_lines.append(b"".join(named))
        messages += len(batch)
        list_end, uid_end = list_ends[-1], uid_ends[-1]
    at = offset + messages * ROW_OCTETS
    checksums = []
    for lines in (list_lines, uid_lines):
        checksum = 0
        for piece in lines:
            write_at(fd, piece, at)
            at += len(piece)
            checksum = zlib.crc32(piece, checksum)
        checksums.append(checksum)
    list_checksum, uid_checksum = checksums
    segment = Segment(offset, messages, list_end, uid_end, list_checksum, uid_checksum, messages, list_end)
    return segment, total, further
