"""An mbox file of a group, as it was when it was opened; nothing here ever writes.

Rule of this file: what other programs append later is not seen, and what they change is never sent for what was there.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from popframe import TemporaryFailure

READ_OCTETS = 65_536
"""Read at a time, and longest piece of a line that is looked at."""

LOCK_SECONDS = 5.0
"""How long a program that appends to the file may take."""

LOCK_POLL_SECONDS = 0.05

UID_OCTETS = 16
"""Of a digest: 32 hexadecimal digits of the 70 characters that RFC 1939 section 7 allows."""

_FROM = b"From "


@dataclass(slots=True)
class Found:
    """Where a message is.

    Attributes:
        mark: Offset of its From_ line.
        start: Offset behind that; 0 while it has not ended.
        text: Offset behind its header, of the blank line.
        end: Offset behind its last octet.
        octets: Size as sent, with CRLF line ends.
        digest: Of From_ line and header.
    """

    mark: int
    start: int = 0
    text: int = 0
    end: int = 0
    octets: int = 0
    digest: bytes = b""


class _Scanner:
    """Takes a file line by line."""

    def __init__(self) -> None:
        self.found: list[Found] = []
        self._digest = hashlib.blake2b(digest_size=UID_OCTETS)
        self._position = 0
        self._blank = 1  # octets of the blank line that has just come; the beginning of the file is as good as one
        self._begins_line = True
        self._after_cr = False

    def take(self, piece: bytes) -> None:
        """Take a line, or a piece of a long one."""
        is_blank = self._begins_line and piece in (b"\n", b"\r\n")
        if self._begins_line and self._blank and piece.startswith(_FROM):
            self.close()
            self.found.append(Found(self._position))
            self._digest = hashlib.blake2b(digest_size=UID_OCTETS)
        self._position += len(piece)
        if self.found:
            self._take_for(self.found[-1], piece, is_blank=is_blank)
        self._blank = len(piece) if is_blank else 0
        self._begins_line = piece.endswith(b"\n")
        self._after_cr = piece.endswith(b"\r")

    def _take_for(self, message: Found, piece: bytes, *, is_blank: bool) -> None:
        if is_blank and message.start and not message.text:
            message.text = self._position - len(piece)
        if not message.text:
            self._digest.update(piece)
        if not message.start:
            if piece.endswith(b"\n"):
                message.start = self._position
            return
        is_bare = piece.endswith(b"\n") and not (piece.endswith(b"\r\n") or (piece == b"\n" and self._after_cr))
        message.octets += len(piece) + is_bare

    def close(self) -> None:
        """End the message that is open; a blank line behind it is none of its own."""
        if not self.found:
            return
        message = self.found[-1]
        if not message.start:  # the file ends in the middle of a From_ line: no message yet
            self.found.pop()
            return
        message.text = message.text or self._position
        message.end = self._position
        if self._blank and self._position > message.start:
            message.end -= self._blank
            message.octets -= len(b"\r\n")
        elif not self._begins_line:
            message.octets += len(b"\r\n")
        message.digest = self._digest.digest()


def scan(descriptor: int, length: int) -> list[Found]:
    """Find the messages in the first octets of a file; what stands before the first From_ line is none."""
    scanner = _Scanner()
    with os.fdopen(os.dup(descriptor), "rb", buffering=READ_OCTETS) as file:
        file.seek(0)
        left = length
        while left > 0 and (piece := file.readline(min(READ_OCTETS, left))):
            scanner.take(piece)
            left -= len(piece)
    scanner.close()
    return scanner.found


def settled_length(descriptor: int) -> int:
    """Return the length of a file at a moment when nobody appends to it.

    Raises:
        TemporaryFailure: There was no such moment.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                length = os.fstat(descriptor).st_size
                fcntl.lockf(descriptor, fcntl.LOCK_UN)
                return length
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise TemporaryFailure("another program has the file of a group locked") from error
            time.sleep(LOCK_POLL_SECONDS)


class GroupMaildrop:
    """The messages of one file; see :class:`popframe.Maildrop`."""

    def __init__(self, descriptor: int, found: Sequence[Found], salt: str) -> None:
        """Take over an open file.

        Args:
            descriptor: It is closed in the end.
            found: What is in it.
            salt: Keeps its unique-ids apart from those of other files.
        """
        self._descriptor = descriptor
        self._found = found
        self._uids = list(_uids(found, salt))

    def message_octets(self) -> Sequence[int]:
        """Return the sizes."""
        return [message.octets for message in self._found]

    def message_uids(self) -> Sequence[str]:
        """Return the unique-ids: they stay when messages come, or go."""
        return self._uids

    def read_message(self, index: int) -> Iterator[bytes]:
        """Yield a message.

        Raises:
            TemporaryFailure: It is not where it was.
        """
        message = self._found[index]
        digest = hashlib.blake2b(digest_size=UID_OCTETS)
        for piece in self._read(message.mark, message.text):
            digest.update(piece)
        if digest.digest() != message.digest:
            raise TemporaryFailure("the file of a group was changed while it was open")
        return self._read(message.start, message.end)

    def commit(self, deleted: AbstractSet[int], seen: AbstractSet[int]) -> None:
        """Do nothing; it is never called."""

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _read(self, position: int, end: int) -> Iterator[bytes]:
        while position < end and (piece := os.pread(self._descriptor, min(READ_OCTETS, end - position), position)):
            position += len(piece)
            yield piece


def _uids(found: Sequence[Found], salt: str) -> Iterator[str]:
    copies: Counter[bytes] = Counter()
    for message in found:
        copies[message.digest] += 1
        uid = hashlib.blake2b(message.digest, digest_size=UID_OCTETS, key=salt.encode()[:64]).hexdigest()
        yield uid if copies[message.digest] == 1 else f"{uid}-{copies[message.digest]}"
