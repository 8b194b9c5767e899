"""A file of records that many processes read and write at once: in memory, or on disk.

It is read and written, not mapped: a disk that is full or broken, or a file that somebody has cut off, is an error that
can be caught, and no signal that ends a process. A record is found by its key, in a bucket of a few; there is no chain
that a process which dies could leave torn. Each record has a checksum, and one that is damaged counts as none.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import TypeVar

WAYS = 8
"""Records in a bucket: as many different keys that fall into the same one are kept side by side."""

KEY_OCTETS = 16
"""Of a keyed hash; nobody finds two names that share one."""

_CHECKSUM_OCTETS = 4
_HEAD_OCTETS = _CHECKSUM_OCTETS + KEY_OCTETS
_EMPTY = bytes(KEY_OCTETS)

RankT = TypeVar("RankT", float, tuple[float, ...])


class SharedFile:
    """An open file and its lock.

    The lock belongs to the open file (flock(2)), so each process opens it for itself; the kernel lets go of it when the
    process dies. It is not one of fcntl(2): for those the kernel sees a deadlock where two threads of two processes
    wait for one another's locks on other files, such as spools.
    """

    def __init__(self, descriptor: int) -> None:
        """Take over a descriptor that is open for reading and writing."""
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def reopened(self) -> SharedFile:
        """Return the same file, opened once more: for another process, behind a fork.

        Raises:
            OSError: It cannot be opened any more.
        """
        return SharedFile(os.open(f"/proc/self/fd/{self._descriptor}", os.O_RDWR | os.O_CLOEXEC))

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all others out, threads and processes; nothing that may take long is done meanwhile.

        Raises:
            OSError: The file cannot be locked.
        """
        with self._lock:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def size(self) -> int:
        """Return how many octets it has."""
        return os.fstat(self._descriptor).st_size

    def make_empty(self, octets: int, *, takes_room: bool) -> None:
        """Make it so many zeros long.

        Raises:
            OSError: It cannot be made, or the disk has not so much room.
        """
        os.ftruncate(self._descriptor, 0)
        if takes_room:
            os.posix_fallocate(self._descriptor, 0, octets)
        else:
            os.ftruncate(self._descriptor, octets)

    def give_to(self, uid: int, gid: int) -> None:
        """Let it be one user's alone; -1 for whose it is now.

        Raises:
            OSError: Whoever calls this may not.
        """
        os.fchown(self._descriptor, uid, gid)
        os.fchmod(self._descriptor, 0o600)

    def read(self, offset: int, octets: int) -> bytes:
        """Return so many octets; zeros where the file has none.

        Raises:
            OSError: It cannot be read.
        """
        data = os.pread(self._descriptor, octets, offset)
        return data if len(data) == octets else data.ljust(octets, b"\0")

    def write(self, offset: int, data: bytes) -> None:
        """Write some octets.

        Raises:
            OSError: They cannot be written, or not all; the checksum of the record tells then.
        """
        written = os.pwrite(self._descriptor, data, offset)
        if written != len(data):
            raise OSError(f"only {written} of {len(data)} octets were written")


class Section:
    """A part of the file that holds records of one size. The caller holds the lock."""

    def __init__(self, file: SharedFile, offset: int, payload_octets: int, buckets: int) -> None:
        """Describe it.

        Args:
            file: Where it is.
            offset: Where it begins, in octets.
            payload_octets: Size of what a record holds.
            buckets: How many buckets there are.
        """
        self._file = file
        self._offset = offset
        self._record_octets = _HEAD_OCTETS + payload_octets
        self._bucket_octets = self._record_octets * WAYS
        self._buckets = buckets
        self._key_places = range(_CHECKSUM_OCTETS, self._bucket_octets, self._record_octets)

    @property
    def end(self) -> int:
        """Where the next part of the file begins."""
        return self._offset + self._buckets * self._bucket_octets

    def get(self, key: bytes) -> bytes | None:
        """Return what is kept under a key; None for nothing.

        Raises:
            OSError: The file cannot be read.
        """
        bucket = self._file.read(self._bucket(key), self._bucket_octets)
        place = self._find(bucket, key)
        return None if place < 0 else self._payload(bucket, place)

    def put(self, key: bytes, payload: bytes, rank: Callable[[bytes], RankT]) -> None:
        """Keep something under a key.

        Args:
            key: The key.
            payload: What to keep.
            rank: What a record weighs; where there is no room, the lightest gives way.

        Raises:
            OSError: It cannot be written.
        """
        start = self._bucket(key)
        bucket = self._file.read(start, self._bucket_octets)
        place = self._find(bucket, key)
        if place < 0:
            free = [place for place in range(WAYS) if self._payload(bucket, place) is None]
            place = free[0] if free else min(range(WAYS), key=lambda each: rank(self._payload(bucket, each) or b""))
        record = key + payload
        checksum = zlib.crc32(record).to_bytes(_CHECKSUM_OCTETS, "little")
        self._file.write(start + place * self._record_octets, checksum + record)

    def remove(self, key: bytes) -> None:
        """Keep nothing under a key any more.

        Raises:
            OSError: It cannot be written.
        """
        start = self._bucket(key)
        place = self._find(self._file.read(start, self._bucket_octets), key)
        if place >= 0:
            self._file.write(start + place * self._record_octets, bytes(self._record_octets))

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the key and the content of every record; without the lock, one that is just written may be left out.

        Raises:
            OSError: The file cannot be read.
        """
        for start in range(self._offset, self.end, self._bucket_octets):
            bucket = self._file.read(start, self._bucket_octets)
            for place in range(WAYS):
                payload = self._payload(bucket, place)
                if payload is not None:
                    begin = place * self._record_octets + _CHECKSUM_OCTETS
                    yield bucket[begin : begin + KEY_OCTETS], payload

    def _bucket(self, key: bytes) -> int:
        return self._offset + int.from_bytes(key[:8], "little") % self._buckets * self._bucket_octets

    def _find(self, bucket: bytes, key: bytes) -> int:
        """Return which record of a bucket is whole and has this key; -1 for none."""
        keys = [bucket[begin : begin + KEY_OCTETS] for begin in self._key_places]
        if key not in keys:
            return -1
        place = keys.index(key)
        return -1 if self._payload(bucket, place) is None else place

    def _payload(self, bucket: bytes, place: int) -> bytes | None:
        """Return the content of a record; None when there is none, or when it is damaged."""
        begin = place * self._record_octets
        record = bucket[begin + _CHECKSUM_OCTETS : begin + self._record_octets]
        checksum = bucket[begin : begin + _CHECKSUM_OCTETS]
        if record.startswith(_EMPTY) or zlib.crc32(record).to_bytes(_CHECKSUM_OCTETS, "little") != checksum:
            return None
        return record[KEY_OCTETS:]


def keyed_hash(key: bytes, *parts: bytes, octets: int = KEY_OCTETS) -> bytes:
    """Return a keyed hash of some octets; where one part ends and the next begins is part of what is hashed."""
    digest = blake2b(digest_size=octets, key=key)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()
