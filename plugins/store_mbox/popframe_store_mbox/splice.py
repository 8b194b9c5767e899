"""What a file is to hold: octets of files and new ones, one after the other.

Rule of this file: what is not yet needed is not read, and what was passed on is forgotten; memory does not grow with
the length of a spool.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from popframe import TemporaryFailure

BUFFER_OCTETS = 1024 * 1024
"""Passed on at a time: of many short spans one system call writes hundreds."""


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


def edited(fd: int, start: int, end: int, edits: Iterable[Edit]) -> list[Part]:
    """Return what a part of a file holds after some edits, which lie in it, in order and apart from each other."""
    parts: list[Part] = []
    at = start
    for edit_start, edit_end, octets in edits:
        if at < edit_start:
            parts.append(Span(fd, at, edit_start))
        if octets:
            parts.append(octets)
        at = edit_end
    if at < end:
        parts.append(Span(fd, at, end))
    return parts


def buffers(parts: Iterable[Part]) -> Iterator[memoryview]:
    """Yield the octets of all parts, :data:`BUFFER_OCTETS` at a time; what was yielded is overwritten by the next.

    Raises:
        TemporaryFailure: A file ends before one of its spans does.
        OSError: It cannot be read.
    """
    # One for all: the system has to find and clear the pages of a new one, which takes longer than to fill it.
    buffer = memoryview(mmap.mmap(-1, BUFFER_OCTETS, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    size = 0
    for part in parts:
        fd, at, end = part if isinstance(part, Span) else (-1, 0, len(part))
        while at < end:
            if size == BUFFER_OCTETS:
                yield buffer
                size = 0
            room = buffer[size : size + end - at]
            if isinstance(part, Span):
                got = os.preadv(fd, [room], at)
            else:
                got = len(room)
                room[:] = part[at : at + got]
            if not got:
                raise TemporaryFailure(f"a file ends at octet {at}, before octet {end}")
            at += got
            size += got
    if size:
        yield buffer[:size]
