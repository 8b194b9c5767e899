"""The redo journal: how a file is changed in its middle, in place, so that a crash at any moment loses nothing.

A change goes through these steps, each on disk before the next begins:

1. The journal: everything that the spool is to hold behind the first change, and where it goes.
2. The mark: eight random octets in the spool, behind all that is to stay. Where the spool has no room for it, it is
   made longer first, by zeros, up to the end of the mark.
3. The copy: from the journal into the spool.
4. The companion, if there is one, goes: the file whose mail the spool has got, or the record that says that another
   file has got all of the spool's mail.
5. The cut: the spool gets its new length, and so loses the mark.
6. The journal goes.

Rule of this file: the mark alone says whether a journal counts. With the mark the copy may be half done, so it is done
again; without it the copy has either not begun or is complete, and the spool is right as it is, but for zeros at its
end. Agents that know nothing of this may append mail at any moment, after a crash too: what is behind the marked end is
kept by a second journal that takes out what is left between.
"""

from __future__ import annotations

import logging
import os
import time
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from popframe import TemporaryFailure
from popframe_store_mbox.file import read_at, sync_directory, write_at
from popframe_store_mbox.journal_format import (
    HEADER_OCTETS,
    MARK_OCTETS,
    Companion,
    Header,
    open_journal,
    pieces_of,
    read_header,
)
from popframe_store_mbox.place import Place
from popframe_store_mbox.splice import Part, Span, buffers

MAX_APPENDS = 10
"""Appends that are followed during one removal; an agent that ignores the locks more often must come to rest first."""

_logger = logging.getLogger("popframe.store_mbox")


@dataclass(frozen=True, slots=True)
class Journal:
    """One journal, complete and on disk.

    Attributes:
        path: Its file.
        header: What it says of itself.
        companion: The path of its companion; empty for none.
    """

    path: str
    header: Header
    companion: str

    def is_begun(self, spool: int) -> bool:
        """Tell whether the spool is marked: between steps 2 and 5."""
        return read_at(spool, MARK_OCTETS, self.header.mark_offset) == self.header.mark

    def begin(self, spool: int) -> None:
        """Carry out step 2.

        Raises:
            TemporaryFailure: An agent that ignores the locks wrote at this moment; the journal is gone.
            OSError: It cannot; the spool is as it was and the journal gone, or else the journal is of use.
        """
        header = self.header
        try:
            if header.is_longer:
                self._lengthen(spool)
            write_at(spool, header.mark, header.mark_offset)
            os.fsync(spool)
        except (OSError, TemporaryFailure):
            if self._take_mark_back(spool):
                os.unlink(self.path)
            raise

    def _lengthen(self, spool: int) -> None:
        """Make room for the mark, and for all that is copied: a copy that has begun must not find the disk full."""
        header = self.header
        os.posix_fallocate(spool, header.old_size, header.marked_size - header.old_size)
        if read_at(spool, header.marked_size - header.old_size, header.old_size).strip(b"\0"):
            raise TemporaryFailure("another program appended to the spool without a lock")

    def _take_mark_back(self, spool: int) -> bool:
        """Undo step 2; tell whether nothing of it is left for whoever opens the spool next."""
        header = self.header
        if header.is_longer:
            if self.is_begun(spool):
                write_at(spool, bytes(MARK_OCTETS), header.mark_offset)
            return self._take_zeros_back(spool)
        write_at(spool, header.guard, header.mark_offset)
        os.fsync(spool)
        return True

    def _take_zeros_back(self, spool: int) -> bool:
        """Cut the zeros off that made the spool longer; False when another program appended behind them."""
        header = self.header
        if os.fstat(spool).st_size > header.marked_size:
            return False
        kept = read_at(spool, header.marked_size - header.old_size, header.old_size).rstrip(b"\0")
        os.ftruncate(spool, header.old_size + len(kept))
        os.fsync(spool)
        return True

    def copy_back(self, spool: int) -> None:
        """Carry out step 3, for the first time or again."""
        fd = open_journal(self.path, spool)
        try:
            for offset, piece in pieces_of(fd, self.header):
                write_at(spool, piece, offset)
        finally:
            os.close(fd)
        os.fsync(spool)

    def is_applied(self, spool: int) -> bool:
        """Tell whether the spool has the octets of the journal in their place: the copy is complete."""
        fd = open_journal(self.path, spool)
        try:
            return all(read_at(spool, len(piece), offset) == piece for offset, piece in pieces_of(fd, self.header))
        finally:
            os.close(fd)

    def is_untouched(self, spool: int) -> bool:
        """Tell whether the copy has not begun, for certain."""
        header = self.header
        if not header.is_longer:
            return read_at(spool, MARK_OCTETS, header.guard_offset) == header.guard
        length = header.old_size - header.guard_offset
        return read_at(spool, length, header.guard_offset) == header.guard[:length]

    def finish(self, spool: int) -> None:
        """Carry out steps 3 to 6 on a marked spool, keeping what others appended since the journal was written.

        Raises:
            TemporaryFailure: Another program appends again and again; whoever opens the spool next goes on here.
            OSError: The same.
        """
        journal = self
        for _ in range(MAX_APPENDS):
            journal.copy_back(spool)
            journal.drop_companion()
            size = os.fstat(spool).st_size
            if size <= journal.header.marked_size:
                os.ftruncate(spool, journal.header.new_size)
                os.fsync(spool)
                os.unlink(journal.path)
                return
            journal = journal.followed(spool, journal.header.new_size, journal.header.marked_size, size)
        raise TemporaryFailure(f"{self.path}: an agent that ignores the locks appends again and again")

    def drop_companion(self) -> None:
        """Carry out step 4."""
        if self.companion:
            with suppress(FileNotFoundError):
                os.unlink(self.companion)
                sync_directory(self.companion)

    def followed(self, spool: int, start: int, end: int, size: int) -> Journal:
        """Return the begun journal of a removal that takes the place of this one.

        It does so only when its own mark is on disk.

        Args:
            spool: The spool.
            start: The first octet that is to go.
            end: The first that is to stay.
            size: Length of the spool.
        """
        later = _written(_later(self.path), spool, start, [Span(spool, end, size)], size)
        later.begin(spool)
        os.replace(later.path, self.path)
        sync_directory(self.path)
        return replace(later, path=self.path)

    def dismiss(self, spool: int) -> None:
        """Let the journal go before its copy has begun, with the zeros that step 2 may have put behind the old end."""
        header = self.header
        if header.is_longer and os.fstat(spool).st_size > header.old_size:
            self._take_zeros_back(spool)
            tail = read_at(spool, header.marked_size - header.old_size, header.old_size)
            if zeros := len(tail) - len(tail.lstrip(b"\0")):
                size = os.fstat(spool).st_size
                self.followed(spool, header.old_size, header.old_size + zeros, size).finish(spool)
                return
        os.unlink(self.path)


def write_journal(
    place: Place, spool: int, offset: int, parts: Iterable[Part], old_size: int, companion: Companion = Companion.NONE
) -> Journal:
    """Carry out step 1.

    Args:
        place: The files of the maildrop.
        spool: The spool, locked.
        offset: Where in the spool the parts go.
        parts: What it is to hold from there on.
        old_size: Length of the spool.
        companion: Which other file goes in step 4.

    Raises:
        TemporaryFailure: A file ends before one of the parts does; as for an error.
        OSError: It cannot be written; the spool is untouched and the journal gone.
    """
    return _written(place.journal, spool, offset, parts, old_size, companion, _companion_path(place, companion))


def _written(
    path: str,
    spool: int,
    offset: int,
    parts: Iterable[Part],
    old_size: int,
    companion: Companion = Companion.NONE,
    companion_path: str = "",
) -> Journal:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        status = os.fstat(spool)
        if os.geteuid() == 0:  # a session of that user has to be able to finish it
            os.fchown(fd, status.st_uid, status.st_gid)
        length = checksum = 0
        for octets in buffers(parts):
            checksum = zlib.crc32(octets, checksum)
            write_at(fd, octets, HEADER_OCTETS + length)
            length += len(octets)
        header = Header(status.st_ino, offset, old_size, length, os.urandom(MARK_OCTETS), b"", companion, checksum)
        guard = read_at(spool, min(MARK_OCTETS, old_size - header.guard_offset), header.guard_offset)
        header = replace(header, guard=guard.ljust(MARK_OCTETS, b"\0"))
        write_at(fd, header.packed(), 0)
        os.fsync(fd)
        sync_directory(path)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(fd)
    return Journal(path, header, companion_path)


def has_journal(place: Place) -> bool:
    """Tell whether a change was begun and not finished."""
    return os.path.lexists(place.journal) or os.path.lexists(_later(place.journal))


def finish_journals(place: Place, spool: int) -> None:
    """Bring a change to its end that a killed process has begun; the caller holds the locks.

    Raises:
        PermanentFailure: There is a file of that name which is not ours.
        TemporaryFailure: It cannot be finished now.
        OSError: The same.
    """
    if not has_journal(place):
        return
    path, later_path = place.journal, _later(place.journal)
    later = _loaded(place, later_path, spool)
    if later is not None and later.is_begun(spool):
        os.replace(later_path, path)
        sync_directory(path)
    elif os.path.lexists(later_path):
        os.unlink(later_path)
    journal = _loaded(place, path, spool)
    if journal is None:
        with suppress(FileNotFoundError):
            os.unlink(path)  # incomplete, so the spool was not touched
    elif journal.is_begun(spool):
        _logger.warning("%s: finishing an update that was interrupted", path)
        journal.finish(spool)
    elif journal.is_applied(spool):
        os.unlink(path)
    elif journal.is_untouched(spool):
        journal.dismiss(spool)
    else:
        aside = f"{path}.{time.time_ns()}"
        os.rename(path, aside)
        _logger.error("another program changed the spool after an interrupted update; what it kept is in %s", aside)


def _loaded(place: Place, path: str, spool: int) -> Journal | None:
    header = read_header(path, spool)
    return None if header is None else Journal(path, header, _companion_path(place, header.companion))


def _companion_path(place: Place, companion: Companion) -> str:
    return {Companion.NONE: "", Companion.MOVE: place.move_record, Companion.PRIVATE_COPY: place.private_copy}[
        companion
    ]


def _later(path: str) -> str:
    """Return the name of the journal that follows one."""
    return path + "-next"
