"""The private copy: where the Berkeley and Qualcomm popper keep the mail from login to QUIT, ``.NAME.pop``.

Rules of this file: mail is in the spool, or in the private copy, and which of both is decided by one write; whoever
dies in between leaves what the next to have the spool's locks brings back. The file is only used when nobody else can
have written it, and only while it is locked as popper locks it.

The move into the copy goes through these steps, each on disk before the next begins:

1. The record of the move: how long the copy was.
2. The octets of the spool, behind those of the copy.
3. The journal that takes them out of the spool; with its mark, the record goes. From here on the copy has them.

A record without a marked spool therefore says that the copy is to be cut back to that length. The way back is one
journal: it holds everything that the spool is to have, and with its mark, the copy goes.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain
from typing import Self

from popframe import MaildropInUse, TemporaryFailure
from popframe_store_mbox.file import create_private, is_at, read_at, sync_directory, write_at
from popframe_store_mbox.from_line import missing_separator
from popframe_store_mbox.journal import has_journal, write_journal
from popframe_store_mbox.journal_format import Companion
from popframe_store_mbox.ownership import refuse_accessible, refuse_foreign
from popframe_store_mbox.place import Place
from popframe_store_mbox.scan import refuse_other_than_mbox
from popframe_store_mbox.splice import Part, Span, buffers

MAX_RACES = 5
"""How often a session that ends may remove the file between our opening and locking it."""

SEPARATOR_OCTETS = 3
"""How many of the last octets tell whether a blank line is missing."""

_MAGIC = b"popframe move 1\n"
_RECORD = struct.Struct("<16sQ")
_CHECKSUM = struct.Struct("<I")
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_logger = logging.getLogger("popframe.store_mbox")


class PrivateCopy:
    """The file, open and locked.

    Attributes:
        fd: Its descriptor.
    """

    def __init__(self, place: Place, fd: int) -> None:
        self.fd = fd
        self._place = place

    @classmethod
    def take(cls, place: Place, *, create: bool) -> Self | None:
        """Open and lock it; None when there is none and none is to be made.

        Raises:
            MaildropInUse: Another program has it locked.
            PermanentFailure: It is not one that only its user can have written.
            TemporaryFailure: It is removed again and again.
            OSError: It cannot be opened.
        """
        for _ in range(MAX_RACES):
            try:
                fd = os.open(place.private_copy, _FLAGS | (os.O_CREAT if create else 0), 0o600)
            except FileNotFoundError:
                if create:
                    raise
                return None
            try:
                _make_over(place, fd)
                _refuse_untrusted(place, place.private_copy, fd)
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if is_at(place.private_copy, fd):
                    return cls(place, fd)
            except BlockingIOError as exc:
                os.close(fd)
                raise MaildropInUse(f"{place.private_copy}: another session has it locked") from exc
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
        raise TemporaryFailure(f"{place.private_copy} is removed again and again")

    @property
    def size(self) -> int:
        """Its length in octets."""
        return os.fstat(self.fd).st_size

    def close(self) -> None:
        """Unlock and close it; what is in it stays for the next session."""
        os.close(self.fd)

    def remove(self) -> None:
        """Remove the file, whose mail is not wanted or is elsewhere; returns when that is on disk."""
        with suppress(FileNotFoundError):
            os.unlink(self._place.private_copy)
        sync_directory(self._place.private_copy)

    def move_in(self, spool: int) -> None:
        """Move all mail from the locked spool behind what is here.

        Raises:
            PermanentFailure: The spool is not an mbox file.
            TemporaryFailure: It cannot be done now; both files are as they were.
            OSError: The same.
        """
        self._make_sure_of_name()
        size, before = os.fstat(spool).st_size, self.size
        refuse_other_than_mbox(spool, size)
        if not size:
            return
        self._write_record(before)
        try:
            tail = read_at(self.fd, SEPARATOR_OCTETS, max(before - SEPARATOR_OCTETS, 0))
            self._append([missing_separator(tail), Span(spool, 0, size)], before)
            journal = write_journal(self._place, spool, 0, (), size, companion=Companion.MOVE)
            journal.begin(spool)
        except BaseException:
            if not has_journal(self._place):  # else the mark may be set, and whoever comes next goes on from there
                os.ftruncate(self.fd, before)
                os.fsync(self.fd)
                os.unlink(self._place.move_record)
            raise
        journal.finish(spool)

    def give_back(self, spool: int, parts: Sequence[Part]) -> None:
        """Put what is to stay in front of what has arrived in the locked spool, and remove this file.

        Args:
            spool: The spool.
            parts: What is to stay.

        Raises:
            TemporaryFailure: It cannot be done now; both files are as they were, or the next to open them goes on.
            OSError: The same.
        """
        self._make_sure_of_name()
        if not parts:
            self.remove()
            return
        size = os.fstat(spool).st_size
        arrived: list[Part] = [missing_separator(_tail(parts)), Span(spool, 0, size)] if size else []
        journal = write_journal(
            self._place, spool, 0, chain(parts, arrived), size, companion=Companion.PRIVATE_COPY, copy=self.fd
        )
        journal.begin(spool)
        journal.finish(spool)

    def _make_sure_of_name(self) -> None:
        """Make sure that nobody has removed the file since it was opened: its mail could not be found again.

        Raises:
            TemporaryFailure: Somebody has.
        """
        if not is_at(self._place.private_copy, self.fd):
            raise TemporaryFailure(f"{self._place.private_copy} was removed during the session")

    def _write_record(self, size: int) -> None:
        """Say how long the file was before a move."""
        path = self._place.move_record
        fd = create_private(path)
        try:
            _make_over(self._place, fd)
            octets = _RECORD.pack(_MAGIC, size)
            write_at(fd, octets + _CHECKSUM.pack(zlib.crc32(octets)), 0)
            os.fsync(fd)
            sync_directory(path)
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(fd)

    def _append(self, parts: Iterable[Part], offset: int) -> None:
        for octets in buffers(parts):
            write_at(self.fd, octets, offset)
            offset += len(octets)
        os.fsync(self.fd)


def undo_move(place: Place) -> None:
    """Take back what a process that died had moved only in part; the caller holds the spool's locks.

    To be called when every journal is finished: if the spool was marked, the record is gone, and the move is done.

    Raises:
        PermanentFailure: A file of that name is not ours.
        OSError: It cannot be done now.
    """
    try:
        record = os.open(place.move_record, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _refuse_untrusted(place, place.move_record, record)
        octets = read_at(record, _RECORD.size + _CHECKSUM.size, 0)
    finally:
        os.close(record)
    if len(octets) == _RECORD.size + _CHECKSUM.size and _CHECKSUM.pack(zlib.crc32(octets[:-4])) == octets[-4:]:
        magic, size = _RECORD.unpack(octets[:-4])
        if magic == _MAGIC:
            _cut_back(place, size)
    os.unlink(place.move_record)  # an incomplete one was followed by nothing


def _cut_back(place: Place, size: int) -> None:
    try:
        fd = os.open(place.private_copy, _FLAGS)
    except FileNotFoundError:
        return
    try:
        _refuse_untrusted(place, place.private_copy, fd)
        if os.fstat(fd).st_size > size:
            _logger.warning("%s: taking a move back that was interrupted", place.private_copy)
            os.ftruncate(fd, size)
            os.fsync(fd)
    finally:
        os.close(fd)


def _make_over(place: Place, fd: int) -> None:
    """Give a file that root has just made to the user whose mail it is for."""
    status = os.fstat(fd)
    if os.geteuid() == 0 and place.uid is not None and status.st_uid == 0 and not status.st_size:
        os.fchown(fd, place.uid, -1 if place.gid is None else place.gid)


def _refuse_untrusted(place: Place, path: str, fd: int) -> None:
    """Refuse a file that somebody else than its user can have written to."""
    status = os.fstat(fd)
    refuse_foreign(place, path, status)
    refuse_accessible(path, status)


def _tail(parts: Sequence[Part]) -> bytes:
    """Return the last octets of what some parts hold together."""
    tail = b""
    for part in reversed(parts):
        if isinstance(part, Span):
            tail = (
                read_at(
                    part.fd, min(SEPARATOR_OCTETS, part.end - part.start), max(part.start, part.end - SEPARATOR_OCTETS)
                )
                + tail
            )
        else:
            tail = part + tail
        if len(tail) >= SEPARATOR_OCTETS:
            break
    return tail
