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
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

from popframe import PermanentFailure, TemporaryFailure
from popframe_store_mbox.file import create_private, read_at, sync_directory, write_at
from popframe_store_mbox.journal_format import (
    HEADER_OCTETS,
    MARK_OCTETS,
    Companion,
    Header,
    Run,
    is_ours,
    open_journal,
    parts_of,
    read_journal,
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
        """Carry out step 3, for the first time or again.

        Raises:
            TemporaryFailure: The journal, or the private copy, ends too early.
            OSError: It cannot be done now.
        """
        if self._has_lost_companion(spool):
            return  # that was step 4: the copy is complete
        for offset, octets in self._octets(spool):
            write_at(spool, octets, offset)
        os.fsync(spool)

    def is_applied(self, spool: int) -> bool:
        """Tell whether the spool has what it is to hold: the copy is complete."""
        if self._has_lost_companion(spool):
            return True
        return all(read_at(spool, len(octets), offset) == octets for offset, octets in self._octets(spool))

    def _has_lost_companion(self, spool: int) -> bool:
        """Tell whether there was a companion that is gone; what another user has put in its place is not it."""
        if not self.companion:
            return False
        try:
            return not is_ours(os.stat(self.companion, follow_symlinks=False), spool)
        except FileNotFoundError:
            return True

    def _octets(self, spool: int) -> Iterator[tuple[int, memoryview]]:
        """Yield what the spool is to hold, each piece with its offset; see :func:`buffers`."""
        with ExitStack() as opened:
            fd = open_journal(self.path, spool)
            opened.callback(os.close, fd)
            copy = -1
            if self.header.companion is Companion.PRIVATE_COPY:
                copy = os.open(self.companion, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                opened.callback(os.close, copy)
            offset = self.header.offset
            for octets in buffers(parts_of(fd, self.header, copy)):
                yield offset, octets
                offset += len(octets)

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
            journal.drop_companion(spool)
            size = os.fstat(spool).st_size
            if size <= journal.header.marked_size:
                os.ftruncate(spool, journal.header.new_size)
                os.fsync(spool)
                os.unlink(journal.path)
                return
            journal = journal.followed(spool, journal.header.new_size, journal.header.marked_size, size)
        raise TemporaryFailure(f"{self.path}: an agent that ignores the locks appends again and again")

    def drop_companion(self, spool: int) -> None:
        """Carry out step 4."""
        if self.companion and not self._has_lost_companion(spool):
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
    place: Place,
    spool: int,
    offset: int,
    parts: Iterable[Part],
    old_size: int,
    *,
    companion: Companion = Companion.NONE,
    copy: int = -1,
) -> Journal:
    """Carry out step 1.

    Args:
        place: The files of the maildrop.
        spool: The spool, locked.
        offset: Where in the spool the parts go.
        parts: What it is to hold from there on.
        old_size: Length of the spool.
        companion: Which other file goes in step 4.
        copy: The private copy if that is the companion: what is of it stays there, and is read from there.

    Raises:
        TemporaryFailure: A file ends before one of the parts does; as for an error.
        OSError: It cannot be written; the spool is untouched and the journal gone.
    """
    return _written(place.journal, spool, offset, parts, old_size, companion, _companion_path(place, companion), copy)


def _written(
    path: str,
    spool: int,
    offset: int,
    parts: Iterable[Part],
    old_size: int,
    companion: Companion = Companion.NONE,
    companion_path: str = "",
    copy: int = -1,
) -> Journal:
    fd = create_private(path)
    try:
        status = os.fstat(spool)
        if os.geteuid() == 0:  # a session of that user has to be able to finish it
            os.fchown(fd, status.st_uid, status.st_gid)
        runs: list[Run] = []
        own_length = checksum = 0
        for octets in buffers(_own_parts(parts, copy, runs)):
            checksum = zlib.crc32(octets, checksum)
            write_at(fd, octets, HEADER_OCTETS + own_length)
            own_length += len(octets)
        table = b"".join(map(Run.packed, runs))
        write_at(fd, table, HEADER_OCTETS + own_length)
        bare = Header(
            inode=status.st_ino,
            offset=offset,
            old_size=old_size,
            length=sum(run.length for run in runs),
            mark=os.urandom(MARK_OCTETS),
            guard=b"",
            companion=companion,
            own_length=own_length,
            checksum=zlib.crc32(table, checksum),
        )
        guard = read_at(spool, min(MARK_OCTETS, old_size - bare.guard_offset), bare.guard_offset)
        header = replace(bare, guard=guard.ljust(MARK_OCTETS, b"\0"))
        write_at(fd, header.packed(), 0)
        os.fsync(fd)
        sync_directory(path)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(fd)
    return Journal(path, header, companion_path)


def _own_parts(parts: Iterable[Part], copy: int, runs: list[Run]) -> Iterator[Part]:
    """Yield what the journal itself has to hold, and write the table."""
    own_length = run_start = 0
    for part in parts:
        if isinstance(part, Span):
            fd, start, end = part
            if fd == copy:
                if run_start < own_length:
                    runs.append(Run(is_of_copy=False, start=run_start, length=own_length - run_start))
                    run_start = own_length
                runs.append(Run(is_of_copy=True, start=start, length=end - start))
                continue
            own_length += end - start
        else:
            own_length += len(part)
        yield part
    if run_start < own_length:
        runs.append(Run(is_of_copy=False, start=run_start, length=own_length - run_start))


def has_journal(place: Place) -> bool:
    """Tell whether a change was begun and not finished."""
    return os.path.lexists(place.journal) or os.path.lexists(_later(place.journal))


def finish_journals(place: Place, spool: int) -> None:
    """Bring a change to its end that a killed process has begun; the caller holds the locks.

    Raises:
        PermanentFailure: There is a file of that name which is not ours, or one that is needed and damaged.
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
        aside = _set_aside(path)
        _logger.error("another program changed the spool after an interrupted update; what it kept is in %s", aside)


def _loaded(place: Place, path: str, spool: int) -> Journal | None:
    """Return a journal; None when there is none, or one that was not written to its end.

    Raises:
        PermanentFailure: The spool is marked for it, and it is not as it was written.
    """
    reading = read_journal(path, spool)
    if reading.header is None:
        if not reading.is_blank:
            _logger.error("the journal %s is damaged; what can be read of it is in %s", path, _set_aside(path))
        return None
    journal = Journal(path, reading.header, _companion_path(place, reading.header.companion))
    if reading.is_whole:
        return journal
    if journal.is_begun(spool):
        raise PermanentFailure(f"{path} is damaged, and the spool waits for what it holds")
    return None


def _set_aside(path: str) -> str:
    """Give a journal another name, which is returned: people may find in it what is nowhere else."""
    aside = f"{path}.{time.time_ns()}"
    os.rename(path, aside)
    return aside


def _companion_path(place: Place, companion: Companion) -> str:
    return {Companion.NONE: "", Companion.MOVE: place.move_record, Companion.PRIVATE_COPY: place.private_copy}[
        companion
    ]


def _later(path: str) -> str:
    """Return the name of the journal that follows one."""
    return path + "-next"
