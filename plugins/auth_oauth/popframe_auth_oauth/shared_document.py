"""A document that all processes of a server share, and what is known of its fetching.

It lies in memory without a name (memfd_create(2)), and nothing is left of it when the server ends. Whoever can change
it can log in as anybody. So what fork(2) hands down is a mere place (O_PATH), which is opened for each use, with the
rights of whoever does that: with isolation ``per-user``, a process that is root can, and one that talks to clients
cannot.

Rule of this file: only the holder of the lock writes; whoever reads needs no lock, and sees a whole document or none.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

_DIGEST_OCTETS = 16
_HEAD = struct.Struct("=ddI")
"""When fetched, when tried, octets of the document. Before it stands the digest of all that follows, then the rest."""

LONG_AGO = float("-inf")


@dataclass(frozen=True, slots=True)
class Document:
    """One version.

    Attributes:
        content: The document; empty when there was never one.
        fetched_at: When it was fetched, as time.monotonic() says it, which is the same for all processes.
        tried_at: When it was last tried to fetch it; later than ``fetched_at`` when that has failed.
    """

    content: bytes = b""
    fetched_at: float = LONG_AGO
    tried_at: float = LONG_AGO


class SharedDocument:
    """The document as all processes see it that were forked from the one that made this object, and are its user."""

    def __init__(self, max_octets: int) -> None:
        """Make an empty one, that can take so many octets."""
        self._max_octets = max_octets
        self._latest = b"", Document()
        descriptor = os.memfd_create("popframe-keys")
        try:
            os.fchmod(descriptor, 0o600)
            place = os.open(f"/proc/self/fd/{descriptor}", os.O_PATH | os.O_CLOEXEC)
        finally:
            os.close(descriptor)
        weakref.finalize(self, os.close, place)
        self._path = f"/proc/self/fd/{place}"

    def read(self) -> Document:
        """Return the document; an empty one when there is none, or when its writer was killed half-way."""
        with self._opened() as descriptor:
            head = os.pread(descriptor, _DIGEST_OCTETS + _HEAD.size, 0)
            digest, head = head[:_DIGEST_OCTETS], head[_DIGEST_OCTETS:]
            known, latest = self._latest
            if digest and digest == known:
                return latest
            if len(head) < _HEAD.size:
                return Document()
            fetched_at, tried_at, length = _HEAD.unpack(head)
            content = os.pread(descriptor, min(length, self._max_octets), _DIGEST_OCTETS + _HEAD.size)
        if _digest(head + content) != digest:
            return Document()
        latest = Document(content, fetched_at, tried_at)
        self._latest = digest, latest  # in one step: other threads read it
        return latest

    def write(self, document: Document) -> None:
        """Let a document count for all processes; only within :meth:`lock`."""
        head = _HEAD.pack(document.fetched_at, document.tried_at, len(document.content))
        octets = head + document.content
        with self._opened() as descriptor:
            os.pwrite(descriptor, _digest(octets) + octets, 0)  # memory: it takes all, or there is none left

    @contextlib.contextmanager
    def lock(self, *, wait: bool = True) -> Iterator[bool]:
        """Keep out every other thread and process; the lock ends with the process, too.

        Yields:
            False when somebody else has it, and ``wait`` is false.
        """
        with self._opened() as descriptor:  # flock(2) is between descriptors that were opened apart
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _digest(octets: bytes) -> bytes:
    return blake2b(octets, digest_size=_DIGEST_OCTETS).digest()
