"""What is written down before a delivery begins, so that the next login knows how to go on when this one dies.

The file is the lock of a user's deliveries too. It stays, and is empty while nothing is under way. Its content is
written in place; one that is not whole counts as none, since no message is delivered before it is on disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

from popframe_bulletin.popbull import MAX_OCTETS, NoState, Place, refuse_foreign, write_all

LOCK_SECONDS = 10.0
"""How long to wait for another login of the same user that delivers; mail clients bear that much silence."""

LOCK_POLL_SECONDS = 0.02
"""How often to try meanwhile."""

_DIGEST_OCTETS = 16


@dataclass(frozen=True, slots=True)
class Record:
    """One delivery that has begun.

    Attributes:
        token: What its messages are found again by; nobody else knows it.
        before: The file ``.popbull`` before, as this plugin writes it; empty when there was none.
        then: The same when all is delivered.
        messages: Number and length of the text, see :func:`~popframe_bulletin.finding.text_length`, of each message.
    """

    token: str
    before: bytes
    then: bytes
    messages: tuple[tuple[int, int], ...]

    def encode(self) -> bytes:
        """Return what stands in the file."""
        values = [self.token, self.before.decode("ascii"), self.then.decode("ascii"), self.messages]
        line = json.dumps(values, separators=(",", ":")).encode("ascii") + b"\n"
        return line + _digest(line)

    @classmethod
    def decode(cls, content: bytes) -> Record | None:
        """Return what a file says; None when it is not whole."""
        line, end, digest = content.partition(b"\n")
        if not end or digest != _digest(line + end):
            return None
        token, before, then, messages = json.loads(line)
        return cls(token, before.encode(), then.encode(), tuple((number, length) for number, length in messages))


class RecordFile:
    """The file, open and locked."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self) -> Record | None:
        """Return the delivery that somebody has begun and not finished.

        Raises:
            OSError: The file cannot be read.
        """
        return Record.decode(os.pread(self._descriptor, MAX_OCTETS, 0))

    def write(self, record: Record) -> None:
        """Put a record onto the disk; the file is empty before.

        Raises:
            OSError: There is no room; the file is empty again, or holds what counts as nothing.
        """
        content = record.encode()
        if len(content) > MAX_OCTETS:
            raise NoState(f"{len(record.messages)} bulletins at once are too many")
        try:
            write_all(self._descriptor, content)
            os.fsync(self._descriptor)
        except OSError:
            self.clear()
            raise

    def clear(self) -> None:
        """Say that nothing is under way.

        Raises:
            OSError: It cannot be written.
        """
        os.ftruncate(self._descriptor, 0)


def is_begun(place: Place) -> bool:
    """Tell whether a delivery may have to be finished."""
    try:
        return os.stat(place.delivery, follow_symlinks=False).st_size > 0
    except OSError:
        return False


@contextlib.contextmanager
def locked_record(place: Place) -> Iterator[RecordFile]:
    """Open the file, which is made when it is not there, and keep other logins of the user out.

    Raises:
        NoState: Another login delivers all the time, or the file is not to be trusted.
        OSError: It cannot be made.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(place.delivery, flags, 0o600)
    try:
        status = os.fstat(descriptor)
        refuse_foreign(place, place.delivery, status)
        if status.st_nlink != 1:  # it is written in place: somebody may have given this name to another file
            raise NoState(f"{place.delivery} has {status.st_nlink} names (hard links)")
        _lock(descriptor, place)
        yield RecordFile(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, place: Place) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if time.monotonic() > deadline:
                raise NoState(f"another login keeps {place.delivery} locked") from exc
            time.sleep(LOCK_POLL_SECONDS)
        else:
            return


def _digest(line: bytes) -> bytes:
    return blake2b(line, digest_size=_DIGEST_OCTETS).hexdigest().encode("ascii")
