"""Whether the scan has believed a Content-Length, and why not.

Rule of this file: a Content-Length is believed if the text ends where it says. The scan believes one that ends at a
From_ line or at the end of the file, give or take the blank line; there the text ends then, and nowhere else could a
text end that ended there without it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from popframe_store_mbox.columns import Index
from popframe_store_mbox.file import read_at
from popframe_store_mbox.scan import MAX_HEADER_OCTETS
from popframe_store_mbox.tools.mbox.finding import CONTENT_LENGTH_BELIEVED, CONTENT_LENGTH_IGNORED, Finding, Kind
from popframe_store_mbox.tools.mbox.lines import FileChangedError
from popframe_store_mbox.tools.text import SHOWN_OCTETS, quoted

BLANK_LINE_ENDS = (b"\n\n", b"\n\r\n")
"""A line end, and a blank line behind it."""

_FIELD = re.compile(rb"\nContent-Length[ \t]*:([^\n]*)", re.IGNORECASE)
_LENGTH = re.compile(rb"[ \t]*([0-9]{1,18})[ \t]*\r?")


def has_header_end(index: Index, message: int) -> bool:
    """Tell whether the scan has seen the blank line that ends the header.

    Without it, it takes the header to reach as far as it has looked; with it, the blank line is still before that.
    """
    return index.header_end[message] < min(index.next[message], index.start[message] + MAX_HEADER_OCTETS)


def judge_content_length(fd: int, index: Index, message: int, line: int, head: bytes) -> Iterator[Finding]:
    """Say whether a message's Content-Length is believed, if it has one.

    Args:
        fd: The open file.
        index: What the scan made of it.
        message: Which message, from 0.
        line: The line of its From_ line.
        head: Its From_ line and header, as the scan has seen them.

    Raises:
        FileChangedError: Another program has written to the file.
        OSError: It cannot be read.
    """
    fields = list(_FIELD.finditer(head))
    if not fields:
        return
    values = {value[1] for field in fields if (value := _LENGTH.fullmatch(field[1]))}
    kind = CONTENT_LENGTH_IGNORED
    if not values:
        text = f"{quoted(fields[0][1].strip())} is not a number of octets"
    elif len(values) > 1:
        text = "there are several, which differ"
    elif not has_header_end(index, message):
        text = "the header has no end to count from"
    else:
        kind, text = _judge_length(fd, index, message, int(values.pop()))
    verdict = "is believed" if kind is CONTENT_LENGTH_BELIEVED else "is ignored"
    place = fields[0].start() + 1
    field_line = line + head.count(b"\n", 0, place)
    yield Finding(kind, 1, index.start[message] + place, field_line, f"Content-Length {verdict}: {text}")


def _judge_length(fd: int, index: Index, message: int, length: int) -> tuple[Kind, str]:
    """Say where a text of this length would end, and what is there."""
    header_end = index.header_end[message]
    behind_header = read_at(fd, 3, header_end)
    blank_line = next(filter(behind_header.startswith, BLANK_LINE_ENDS), None)
    if blank_line is None:
        raise FileChangedError
    target = header_end + len(blank_line) + length
    if target == index.end[message]:
        what = "at the end of the file" if index.next[message] == index.size else "at a From_ line"
        return CONTENT_LENGTH_BELIEVED, f"{length} octets of text end {what}"
    if target >= index.size:
        beyond = f"{target - index.size} octets beyond the end of the file"
        return CONTENT_LENGTH_IGNORED, f"{length} octets of text would end {beyond}"
    number = bisect_right(index.start, target)
    where = "in this message" if number == message + 1 else f"in message {number}"
    octets = read_at(fd, 2 * SHOWN_OCTETS, target)
    there = "a line end" if octets.startswith((b"\n", b"\r\n")) else quoted(octets)
    text = f"{length} octets of text would end at offset {target}, {where}, where no From_ line is but {there}"
    return CONTENT_LENGTH_IGNORED, text
