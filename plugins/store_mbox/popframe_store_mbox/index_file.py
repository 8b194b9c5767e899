"""The index beside a spool: what the last scan found, so that the next session need not scan again.

A cache, and never more: losing it costs a scan. It is read by :func:`os.pread` where it is needed and never mapped, so
that opening costs the same for ten messages and for a million, and a file that somebody cuts short is a short read.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Self

from popframe import TemporaryFailure
from popframe_store_mbox.file import read_at
from popframe_store_mbox.index_format import (
    FILTER_BLOCK_OCTETS,
    HEADER_OCTETS,
    ROW_OCTETS,
    Header,
    Row,
    RowValues,
    Segment,
    filter_places,
    unpacked_extent,
    unpacked_filter_block,
    unpacked_rows,
)
from popframe_store_mbox.lazy import LazySequence

PIECE_OCTETS = 64 * 1024
"""Read at a time for a listing."""

BLOCK_ROWS = PIECE_OCTETS // ROW_OCTETS
"""Rows read at a time when all are wanted."""

NEAR_ROWS = 32
"""Rows read at a time when one is wanted: who retrieves or deletes a message goes on with the next one."""


class StoredIndex:
    """An index on disk, open for reading; what was opened stays as it is while others replace the file.

    It has the columns of :class:`popframe_store_mbox.scan.Index`, read as they are asked for.

    Attributes:
        size: Octets of the spool that it covers.
        header: Its first block.
    """

    def __init__(self, path: str, fd: int, header: Header) -> None:
        self.header = header
        self.size = header.state.size
        self._path = path
        self._fd = fd
        self._latest: tuple[int, Row] | None = None
        self._near: tuple[int, list[RowValues]] = (-1, [])
        self.start, self.content, self.header_end, self.end, self.next, self.octets = map(self._column, range(6))
        self.uids: Sequence[str] = LazySequence(
            self, lambda message: self.row(message).uid, lambda: (row.uid for row in self.rows())
        )

    def _column(self, number: int) -> Sequence[int]:
        return LazySequence(self, lambda message: int(self.row(message)[number]))

    @classmethod
    def load(cls, path: str) -> Self | None:
        """Open an index; None when there is none that can be trusted."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            status = os.fstat(fd)
            if is_private(status):
                header = Header.parsed(os.pread(fd, HEADER_OCTETS, 0))
                if header is not None and header.end <= status.st_size:
                    index, fd = cls(path, fd, header), -1
                    return index
        except OSError:
            return None
        finally:
            if fd >= 0:
                os.close(fd)
        return None

    def close(self) -> None:
        """Let go of the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def discard(self) -> None:
        """Remove the file: the next session scans the spool anew."""
        with suppress(OSError):
            os.unlink(self._path)

    def __len__(self) -> int:
        """Return the number of messages."""
        return self.header.count

    def row(self, message: int) -> Row:
        """Return what is known of a message.

        Raises:
            TemporaryFailure: The file is damaged, and gone now.
        """
        if self._latest is not None and self._latest[0] == message:
            return self._latest[1]  # who asks for one column of a message asks for others next
        if not 0 <= message < len(self):
            raise IndexError(message)
        block, at = divmod(message, NEAR_ROWS)
        if self._near[0] != block:
            self._near = (block, self._unpacked(self._rows_octets(block * NEAR_ROWS, (block + 1) * NEAR_ROWS)))
        row = Row._make(self._near[1][at])
        self._latest = (message, row)
        return row

    def rows(self, start: int = 0) -> Iterator[Row]:
        """Yield the rows of all messages from one on."""
        return map(Row._make, self.row_values(start))

    def row_values(self, start: int = 0) -> Iterator[RowValues]:
        """Yield the same without names.

        Raises:
            TemporaryFailure: The file is damaged, and gone now.
        """
        skip = start
        for segment in self.header.segments:
            for at in range(skip, segment.messages, BLOCK_ROWS):
                count = min(BLOCK_ROWS, segment.messages - at)
                octets = self.read(count * ROW_OCTETS, segment.offset + at * ROW_OCTETS)
                yield from self._unpacked(octets)
            skip = max(skip - segment.messages, 0)

    def extents(self, messages: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield where each of some messages, in rising order, begins, and where the next one does."""
        block, octets = -1, b""
        end = 0
        for message in messages:
            if message // BLOCK_ROWS != block:
                block = message // BLOCK_ROWS
                octets = self._rows_octets(block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS)
            at = message % BLOCK_ROWS * ROW_OCTETS
            extent = unpacked_extent(octets[at : at + ROW_OCTETS])
            if extent is None or not end <= extent[0] < extent[1] <= self.size:
                raise self._damaged()
            end = extent[1]
            yield extent

    def _rows_octets(self, first: int, last: int) -> bytes:
        """Return the rows of some messages as they are stored, as many as there are."""
        pieces = []
        for segment in self.header.segments:
            start, end = max(first, 0), min(last, segment.messages)
            if start < end:
                pieces.append(self.read((end - start) * ROW_OCTETS, segment.offset + start * ROW_OCTETS))
            first -= segment.messages
            last -= segment.messages
        return b"".join(pieces)

    def list_lines(self) -> Iterator[bytes]:
        """Yield the lines of LIST."""
        for segment in self.header.segments:
            yield from self._lines(segment.list_offset, segment.list_octets, segment.list_checksum)

    def uid_lines(self) -> Iterator[bytes]:
        """Yield the lines of UIDL."""
        for segment in self.header.segments:
            yield from self._lines(segment.uid_offset, segment.uid_octets, segment.uid_checksum)

    def total_octets(self) -> int:
        """Return the sum of the sizes."""
        return self.header.total_octets

    def digest(self, message: int) -> bytes:
        """Return what identifies a message and its copies."""
        return self.row(message).digest

    def identities(self) -> Iterator[tuple[bytes, int]]:
        """Yield the digest of each message, and its place among its copies."""
        return ((row.digest, row.copy) for row in self.rows())

    def may_have_dot_lines(self, message: int) -> bool:
        """Tell whether a line of the message may begin with a dot."""
        return bool(self.row(message).has_dot_lines)

    def copies_of(self, digest: bytes) -> int:
        """Return how many messages have a digest.

        Raises:
            TemporaryFailure: The file is damaged, and gone now.
        """
        ((block, bit),) = filter_places([digest], self.header.filter_octets)
        if not self.filter_block(block)[bit >> 3] & (1 << (bit & 7)):
            return 0
        return sum(row.digest == digest for row in self.rows())

    def filter_block(self, number: int) -> bytearray:
        """Return the bits of one block of the filter.

        Raises:
            TemporaryFailure: The file is damaged, and gone now.
        """
        bits = unpacked_filter_block(self.read(FILTER_BLOCK_OCTETS, HEADER_OCTETS + number * FILTER_BLOCK_OCTETS))
        if bits is None:
            raise self._damaged()
        return bits

    def read(self, length: int, offset: int) -> bytes:
        """Return octets of the file.

        Raises:
            TemporaryFailure: They are not there.
        """
        octets = read_at(self._fd, length, offset)
        if len(octets) != length:
            raise self._damaged()
        return octets

    def _lines(self, offset: int, length: int, checksum: int) -> Iterator[bytes]:
        """Yield lines after having made sure of all of them: half a listing cannot be taken back."""
        self.cut_checksum(offset, length, checksum, length)
        return self._pieces(offset, length)

    def cut_checksum(self, offset: int, length: int, checksum: int, kept: int) -> int:
        """Return the checksum of the first octets of some lines, after having made sure of all of them.

        Args:
            offset: Where the lines begin.
            length: How long they are.
            checksum: What their checksum should be.
            kept: How many octets are to stay.

        Raises:
            TemporaryFailure: The file is damaged, and gone now.
        """
        kept_checksum = 0
        for piece in self._pieces(offset, kept):
            kept_checksum = zlib.crc32(piece, kept_checksum)
        found = kept_checksum
        for piece in self._pieces(offset + kept, length - kept):
            found = zlib.crc32(piece, found)
        if found != checksum:
            raise self._damaged()
        return kept_checksum

    def _pieces(self, offset: int, length: int) -> Iterator[bytes]:
        for at in range(0, length, PIECE_OCTETS):
            yield self.read(min(PIECE_OCTETS, length - at), offset + at)

    def _unpacked(self, octets: bytes) -> list[RowValues]:
        rows = unpacked_rows(octets, self.size)
        if rows is None:
            raise self._damaged()
        return rows

    def _damaged(self) -> TemporaryFailure:
        self.discard()
        return TemporaryFailure(f"{self._path} was damaged and is removed; the next login makes it anew")


def is_private(status: os.stat_result) -> bool:
    """Tell whether a file is one that only this user can have written."""
    is_ours = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == os.geteuid()
    return is_ours and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def cut_segments(index: StoredIndex, count: int) -> tuple[Segment, ...]:
    """Return the segments of the first messages alone."""
    kept: list[Segment] = []
    left = count
    for segment in index.header.segments:
        if not left:
            break
        if left < segment.messages:
            at = sum(one.messages for one in kept)
            row = index.row(at + left - 1)
            kept.append(_cut(index, segment, left, row))
            break
        kept.append(segment)
        left -= segment.messages
    return tuple(kept)


def _cut(index: StoredIndex, segment: Segment, count: int, last: Row) -> Segment:
    """Return a segment cut behind a message, with the checksums of the lines that stay."""
    return segment._replace(
        messages=count,
        list_octets=last.list_end,
        uid_octets=last.uid_end,
        list_checksum=index.cut_checksum(
            segment.list_offset, segment.list_octets, segment.list_checksum, last.list_end
        ),
        uid_checksum=index.cut_checksum(segment.uid_offset, segment.uid_octets, segment.uid_checksum, last.uid_end),
    )
