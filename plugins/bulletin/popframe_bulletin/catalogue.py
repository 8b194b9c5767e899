"""The bulletins of the folder, in order; read once, and again when they have changed.

Rule of this file: only a plain file is a bulletin, and one that was written in this very moment may not be whole: it is
there, and cannot be read yet.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from popframe_bulletin.composing import check
from popframe_bulletin.message import BadBulletin, BulletinMessage, parse

SETTLED_NANOSECONDS = 2_000_000_000
"""A file, or folder, that was changed less than this ago may change again and look the same, or be half written: the
clock of a file system ticks every 4 to 10 ms, on some every second or two."""

MAX_NUMBER_DIGITS = 15
"""Longest number; popper keeps it in a C long."""

EDITOR_SUFFIX = "~"
"""What editors append to the name of the version before; popper would deliver it."""

_NAME = re.compile(r"([0-9]+)([^.]*)(?:\.([^.]*))?", re.ASCII | re.DOTALL)
_READ_OCTETS = 64 * 1024

Fingerprint = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One bulletin file; they are delivered in this order.

    Attributes:
        number: What the name begins with.
        name: The whole name.
        group: What stands between its first two dots; None when it has no dot.
    """

    number: int
    name: str
    group: str | None

    @classmethod
    def of(cls, name: str) -> Entry | None:
        """Return what a name says; None when it is not that of a bulletin."""
        match = _NAME.match(name)
        if match is None or len(match[1].lstrip("0")) > MAX_NUMBER_DIGITS or name.endswith(EDITOR_SUFFIX):
            return None
        return cls(int(match[1]), name, match[3])


class NotSettled(Exception):
    """A file was written in this very moment; it will be read later."""


class Catalogue:
    """Gives the bulletins of a folder as they are when they are asked for."""

    def __init__(self, folder: Path, max_octets: int) -> None:
        """Take the folder; it is first read when it is asked for.

        Args:
            folder: Where the files are.
            max_octets: Longest file.
        """
        self.folder = folder
        self._max_octets = max_octets
        self._lock = threading.Lock()
        self._fingerprint: Fingerprint | None = None
        self._entries: tuple[Entry, ...] = ()
        self._messages: dict[str, tuple[Fingerprint, BulletinMessage]] = {}

    def entries(self) -> tuple[Entry, ...]:
        """Return what there is, by number and name. When the folder has not changed lately this costs one stat(2).

        Raises:
            OSError: The folder cannot be read.
        """
        if _fingerprint(os.stat(self.folder)) == self._fingerprint:
            return self._entries
        with self._lock:
            now = time.time_ns()
            status = os.stat(self.folder)
            with os.scandir(self.folder) as listing:
                names = [item.name for item in listing if item.is_file(follow_symlinks=False)]
            entries = tuple(sorted(entry for entry in map(Entry.of, names) if entry is not None))
            there = {entry.name for entry in entries}
            self._messages = {name: kept for name, kept in self._messages.items() if name in there}
            self._entries = entries
            # Last: who sees it asks no further, and must get these entries.
            self._fingerprint = _fingerprint(status) if _is_settled(status, now) else None
            return entries

    def passed_over(self) -> list[str]:
        """Return the names that begin with a digit, as those of bulletins do, and are none.

        Raises:
            OSError: The folder cannot be read.
        """
        there = {entry.name for entry in self.entries()}
        return sorted(name for name in os.listdir(self.folder) if name[:1].isdigit() and name not in there)

    def message(self, entry: Entry) -> BulletinMessage:
        """Return a bulletin. One that has not changed since it was read costs one stat(2).

        Raises:
            BadBulletin: It cannot be read or delivered.
            NotSettled: It is being written.
        """
        path = os.path.join(self.folder, entry.name)
        try:
            kept = self._messages.get(entry.name)
            if kept is not None and _fingerprint(os.stat(path, follow_symlinks=False)) == kept[0]:
                return kept[1]
            fingerprint, octets = self._read(path)
            message = parse(octets)
            check(message)
        except OSError as exc:
            raise BadBulletin(f"{path}: {exc.strerror}") from exc
        except BadBulletin as exc:
            raise BadBulletin(f"{path}: {exc}") from exc
        self._messages[entry.name] = (fingerprint, message)
        return message

    def _read(self, path: str) -> tuple[Fingerprint, bytes]:
        # Without O_NONBLOCK, a pipe in the file's place would hold up the login.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise BadBulletin("is not a regular file")
            if not _is_settled(before, time.time_ns()):
                raise NotSettled(path)
            if before.st_size > self._max_octets:
                raise BadBulletin(f"has {before.st_size} octets, more than max_octets, which is {self._max_octets}")
            pieces = []
            while piece := os.read(descriptor, _READ_OCTETS):
                pieces.append(piece)
            if _fingerprint(os.fstat(descriptor)) != _fingerprint(before):
                raise NotSettled(path)
            return _fingerprint(before), b"".join(pieces)
        finally:
            os.close(descriptor)


def _is_settled(status: os.stat_result, now: int) -> bool:
    """Tell whether the content has been the same for a while; a time in the future says nothing."""
    return not 0 <= now - status.st_mtime_ns <= SETTLED_NANOSECONDS


def _fingerprint(status: os.stat_result) -> Fingerprint:
    """Return what tells one version from another; the change time tells of a restored mtime."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
