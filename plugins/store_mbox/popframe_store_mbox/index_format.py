"""The format of the index: how header, segments and rows are laid out in octets.

Little-endian: a header of :data:`HEADER_OCTETS`; a filter, one bit for each of many hash values, that says which
digests are certainly new; then segments. A segment has one row for each message, the lines of LIST, and the lines of
UIDL, ready to send. New mail is one more segment; the header is written last, so what it does not speak of does not
exist. Header, rows and the blocks of the filter carry checksums of their own, the lines one for each segment.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, Self

from popframe_store_mbox.file import FileState
from popframe_store_mbox.uid import uid_of

HEADER_OCTETS = 4096
"""One block of a file system."""

MAX_SEGMENTS = 32
"""More are written as one: each costs a look at every listing."""

FILTER_BITS_PER_MESSAGE = 32
"""One new message in some thirty is then looked for among all rows without need."""

FILTER_BLOCK_OCTETS = 512
"""The filter is read and written in blocks, the least that a disk writes; each ends in its checksum."""

_MAGIC = b"popframe index 2"
_HEADER = struct.Struct("<16s5Q5QI?")  # magic, the spool's state, five numbers, segments, whether it is settled
_STORED_SEGMENT = struct.Struct("<QQQQIIQQ")
_ROW = struct.Struct("<6QII16sIB")
_EXTENT = struct.Struct("<Q24xQ")  # first and fifth field of a row
_CHECKSUM = struct.Struct("<I")
_FILTER_NUMBER = struct.Struct("<Q8x")  # of a digest
_STORED_ROW = struct.Struct(f"{_ROW.format}{_CHECKSUM.size}x")
ROW_OCTETS = _STORED_ROW.size
_WHOLE_ROW = struct.Struct(f"{ROW_OCTETS}s")
_SOUND = 0x2144DF1C
"""CRC-32 of any octets that their own CRC-32 follows."""

_FILTER_BITS_OCTETS = FILTER_BLOCK_OCTETS - _CHECKSUM.size


class Row(NamedTuple):
    """What is known of one message; see :class:`popframe_store_mbox.scan.Index` for the offsets.

    Attributes:
        start: Where its From_ line begins.
        content: Where its header begins.
        header_end: Where its header ends.
        end: Where its text ends.
        next: Where the next message begins.
        octets: Its size as it is sent.
        list_end: Where its line of LIST ends, counted from the first of its segment.
        uid_end: The same for its line of UIDL.
        digest: What its unique-id is made from.
        copy: Its place among messages with that digest, from 1.
        has_dot_lines: A line of it begins with a dot.
    """

    start: int
    content: int
    header_end: int
    end: int
    next: int
    octets: int
    list_end: int
    uid_end: int
    digest: bytes
    copy: int
    has_dot_lines: bool

    @property
    def uid(self) -> str:
        """The unique-id."""
        return uid_of(self.digest, self.copy).decode("ascii")


RowValues = tuple[int, int, int, int, int, int, int, int, bytes, int, int]
"""The fields of a :class:`Row` where thousands are handled at a time, which names would make twice as dear."""


class Segment(NamedTuple):
    """One run of messages.

    Attributes:
        offset: Where its rows begin; the lines of LIST and of UIDL follow them.
        messages: How many.
        list_octets: Length of its lines of LIST.
        uid_octets: Length of its lines of UIDL.
        list_checksum: CRC-32 of the former.
        uid_checksum: CRC-32 of the latter.
        stored_messages: Rows that were written; more than ``messages`` when the last messages are gone.
        stored_list_octets: Length of the lines of LIST that were written.
    """

    offset: int
    messages: int
    list_octets: int
    uid_octets: int
    list_checksum: int
    uid_checksum: int
    stored_messages: int
    stored_list_octets: int

    @property
    def list_offset(self) -> int:
        """Where its lines of LIST begin."""
        return self.offset + self.stored_messages * ROW_OCTETS

    @property
    def uid_offset(self) -> int:
        """Where its lines of UIDL begin."""
        return self.list_offset + self.stored_list_octets


@dataclass(frozen=True, slots=True)
class Header:
    """The first block.

    Attributes:
        state: The spool when it was scanned.
        is_settled: No later change can have left it in that state.
        count: Messages.
        total_octets: Sum of their sizes.
        copy_count: Messages that have the digest of an earlier one.
        filter_octets: Length of the filter.
        end: Where the last segment ends.
        segments: All of them, in order.
    """

    state: FileState
    is_settled: bool
    count: int
    total_octets: int
    copy_count: int
    filter_octets: int
    end: int
    segments: tuple[Segment, ...]

    def packed(self) -> bytes:
        """Return the block as it is stored."""
        numbers = (self.count, self.total_octets, self.copy_count, self.filter_octets, self.end, len(self.segments))
        octets = _HEADER.pack(_MAGIC, *self.state, *numbers, self.is_settled)
        octets += b"".join(_STORED_SEGMENT.pack(*segment) for segment in self.segments)
        octets = octets.ljust(HEADER_OCTETS - _CHECKSUM.size, b"\0")
        return octets + _CHECKSUM.pack(zlib.crc32(octets))

    @classmethod
    def parsed(cls, octets: bytes) -> Self | None:
        """Read a block; None when it is not one of ours, whole and possible."""
        if len(octets) != HEADER_OCTETS or zlib.crc32(octets[:-4]) != _CHECKSUM.unpack(octets[-4:])[0]:
            return None
        magic, *state, count, total, copies, filter_octets, end, segment_count, settled = _HEADER.unpack_from(octets)
        if magic != _MAGIC or segment_count > MAX_SEGMENTS:
            return None
        segments = tuple(
            Segment(*_STORED_SEGMENT.unpack_from(octets, _HEADER.size + number * _STORED_SEGMENT.size))
            for number in range(segment_count)
        )
        header = cls(FileState._make(state), settled, count, total, copies, filter_octets, end, segments)
        return header if header._is_possible() else None

    def _is_possible(self) -> bool:
        """Tell whether the numbers fit together."""
        at = HEADER_OCTETS + self.filter_octets
        for segment in self.segments:
            is_inside = at <= segment.offset and segment.uid_offset + segment.uid_octets <= self.end
            if not is_inside or not 0 < segment.messages <= segment.stored_messages:
                return False
            at = segment.uid_offset + segment.uid_octets
        return sum(segment.messages for segment in self.segments) == self.count and (
            self.filter_octets > 0 and self.filter_octets % FILTER_BLOCK_OCTETS == 0
        )


def unpacked_rows(octets: bytes, size: int) -> list[RowValues] | None:
    """Read stored rows; None when one is damaged, or of a message that cannot be in a spool of that size."""
    if set(map(zlib.crc32, chain.from_iterable(_WHOLE_ROW.iter_unpack(octets)))) != {_SOUND}:
        return None
    rows: list[RowValues] = list(_STORED_ROW.iter_unpack(octets))
    for start, content, header_end, end, following, _, _, _, _, _, _ in rows:
        if not (start < content <= end <= following <= size and start < header_end <= following):
            return None
    return rows


def unpacked_extent(octets: bytes) -> tuple[int, int] | None:
    """Read where a stored row's message begins and where the next one does; None when it is damaged."""
    if zlib.crc32(octets) != _SOUND:
        return None
    start, following = _EXTENT.unpack_from(octets)
    return start, following


def packed_rows(rows: Sequence[RowValues], list_ends: Sequence[int], uid_ends: Sequence[int]) -> bytes:
    """Return rows as they are stored, with the places of their lines."""
    *numbers, _, _, digests, copies, has_dot_lines = zip(*rows, strict=True)
    packed = list(map(_ROW.pack, *numbers, list_ends, uid_ends, digests, copies, has_dot_lines))
    checksums = map(_CHECKSUM.pack, map(zlib.crc32, packed))
    return b"".join(chain.from_iterable(zip(packed, checksums, strict=True)))


def filter_octets_for(messages: int) -> int:
    """Return how long the filter is for a number of messages."""
    blocks = -(-messages * FILTER_BITS_PER_MESSAGE // (8 * _FILTER_BITS_OCTETS))
    return max(blocks, 1) * FILTER_BLOCK_OCTETS


def filter_places(digests: Iterable[bytes], filter_octets: int) -> Iterator[tuple[int, int]]:
    """Yield which block of the filter, and which bit of it, stands for each digest; it is as good as random."""
    block_bits = _FILTER_BITS_OCTETS * 8
    bits = filter_octets // FILTER_BLOCK_OCTETS * block_bits
    for (number,) in _FILTER_NUMBER.iter_unpack(b"".join(digests)):
        yield divmod(number % bits, block_bits)


def empty_filter_block() -> bytearray:
    """Return the bits of a block that stands for no digest."""
    return bytearray(_FILTER_BITS_OCTETS)


def packed_filter_block(bits: bytearray) -> bytes:
    """Return a block as it is stored."""
    return bytes(bits) + _CHECKSUM.pack(zlib.crc32(bits))


def unpacked_filter_block(octets: bytes) -> bytearray | None:
    """Read the bits of a stored block; None when it is damaged."""
    bits = bytearray(octets[:_FILTER_BITS_OCTETS])
    return bits if packed_filter_block(bits) == octets else None
