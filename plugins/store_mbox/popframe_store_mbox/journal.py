"""The redo journal: how the middle is taken out of a file, in place, so that a crash at any moment loses nothing.

A removal goes through these steps, each on disk before the next begins:

1. The journal: everything that is to stay behind the first gap, and where it goes.
2. The mark: eight random octets in the spool, in the part that the last step cuts off.
3. The copy: from the journal into the spool.
4. The cut: the spool gets its new length, and so loses the mark.
5. The journal goes.

Rule of this file: the mark alone says whether a journal counts. With the mark the copy may be half done, so it is done
again; without it the copy has either not begun or is complete, and the spool is right as it is. Agents that know
nothing of this may append mail at any moment, after a crash too: what is behind the old end is kept by a second removal
that takes out what is left between.
"""

from __future__ import annotations

import logging
import os
import stat
import struct
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from popframe import PermanentFailure, TemporaryFailure
from popframe_store_mbox.file import read_at, sync_directory, write_at

PIECE_OCTETS = 256 * 1024
"""Copied at a time: fits the processor's cache, and larger pieces are not faster."""

MAX_APPENDS = 10
"""Appends that are followed during one removal; an agent that ignores the locks more often must come to rest first."""

MARK_OCTETS = 8
"""At an offset that is a multiple of its length it lies within one sector, which a disk writes whole or not at all."""

_MAGIC = b"popframe redo 1\n"
_HEADER = struct.Struct("<16sQQQQ8s8sI")
_CHECKSUM = struct.Struct("<I")
HEADER_OCTETS = _HEADER.size + _CHECKSUM.size
"""Length of the header; what stays follows it."""

_logger = logging.getLogger("popframe.store_mbox")


@dataclass(frozen=True, slots=True)
class Journal:
    """One journal, complete and on disk.

    Attributes:
        path: Its file.
        inode: The spool's inode when it was written, for people who have to look into it.
        offset: Where in the spool its octets go.
        old_size: Length of the spool before the removal.
        length: How many octets stay behind ``offset``.
        mark: What the spool has at ``mark_offset`` from step 2 to step 4.
        unmarked: What it had there before.
        checksum: CRC-32 of what stays.
    """

    path: str
    inode: int
    offset: int
    old_size: int
    length: int
    mark: bytes
    unmarked: bytes
    checksum: int

    @property
    def new_size(self) -> int:
        """Length of the spool after the removal."""
        return self.offset + self.length

    @property
    def mark_offset(self) -> int:
        """Where the mark goes: a removed message has room for it, since its From_ line alone has 25 octets."""
        return -(-self.new_size // MARK_OCTETS) * MARK_OCTETS

    def is_begun(self, spool: int) -> bool:
        """Tell whether the spool is marked: between steps 2 and 4."""
        return read_at(spool, MARK_OCTETS, self.mark_offset) == self.mark

    def begin(self, spool: int) -> None:
        """Carry out step 2.

        Raises:
            OSError: It cannot; the spool is as it was and the journal gone, or else the journal is of use.
        """
        try:
            write_at(spool, self.mark, self.mark_offset)
            os.fsync(spool)
        except OSError:
            write_at(spool, self.unmarked, self.mark_offset)
            os.fsync(spool)
            os.unlink(self.path)
            raise

    def copy_back(self, spool: int) -> None:
        """Carry out step 3, for the first time or again."""
        fd = _open_journal(self.path, spool)
        try:
            for position in range(0, self.length, PIECE_OCTETS):
                length = min(PIECE_OCTETS, self.length - position)
                piece = read_at(fd, length, HEADER_OCTETS + position)
                if len(piece) != length:
                    raise TemporaryFailure(f"{self.path} ends too early")
                write_at(spool, piece, self.offset + position)
        finally:
            os.close(fd)
        os.fsync(spool)

    def is_applied(self, spool: int) -> bool:
        """Tell whether the spool has the octets of the journal in their place: the copy is complete."""
        fd = _open_journal(self.path, spool)
        try:
            return all(
                read_at(fd, length, HEADER_OCTETS + position) == read_at(spool, length, self.offset + position)
                for position in range(0, self.length, PIECE_OCTETS)
                for length in (min(PIECE_OCTETS, self.length - position),)
            )
        finally:
            os.close(fd)

    def finish(self, spool: int) -> None:
        """Carry out steps 3 to 5 on a marked spool, keeping what others appended since the journal was written.

        Raises:
            TemporaryFailure: Another program appends again and again; whoever opens the spool next goes on here.
        """
        journal = self
        for _ in range(MAX_APPENDS):
            journal.copy_back(spool)
            size = os.fstat(spool).st_size
            if size <= journal.old_size:
                os.ftruncate(spool, journal.new_size)
                os.fsync(spool)
                os.unlink(journal.path)
                return
            journal = journal._followed(spool, size)
        raise TemporaryFailure(f"{self.path}: an agent that ignores the locks appends again and again")

    def _followed(self, spool: int, size: int) -> Journal:
        """Return the begun journal of a second removal, that of the octets between the new end and what was appended.

        It takes the place of this one, whose copy is complete, only when its own mark is on disk.
        """
        later = write_journal(_later(self.path), spool, self.new_size, [(self.old_size, size)], size)
        later.begin(spool)
        os.replace(later.path, self.path)
        sync_directory(self.path)
        return replace(later, path=self.path)


def write_journal(path: str, spool: int, offset: int, kept: Iterable[tuple[int, int]], old_size: int) -> Journal:
    """Carry out step 1.

    Args:
        path: Where the journal goes.
        spool: The spool, locked.
        offset: Where in the spool the ranges go that stay.
        kept: These ranges, in order; something before the first, and behind ``offset``, goes.
        old_size: Length of the spool.

    Raises:
        OSError: It cannot be written; the spool is untouched and the journal gone.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        status = os.fstat(spool)
        if os.geteuid() == 0:  # a session of that user has to be able to finish it
            os.fchown(fd, status.st_uid, status.st_gid)
        length, checksum = _copy_out(fd, spool, kept)
        bare = Journal(path, status.st_ino, offset, old_size, length, os.urandom(MARK_OCTETS), b"", checksum)
        journal = replace(bare, unmarked=read_at(spool, MARK_OCTETS, bare.mark_offset))
        write_at(fd, _packed(journal), 0)
        os.fsync(fd)
        sync_directory(path)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(fd)
    return journal


def has_journal(path: str) -> bool:
    """Tell whether a removal was begun and not finished."""
    return os.path.lexists(path) or os.path.lexists(_later(path))


def finish_journals(path: str, spool: int) -> None:
    """Bring a removal to its end that a killed process has begun; the caller holds the locks.

    Raises:
        PermanentFailure: There is a file of that name which is not ours.
        TemporaryFailure: It cannot be finished now.
        OSError: The same.
    """
    later_path = _later(path)
    if not has_journal(path):
        return
    later = _load(later_path, spool)
    if later is not None and later.is_begun(spool):
        os.replace(later_path, path)
        sync_directory(path)
    elif os.path.lexists(later_path):
        os.unlink(later_path)
    journal = _load(path, spool)
    if journal is None:
        if os.path.lexists(path):
            os.unlink(path)  # incomplete, so the spool was not touched
    elif journal.is_begun(spool):
        _logger.warning("%s: finishing a removal that was interrupted", path)
        journal.finish(spool)
    elif read_at(spool, MARK_OCTETS, journal.mark_offset) == journal.unmarked or journal.is_applied(spool):
        os.unlink(path)
    else:
        aside = f"{path}.{time.time_ns()}"
        os.rename(path, aside)
        _logger.error("another program changed the spool after an interrupted removal; what it kept is in %s", aside)


def _later(path: str) -> str:
    """Return the name of the journal that follows one."""
    return path + "-next"


def _copy_out(fd: int, spool: int, kept: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Write ranges of the spool behind the place of the header; return their length and checksum."""
    length = checksum = 0
    for start, end in kept:
        for position in range(start, end, PIECE_OCTETS):
            piece = read_at(spool, min(PIECE_OCTETS, end - position), position)
            checksum = zlib.crc32(piece, checksum)
            write_at(fd, piece, HEADER_OCTETS + length)
            length += len(piece)
    return length, checksum


def _packed(journal: Journal) -> bytes:
    """Return the header, whose own checksum is its last field."""
    header = _HEADER.pack(
        _MAGIC,
        journal.inode,
        journal.offset,
        journal.old_size,
        journal.length,
        journal.mark,
        journal.unmarked,
        journal.checksum,
    )
    return header + _CHECKSUM.pack(zlib.crc32(header))


def _load(path: str, spool: int) -> Journal | None:
    """Read a journal; None when there is none, or not a complete one."""
    try:
        fd = _open_journal(path, spool)
    except FileNotFoundError:
        return None
    try:
        header = read_at(fd, HEADER_OCTETS, 0)
        if len(header) < HEADER_OCTETS or _CHECKSUM.pack(zlib.crc32(header[: _HEADER.size])) != header[_HEADER.size :]:
            return None
        magic, inode, offset, old_size, length, mark, unmarked, checksum = _HEADER.unpack(header[: _HEADER.size])
        if magic != _MAGIC or os.fstat(fd).st_size != HEADER_OCTETS + length:
            return None
        found = 0
        for position in range(0, length, PIECE_OCTETS):
            found = zlib.crc32(read_at(fd, PIECE_OCTETS, HEADER_OCTETS + position), found)
    finally:
        os.close(fd)
    return Journal(path, inode, offset, old_size, length, mark, unmarked, checksum) if found == checksum else None


def _open_journal(path: str, spool: int) -> int:
    """Open a journal for reading.

    Raises:
        PermanentFailure: It is not a file that only we, root or the owner of the spool can have written.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(fd)
    owners = {0, os.geteuid(), os.fstat(spool).st_uid}
    is_ours = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid in owners
    if not is_ours or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        os.close(fd)
        raise PermanentFailure(f"{path} is in the way: it was not written by this program")
    return fd
