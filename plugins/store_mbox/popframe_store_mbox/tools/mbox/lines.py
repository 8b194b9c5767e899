"""What is odd in the lines of one message, in pieces of any length.

Rule of this file: memory does not grow with the length of a message or of a line, and each octet is looked at by
methods of :class:`bytes`, never one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from popframe_store_mbox.file import read_at
from popframe_store_mbox.from_line import FROM_LINE, MAX_FROM_LINE_OCTETS
from popframe_store_mbox.tools.mbox.finding import (
    FROM_IN_TEXT,
    FROM_LINE_PROTECTED,
    LONE_CR,
    LONG_LINE,
    MIXED_LINE_ENDS,
    NO_LINE_END,
    NUL,
    QUOTED_FROM,
    Finding,
    Kind,
)
from popframe_store_mbox.tools.text import counted, quoted

PIECE_OCTETS = 1024 * 1024
"""Read at a time: as the scan, from here on larger reads are not faster."""

MAX_LINE_OCTETS = 998
"""Longest line without its line end (RFC 5322 section 2.1.1); relays may cut or refuse a longer one."""

_QUOTED_FROM = re.compile(rb">+From ")
_NEXT_QUOTED_FROM = re.compile(rb"\n>+From ")
_LONE_CR = re.compile(rb"\r(?!\n)")
_LONE_LF = re.compile(rb"(?<!\r)\n")
_DATE = (
    (re.compile(rb"[ \t](?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[ \t]"), "it has no date: no weekday from Mon to Sun"),
    (
        re.compile(rb"[ \t](?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[ \t]"),
        "its date is incomplete: no month from Jan to Dec behind the weekday",
    ),
    (re.compile(rb"[0-9]{1,2}[ \t]+[0-9]{1,2}:[0-9]{2}"), "its date is incomplete: no day and time as in '5 09:00:00'"),
    (re.compile(rb"[ \t][0-9]{4}(?![0-9])"), "its date is incomplete: no year behind the time"),
)
"""What a date must have, in this order, and what is said when it lacks it."""


class FileChangedError(Exception):
    """The file is not what it was a moment ago: another program has written to it."""


class Piece(NamedTuple):
    """Some octets of a message.

    Attributes:
        offset: Where they begin, from the start of the file.
        octets: Whole lines; or, of a very long line, a part that does not tear a CRLF apart.
        begins_line: A line begins where they begin.
    """

    offset: int
    octets: bytes
    begins_line: bool


def read_pieces(fd: int, start: int, end: int, piece_octets: int = PIECE_OCTETS) -> Iterator[Piece]:
    """Read a part of a file that begins with a line.

    Args:
        fd: The open file.
        start: Offset of the first octet.
        end: Offset of the one after the last.
        piece_octets: How much to read at a time: no less than the longest From_ line.

    Raises:
        FileChangedError: The file ends before that.
        OSError: It cannot be read.
    """
    begins_line = True
    while start < end:
        length = min(piece_octets, end - start)
        octets = read_at(fd, length, start)
        if len(octets) < length:
            raise FileChangedError
        if start + length < end:
            octets = octets[: octets.rfind(b"\n") + 1] or octets.removesuffix(b"\r")
        yield Piece(start, octets, begins_line)
        start += len(octets)
        begins_line = octets.endswith(b"\n")


def why_text(line: bytes) -> str:
    """Say why a line that begins with ``From`` and a blank does not separate messages.

    Args:
        line: The line with its line end, or as much of it as a From_ line may have.
    """
    if len(line) >= MAX_FROM_LINE_OCTETS:
        return "it is longer than any From_ line"
    if not line.endswith(b"\n"):
        return "it has no line end"
    position = len(b"From")
    for pattern, lacking in _DATE:
        found = pattern.search(line, position)
        if found is None:
            return lacking
        position = found.end() - 1
    return "its date is not of the form 'Mon Jan  5 09:00:00 2026', or more stands behind it"


@dataclass(slots=True)
class _Tally:
    """How often something was seen, where first, and what is to be said of it."""

    count: int
    offset: int
    line: int
    text: str


class LineCheck:
    """The lines of one message; takes its octets piece by piece.

    Attributes:
        line: Number of the line in which the octets taken so far end, from 1.
    """

    def __init__(self, content: int, end: int, line: int) -> None:
        """Begin a message.

        Args:
            content: Where its header begins.
            end: Where its text ends.
            line: The line in which its header begins.
        """
        self.line = line
        self._end = end
        self._piece = Piece(content, b"", begins_line=True)
        self._piece_line = line
        self._tallies: dict[tuple[Kind, str], _Tally] = {}
        self._line_start = content
        self._longest_octets = 0
        self._crlf_count = self._lf_count = 0
        self._last_octet = b"\n"

    def take(self, piece: Piece) -> None:
        """Look at the next octets; what stands behind the text only helps to judge its last line."""
        self._piece = piece
        self._piece_line = self.line
        octets = piece.octets
        stop = min(len(octets), self._end - piece.offset)
        if stop > 0:
            self._take_from_lines(octets, stop)
            self._take_quoted(octets, stop)
            self._take_line_ends(octets, stop)
            self._take_long_lines(octets, stop)
            if nul_count := octets.count(b"\0", 0, stop):
                self._count(NUL, octets.find(b"\0"), nul_count)
            self._last_octet = octets[stop - 1 : stop]
        self.line += octets.count(b"\n")

    def findings(self) -> Iterator[Finding]:
        """Yield what was found, when all of the message was taken."""
        if self._end - self._line_start > MAX_LINE_OCTETS:
            self._count_long_line(self._line_start, self._end - self._line_start)
        if self._last_octet != b"\n":
            self._count(NO_LINE_END, self._end - 1 - self._piece.offset)
        for (kind, _), tally in self._tallies.items():
            yield Finding(kind, tally.count, tally.offset, tally.line, self._in_words(kind, tally))

    def _count(self, kind: Kind, place: int, count: int = 1, reason: str = "") -> _Tally | None:
        """Count something that was seen in the present piece; return its tally when it is the first."""
        known = self._tallies.get((kind, reason))
        if known is not None:
            known.count += count
            return None
        line = self._piece_line + self._piece.octets.count(b"\n", 0, max(place, 0))
        tally = self._tallies[kind, reason] = _Tally(count, self._piece.offset + place, line, "")
        return tally

    def _take_from_lines(self, octets: bytes, stop: int) -> None:
        """Find lines that begin as a From_ line does."""
        if self._piece.begins_line and octets.startswith(b"From ", 0, stop):
            self._take_from_line(octets, 0)
        found = octets.find(b"\nFrom ", 0, stop)
        while found >= 0:
            self._take_from_line(octets, found + 1)
            found = octets.find(b"\nFrom ", found + 1, stop)

    def _take_from_line(self, octets: bytes, place: int) -> None:
        line_end = octets.find(b"\n", place, place + MAX_FROM_LINE_OCTETS)
        line = octets[place : place + MAX_FROM_LINE_OCTETS if line_end < 0 else line_end + 1]
        if FROM_LINE.match(line):
            if tally := self._count(FROM_LINE_PROTECTED, place):
                tally.text = f"{quoted(line)} is text, because Content-Length says so; other programs may split here"
            return
        reason = why_text(line)
        if tally := self._count(FROM_IN_TEXT, place, reason=reason):
            tally.text = f"{quoted(line)} is text: {reason}"

    def _take_quoted(self, octets: bytes, stop: int) -> None:
        """Find lines of ``>`` signs and ``From``."""
        if b">From " not in octets:
            return
        if self._piece.begins_line and _QUOTED_FROM.match(octets, 0, stop):
            self._count(QUOTED_FROM, 0)
        for found in _NEXT_QUOTED_FROM.finditer(octets, 0, stop):
            self._count(QUOTED_FROM, found.start() + 1)

    def _take_line_ends(self, octets: bytes, stop: int) -> None:
        """Count line ends, and each CR that belongs to none."""
        had_crlf, had_lf = self._crlf_count > 0, self._lf_count > 0
        crlf_count = 0
        if b"\r" in octets:
            crlf_count = octets.count(b"\r\n", 0, stop)
            if lone_count := octets.count(b"\r", 0, stop) - crlf_count:
                self._count(LONE_CR, _place(_LONE_CR, octets, stop), lone_count)
        self._crlf_count += crlf_count
        self._lf_count += octets.count(b"\n", 0, stop) - crlf_count
        if self._crlf_count and self._lf_count and not (had_crlf and had_lf):
            first_crlf = 0 if had_crlf else octets.find(b"\r\n")
            first_lf = 0 if had_lf else _place(_LONE_LF, octets, stop)
            self._count(MIXED_LINE_ENDS, max(first_crlf, first_lf))

    def _take_long_lines(self, octets: bytes, stop: int) -> None:
        """Find lines that are too long, by leaps from line end to line end that only a long line makes impossible."""
        place = self._line_start - self._piece.offset
        while place < stop:
            first = max(place, 0)
            leap = octets.rfind(b"\n", first, min(stop, max(first, place + MAX_LINE_OCTETS + len(b"\r\n"))))
            if leap < 0:
                leap = octets.find(b"\n", max(first, place + MAX_LINE_OCTETS), stop)
                if leap < 0:
                    break  # the line goes on in the next piece
            length = leap - place - octets.endswith(b"\r", first, leap)
            if length > MAX_LINE_OCTETS and octets.find(b"\n", first, leap) < 0:
                self._count_long_line(self._piece.offset + place, length)
            place = leap + 1
        self._line_start = self._piece.offset + place

    def _count_long_line(self, offset: int, length: int) -> None:
        """Count a line that ends in the present piece, or with the text."""
        self._longest_octets = max(self._longest_octets, length)
        if tally := self._count(LONG_LINE, max(offset - self._piece.offset, 0)):
            tally.offset = offset

    def _in_words(self, kind: Kind, tally: _Tally) -> str:
        """Say what was found."""
        count = tally.count
        if tally.text:
            return tally.text if count == 1 else f"{tally.text} (the first of {count} such lines)"
        if kind is QUOTED_FROM:
            return f"{counted(count, 'line')} quoted as '>From ', sent as stored: nobody can tell who quoted it"
        if kind is NUL:
            return f"{counted(count, 'NUL octet')}; some clients stop reading there (setting pop3.replace_nul)"
        if kind is LONE_CR:
            return f"{count} CR without LF behind it, sent as it is; some clients take it for a line end"
        if kind is MIXED_LINE_ENDS:
            return f"{counted(self._lf_count, 'line')} with LF and {self._crlf_count} with CRLF; all are sent with CRLF"
        if kind is LONG_LINE:
            longest = f"the longest with {self._longest_octets}"
            return f"{counted(count, 'line')} over {MAX_LINE_OCTETS} octets (RFC 5322 section 2.1.1), {longest}"
        return "the last line has no line end; one is added when it is sent"


def _place(pattern: re.Pattern[bytes], octets: bytes, stop: int) -> int:
    """Return where a pattern is found for the first time, which was counted there."""
    found = pattern.search(octets, 0, stop)
    return found.start() if found else 0
