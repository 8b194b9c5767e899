"""The header field ``Status``, as the Berkeley and Qualcomm popper write it into messages that stay.

Rule of this file: only the header is looked at, nothing but this field is changed, and a message whose header has no
end gets none.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from popframe_store_mbox.splice import Edit

READ = b"Status: RO"
"""Read, and not new: the message was retrieved whole."""

UNREAD = b"Status: U"
"""Not read, and no longer new."""

_STATUS = re.compile(rb"\n(Status:[^\n]*)", re.IGNORECASE)


class Stamp(NamedTuple):
    """What is to be written into one message.

    Attributes:
        edits: Changes to the file.
        octets_added: By how much the message becomes longer as it is sent; negative for shorter.
    """

    edits: list[Edit]
    octets_added: int

    @property
    def size_added(self) -> int:
        """By how much it becomes longer in the file."""
        return sum(len(edit.octets) - (edit.end - edit.start) for edit in self.edits)


def stamp(head: bytes, start: int, *, has_end: bool, is_read: bool) -> Stamp:
    """Return what is to be written.

    A field that is there is replaced when the message was read, and else left; without one, the last line of the
    header becomes one.

    Args:
        head: From_ line and header, without the line end of the last line (but for a CR).
        start: Where in the file it begins.
        has_end: A blank line follows.
        is_read: The message was retrieved whole.
    """
    cr = b"\r" if head.endswith(b"\r") else b""
    found = list(_STATUS.finditer(head))
    if found:
        lines = [match for match in found if match[1].rstrip(b"\r") != READ] if is_read else []
        edits = [Edit(start + match.start(1), start + match.end(1), READ + _cr_of(match[1])) for match in lines]
        added = Stamp(edits, 0).size_added
        return Stamp(edits, added)
    if not has_end:
        return Stamp([], 0)
    line = (READ if is_read else UNREAD) + cr + b"\n"
    at = start + len(head) + 1
    return Stamp([Edit(at, at, line)], len(line) + (not cr))


def _cr_of(line: bytes) -> bytes:
    return b"\r" if line.endswith(b"\r") else b""
