"""Files, as the operating system gives and refuses them: whole reads and writes, states, errors.

Rule of this file: a short read is the end of the file or an error, never a short message; and every error of the
operating system becomes a refusal that says what was being done.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from popframe import PermanentFailure, Refusal, TemporaryFailure

SETTLED_NS = 2_000_000_000
"""Age from which a time stamp proves that nothing was written since.

Two writes within one tick of the file system's clock leave the same time; the coarsest clocks in use tick every two
seconds.
"""

_PERMANENT = frozenset(
    {
        errno.EACCES,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENODEV,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ENXIO,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EROFS,
    }
)
"""What an operator has to mend; everything else may pass (a full disk, a quota, an I/O error, too many open files)."""


class FileState(NamedTuple):
    """What changes when a file is written to or replaced; a plain tuple because it is compared for every piece read.

    Attributes:
        device: Number of the file system.
        inode: Number of the file in it.
        size: In octets.
        written_ns: Time of the last write, as anyone may set it.
        changed_ns: Time of the last change, which only the system sets.
    """

    device: int
    inode: int
    size: int
    written_ns: int
    changed_ns: int

    @classmethod
    def of(cls, fd: int) -> FileState:
        """Return the state of an open file."""
        status = os.fstat(fd)
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @property
    def is_settled(self) -> bool:
        """A later change cannot look like this state. False also when the clock was set back since."""
        return time.time_ns() - self.changed_ns > SETTLED_NS

    def is_same_file(self, other: FileState) -> bool:
        """Tell whether both are states of one file."""
        return (self.device, self.inode) == (other.device, other.inode)


def refusal_for(error: OSError, doing: str) -> Refusal:
    """Return what a client is refused with because of an error of the operating system."""
    kind = PermanentFailure if error.errno in _PERMANENT else TemporaryFailure
    return kind(f"{doing}: {error.strerror}")


@contextmanager
def os_errors_refused(doing: str) -> Iterator[None]:
    """Turn every :class:`OSError` inside into a refusal."""
    try:
        yield
    except OSError as exc:
        raise refusal_for(exc, doing) from exc


def read_at(fd: int, length: int, offset: int) -> bytes:
    """Return octets of a file; fewer than asked for only at its end."""
    octets = os.pread(fd, length, offset)
    if len(octets) in (0, length):
        return octets
    pieces = [octets]
    got = len(octets)
    while got < length and (octets := os.pread(fd, length - got, offset + got)):
        pieces.append(octets)
        got += len(octets)
    return b"".join(pieces)


def write_at(fd: int, octets: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of the octets."""
    left = memoryview(octets)
    while left:
        written = os.pwrite(fd, left, offset)
        left = left[written:]
        offset += written


def create_private(path: str) -> int:
    """Create a file that nobody else may read, and open it for writing.

    Raises:
        FileExistsError: There is something of that name.
        OSError: It cannot be created.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def is_at(path: str, fd: int) -> bool:
    """Tell whether the path, not followed when it is a link, leads to the open file."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False


def sync_directory(path: str) -> None:
    """Make the names in the directory of a file durable."""
    fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
