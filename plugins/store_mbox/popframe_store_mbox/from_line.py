"""The From_ line: what separates the messages of an mbox file.

Rule of this file: a line is a separator only when it ends in a date as ctime(3) writes it, with the liberties that
mail programs take: seconds may be missing, a time zone may stand before or after the year, UUCP's ``remote from`` may
follow, and the sender may hold blanks or be missing. Every form has a greatest length, so that no line takes long to
judge.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

MAX_FROM_LINE_OCTETS = 2048
"""More than the longest line that the pattern below can match, line end included."""

NULL_SENDER = "MAILER-DAEMON"
"""What mail programs write for the null sender ``<>`` of a bounce (RFC 5321 section 4.5.5)."""

MAX_SENDER_OCTETS = 320
"""64 octets, an at sign and 255 octets (RFC 5321 section 4.5.3.1)."""

_BLANK = rb"[ \t]{1,8}"
_ZONE = rb"(?:" + _BLANK + rb"(?:[A-Z]{1,5}(?: DST)?|[+-][0-9]{4}))?"
_FROM_LINE = (
    rb"From [^\n]{0,998}?(?<=[ \t])(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
    + _BLANK
    + rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
    + _BLANK
    + rb"[0-9]{1,2}"
    + _BLANK
    + rb"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?"
    + _ZONE
    + _BLANK
    + rb"[0-9]{4}"
    + _ZONE
    + rb"(?:[ \t]{1,8}remote from [^\s]{1,255})?[ \t]{0,8}(?=(\r?\n))"
)

FROM_LINE = re.compile(_FROM_LINE)
"""Matches at the start of a line; group 1 is the line end, which the match leaves to its successor."""

NEXT_FROM_LINE = re.compile(rb"\n" + _FROM_LINE)
"""Finds a From_ line after the first; its literal beginning makes it as fast as a search for these six octets."""


def make_from_line(sender: str, received: datetime) -> bytes:
    """Return the From_ line, with its line end, for a message that arrives.

    Args:
        sender: Envelope sender; what cannot stand in the line is replaced.
        received: With a time zone; the line has no place for one, so it is written in UTC.
    """
    octets = re.sub(rb"[^!-~\x80-\xff]", b"_", sender.encode("utf-8", "replace"))[:MAX_SENDER_OCTETS]
    date = time.asctime(received.astimezone(UTC).utctimetuple())
    return b"From %b %b\n" % (octets or NULL_SENDER.encode(), date.encode())


def missing_separator(tail: bytes) -> bytes:
    """Return what has to follow a file before the next message can: what is missing to a blank line at its end.

    Args:
        tail: The last three octets of the file, or all.
    """
    if not tail or tail.endswith((b"\n\n", b"\n\r\n")):
        return b""
    return missing_line_end(tail) + b"\n"


def missing_line_end(text: bytes) -> bytes:
    """Return what ends the last line; after a lone CR it must not make one line end of both."""
    if not text or text.endswith(b"\n"):
        return b""
    return b"\r\n" if text.endswith(b"\r") else b"\n"
