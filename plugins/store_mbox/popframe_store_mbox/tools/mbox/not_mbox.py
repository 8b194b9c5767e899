"""What a file is that the server refuses because it is no mbox file."""

from __future__ import annotations

import re

from popframe_store_mbox.file import read_at
from popframe_store_mbox.from_line import FROM_LINE, MAX_FROM_LINE_OCTETS, NEXT_FROM_LINE
from popframe_store_mbox.tools.mbox.finding import NOT_MBOX, Finding
from popframe_store_mbox.tools.mbox.lines import read_pieces, why_text

_BLANK_LINES = re.compile(rb"(?:\r?\n)*")
_KNOWN = (
    (re.compile(rb"\xef\xbb\xbf"), "a byte order mark, which some editors write and which has to go"),
    (re.compile(rb"\0"), "NUL octets, as some file systems leave after a crash"),
    (re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ\0|\x28\xb5\x2f\xfd"), "a compressed file"),
    (re.compile(rb"\*mbx\*\r\n"), "the mbx format of c-client"),
    (re.compile(rb"\x01\x01\x01\x01\n"), "the MMDF format"),
    (re.compile(rb">+From "), "a quoted From_ line"),
    (re.compile(rb"[!-9;-~]+[ \t]*:"), "a message without From_ line, as in a maildir or an .eml file"),
)
"""What stands at the beginning of files that are taken for mbox files."""


def explain(fd: int, size: int, reason: str, piece_octets: int) -> Finding:
    """Say what was found instead of a From_ line, and where the first one is.

    Args:
        fd: The open file.
        size: How much of it counts.
        reason: Why the server refuses it.
        piece_octets: How much to read at a time.

    Raises:
        FileChangedError: Another program has written to it.
        OSError: It cannot be read.
    """
    begin = read_at(fd, 2 * MAX_FROM_LINE_OCTETS, 0)
    blank = _BLANK_LINES.match(begin)
    start = blank.end() if blank else 0
    line = begin.count(b"\n", 0, start) + 1
    text = f"{reason}{_what_begins(begin[start:])}; {_first_from_line(fd, size, piece_octets)}"
    return Finding(NOT_MBOX, 1, start, line, text)


def _what_begins(begin: bytes) -> str:
    """Say what a file looks like; nothing when it looks like nothing known."""
    if begin.startswith(b"From "):
        line, line_end, _ = begin[:MAX_FROM_LINE_OCTETS].partition(b"\n")
        return f" ({why_text(line + line_end)})"
    return next((f" ({what})" for pattern, what in _KNOWN if pattern.match(begin)), "")


def _first_from_line(fd: int, size: int, piece_octets: int) -> str:
    """Say where the first From_ line is, if there is one further on."""
    line = 1
    for piece in read_pieces(fd, 0, size, piece_octets):
        place = -1
        if piece.begins_line and FROM_LINE.match(piece.octets):
            place = 0
        elif found := NEXT_FROM_LINE.search(piece.octets):
            place = found.start() + 1
        if place >= 0:
            line += piece.octets.count(b"\n", 0, place)
            return f"the first From_ line is line {line}, at offset {piece.offset + place}"
        line += piece.octets.count(b"\n")
    return "there is no From_ line in the file"
