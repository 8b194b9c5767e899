"""What can be said about an mbox file: the kinds of findings, and a finding.

Rule of this file: a kind is odd when somebody may have to do something about it, or when another program may make
something else of the file; the rest are notes, which do not count for the exit status.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding.

    Attributes:
        name: Its name in JSON.
        is_odd: It is more than a note.
        title: What it is called in the summary.
    """

    name: str
    is_odd: bool
    title: str


NOT_MBOX = Kind("not-mbox", True, "not an mbox file")
CHANGED = Kind("changed", True, "changed while it was read")
LEADING_BLANK_LINES = Kind("leading-blank-lines", False, "blank lines before the first From_ line")
PSEUDO_MESSAGE = Kind("pseudo-message", False, "hidden pseudo message")

NO_BLANK_LINE = Kind("no-blank-line", True, "no blank line before the From_ line")
EMPTY = Kind("empty", True, "no header and no text")
NO_FIELD_FIRST = Kind("no-field-first", True, "header that does not begin with a field")
NO_HEADER_END = Kind("no-header-end", True, "header without an end")
CONTENT_LENGTH_BELIEVED = Kind("content-length-believed", False, "Content-Length that is believed")
CONTENT_LENGTH_IGNORED = Kind("content-length-ignored", True, "Content-Length that is ignored")
FROM_LINE_PROTECTED = Kind("from-line-protected", True, "From_ line in the text, protected by Content-Length")
FROM_IN_TEXT = Kind("from-in-text", True, "line that begins with 'From ' and is text")
QUOTED_FROM = Kind("quoted-from", False, "line quoted as '>From '")
NUL = Kind("nul", True, "NUL octet")
LONE_CR = Kind("lone-cr", True, "CR without LF")
MIXED_LINE_ENDS = Kind("mixed-line-ends", True, "both LF and CRLF line ends")
LONG_LINE = Kind("long-line", True, "line over 998 octets")
NO_LINE_END = Kind("no-line-end", True, "last line without a line end")
COPY = Kind("copy", True, "copy of an earlier message")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found, once or several times within a message.

    Attributes:
        kind: What it is.
        count: How often it is there.
        offset: Where it is for the first time, from the start of the file.
        line: The line of the file, from 1, that this is in.
        text: The same in words.
    """

    kind: Kind
    count: int
    offset: int
    line: int
    text: str
