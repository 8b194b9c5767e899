"""The format of the redo journal: a header, octets, and a table of what the spool is to hold from some offset on.

Each entry of the table is a run of octets, in order: of the journal's own, or of the private copy, which so need not be
written twice.
"""

from __future__ import annotations

import enum
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from popframe import PermanentFailure
from popframe_store_mbox.file import read_at
from popframe_store_mbox.splice import Span

PIECE_OCTETS = 256 * 1024
"""Read at a time: fits the processor's cache, and larger pieces are not faster."""

RUNS_AT_ONCE = 1024
"""Entries of the table read at a time."""

MARK_OCTETS = 8
"""At an offset that is a multiple of its length it lies within one sector, which a disk writes whole or not at all."""

MAX_SIZE = 2**60
"""No file is longer; what says so is damaged, and must not lead to offsets that no system call takes."""

_MAGIC = b"popframe redo 2\n"
_KIND = b"popframe redo"
_HEADER = struct.Struct("<16sQQQQ8s8sQQI")
_RUN = struct.Struct("<QQQ")
_CHECKSUM = struct.Struct("<I")
HEADER_OCTETS = _HEADER.size + _CHECKSUM.size
"""Length of the header; the octets follow it."""


class Companion(enum.IntEnum):
    """Another file of the maildrop, whose octets the spool has or has not, that goes together with the mark."""

    NONE = 0
    """There is none."""
    MOVE = 1
    """The record of a move into the private copy: the copy has all that the spool loses."""
    PRIVATE_COPY = 2
    """The private copy: the spool gets all that is in it."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a journal says of itself.

    Attributes:
        inode: The spool's inode when it was written, for people who have to look into it.
        offset: Where in the spool its octets go.
        old_size: Length of the spool before.
        length: How many octets go there.
        mark: What the spool has at ``mark_offset`` while they are being copied.
        guard: What the spool had at ``guard_offset`` before.
        companion: Which other file goes while the mark is there.
        own_length: How many octets follow the header; the rest of the file is the table.
        checksum: CRC-32 of octets and table.
    """

    inode: int
    offset: int
    old_size: int
    length: int
    mark: bytes
    guard: bytes
    companion: Companion
    own_length: int
    checksum: int

    @property
    def new_size(self) -> int:
        """Length of the spool afterwards."""
        return self.offset + self.length

    @property
    def mark_offset(self) -> int:
        """Where the mark goes: behind all that is to stay."""
        return -(-self.new_size // MARK_OCTETS) * MARK_OCTETS

    @property
    def marked_size(self) -> int:
        """Length of the spool while it is marked: it is made longer first when the mark finds no room."""
        return max(self.old_size, self.mark_offset + MARK_OCTETS)

    @property
    def is_longer(self) -> bool:
        """The mark goes behind the old end, where it cannot be put without making the spool longer."""
        return self.marked_size > self.old_size

    @property
    def guard_offset(self) -> int:
        """Which octets tell a spool that is as it was from one that another program has changed.

        Those that the mark replaces; or else the last ones.
        """
        return max(self.old_size - MARK_OCTETS, 0) if self.is_longer else self.mark_offset

    def packed(self) -> bytes:
        """Return the header as it is stored; its own checksum is its last field."""
        numbers = (self.inode, self.offset, self.old_size, self.length)
        header = _HEADER.pack(_MAGIC, *numbers, self.mark, self.guard, self.companion, self.own_length, self.checksum)
        return header + _CHECKSUM.pack(zlib.crc32(header))


def open_journal(path: str, spool: int) -> int:
    """Open a journal for reading.

    Raises:
        PermanentFailure: It is not a file that only we, root or the owner of the spool can have written.
        OSError: It cannot be opened.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not is_ours(os.fstat(fd), spool):
        os.close(fd)
        raise PermanentFailure(f"{path} is in the way: it was not written by this program")
    return fd


def is_ours(status: os.stat_result, spool: int) -> bool:
    """Tell whether only we, root or the owner of the spool can have written a file."""
    owners = {0, os.geteuid(), os.fstat(spool).st_uid}
    is_file = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    return is_file and status.st_uid in owners and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found where a journal may be.

    Attributes:
        header: Its header; None when there is no journal, or one whose header is not as it was written.
        is_whole: What follows the header is as it was written.
        is_blank: The header was never written, so that nobody can have gone on from there.
    """

    header: Header | None
    is_whole: bool = False
    is_blank: bool = False


NO_JOURNAL = Reading(None, is_blank=True)


def read_journal(path: str, spool: int) -> Reading:
    """Read a journal, and make sure that it is as it was written.

    Raises:
        PermanentFailure: It is not ours, or one of another version.
        OSError: It cannot be read.
    """
    try:
        fd = open_journal(path, spool)
    except FileNotFoundError:
        return NO_JOURNAL
    try:
        octets = read_at(fd, HEADER_OCTETS, 0)
        if octets.startswith(_KIND) and not octets.startswith(_MAGIC):
            raise PermanentFailure(f"{path} is in the way: it was written by another version of this program")
        header = _parsed(octets)
        if header is None:
            return Reading(None, is_blank=not octets.strip(b"\0"))
        size = os.fstat(fd).st_size
        found = 0
        for position in range(HEADER_OCTETS, size, PIECE_OCTETS):
            found = zlib.crc32(read_at(fd, PIECE_OCTETS, position), found)
        is_whole = found == header.checksum and _is_table_possible(fd, header)
    finally:
        os.close(fd)
    return Reading(header, is_whole)


def _parsed(octets: bytes) -> Header | None:
    """Read a header; None when it is not one of ours, whole and possible."""
    if len(octets) < HEADER_OCTETS or _CHECKSUM.pack(zlib.crc32(octets[: _HEADER.size])) != octets[_HEADER.size :]:
        return None
    magic, inode, offset, old_size, length, mark, guard, companion, own_length, checksum = _HEADER.unpack(
        octets[: _HEADER.size]
    )
    is_possible = magic == _MAGIC and max(offset, old_size, length, own_length) <= MAX_SIZE and own_length <= length
    if not is_possible or companion not in Companion.__members__.values():
        return None
    return Header(inode, offset, old_size, length, mark, guard, Companion(companion), own_length, checksum)


class Run(NamedTuple):
    """An entry of the table.

    Attributes:
        is_of_copy: The octets are in the private copy, not in the journal.
        start: The first of them: in the copy, or counted from the end of the journal's header.
        length: How many.
    """

    is_of_copy: bool
    start: int
    length: int

    def packed(self) -> bytes:
        """Return the entry as it is stored."""
        return _RUN.pack(*self)


def read_runs(fd: int, header: Header) -> Iterator[Run]:
    """Yield the table of an open journal.

    Raises:
        OSError: It cannot be read.
    """
    position = HEADER_OCTETS + header.own_length
    while len(octets := read_at(fd, RUNS_AT_ONCE * _RUN.size, position)) >= _RUN.size:
        for at in range(0, len(octets) - _RUN.size + 1, _RUN.size):
            is_of_copy, start, length = _RUN.unpack_from(octets, at)
            yield Run(bool(is_of_copy), start, length)
        position += RUNS_AT_ONCE * _RUN.size


def _is_table_possible(fd: int, header: Header) -> bool:
    """Tell whether the runs are those of the header, and inside of what they are of."""
    length = 0
    for run in read_runs(fd, header):
        if run.start + run.length > (MAX_SIZE if run.is_of_copy else header.own_length):
            return False
        length += run.length
    return length == header.length


def parts_of(fd: int, header: Header, copy: int) -> Iterator[Span]:
    """Yield what the spool is to hold.

    Args:
        fd: The open journal.
        header: Its header.
        copy: The open private copy; any number when the table does not speak of one.
    """
    for run in read_runs(fd, header):
        start = run.start if run.is_of_copy else HEADER_OCTETS + run.start
        yield Span(copy if run.is_of_copy else fd, start, start + run.length)
