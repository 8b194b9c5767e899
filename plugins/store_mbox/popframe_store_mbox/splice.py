"""What a file is to hold: octets of files and new ones, one after the other.

Rule of this file: what is not yet needed is not read, and what was passed on is forgotten; memory does not grow with
the length of a spool.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from popframe import TemporaryFailure
from popframe_store_mbox.file import read_at

BUFFER_OCTETS = 1024 * 1024
"""Read, and passed on, at a time: with many short spans one system call does the work of hundreds."""


class Span(NamedTuple):
    """Octets of an open file.

    Attributes:
        fd: The file.
        start: The first of them.
        end: The one after the last.
    """

    fd: int
    start: int
    end: int


Part = Span | bytes
"""Octets that are somewhere, or new ones."""


class Edit(NamedTuple):
    """One change to a file: other octets in place of some, or of none.

    Attributes:
        start: The first octet that goes; where the new ones come.
        end: The one after the last.
        octets: The new ones; empty for a removal.
    """

    start: int
    end: int
    octets: bytes = b""


def merged(edits: Iterable[Edit]) -> list[Edit]:
    """Join edits, given in order, that touch."""
    joined: list[Edit] = []
    for edit in edits:
        if joined and joined[-1].end == edit.start:
            before = joined[-1]
            joined[-1] = Edit(before.start, edit.end, before.octets + edit.octets)
        else:
            joined.append(edit)
    return joined


def edited(fd: int, start: int, end: int, edits: Sequence[Edit]) -> list[Part]:
    """Return what a part of a file holds after some edits, which lie in it, in order and apart from each other."""
    parts: list[Part] = []
    at = start
    for edit in edits:
        if at < edit.start:
            parts.append(Span(fd, at, edit.start))
        if edit.octets:
            parts.append(edit.octets)
        at = edit.end
    if at < end:
        parts.append(Span(fd, at, end))
    return parts


def buffers(parts: Iterable[Part]) -> Iterator[bytes]:
    """Yield the octets of all parts, :data:`BUFFER_OCTETS` or less at a time.

    Raises:
        TemporaryFailure: A file ends before one of its spans does.
        OSError: It cannot be read.
    """
    window = _Window()
    pieces: list[memoryview] = []
    size = 0
    for part in parts:
        for piece in (memoryview(part),) if isinstance(part, bytes) else window.pieces(part):
            if size + len(piece) > BUFFER_OCTETS and pieces:
                yield b"".join(pieces)
                pieces, size = [], 0
            pieces.append(piece)
            size += len(piece)
    if pieces:
        yield b"".join(pieces)


class _Window:
    """What was read last: many short spans of one file come from a few reads."""

    def __init__(self) -> None:
        self._fd = -1
        self._start = 0
        self._octets = memoryview(b"")

    def pieces(self, span: Span) -> Iterator[memoryview]:
        """Yield the octets of a span."""
        at = span.start
        while at < span.end:
            first = at - self._start
            if span.fd != self._fd or not 0 <= first < len(self._octets):
                self._fd, self._start, first = span.fd, at, 0
                self._octets = memoryview(read_at(span.fd, BUFFER_OCTETS, at))
                if not self._octets:
                    raise TemporaryFailure(f"a file ends at octet {at}, before octet {span.end}")
            piece = self._octets[first : span.end - self._start]
            yield piece
            at += len(piece)
