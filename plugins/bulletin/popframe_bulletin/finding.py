"""Finding the messages of a delivery in a maildrop, whole or torn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from popframe import Maildrop
from popframe_bulletin.composing import MARK

HEAD_OCTETS = 4096
"""How far from the beginning the mark is looked for: it is the first field, but for what a store puts before it."""

MIN_STUMP_OCTETS = len(b"X-Bulletin-")
"""What of the mark must be left of a message that was torn there, for it to be taken for one of this plugin's."""

_QUOTED_FROM = re.compile(rb"(?m)^>+From ")


@dataclass(frozen=True, slots=True)
class Found:
    """One message of a delivery.

    Attributes:
        index: Where it is in the maildrop.
        length: How long its text is.
    """

    index: int
    length: int


def mark_of(token: str, position: int) -> str:
    """Return what stands in the mark of one message of a delivery."""
    return f"{token}.{position}"


def find(maildrop: Maildrop, token: str, count: int) -> Mapping[int, Found]:
    """Return the messages of a delivery by their position in it; the newest mail is looked at first.

    One that was torn within its mark has the position behind the last.

    Args:
        maildrop: Where to look.
        token: What stands in their mark.
        count: How many there are at most.

    Raises:
        Refusal: A message cannot be read.
    """
    mark = re.compile(rb"(?m)^" + re.escape(MARK) + rb": " + token.encode("ascii") + rb"\.([0-9]+)\r?$")
    found: dict[int, Found] = {}
    for index in reversed(range(len(maildrop.message_octets()))):
        pieces = maildrop.read_message(index)
        head = b""
        for piece in pieces:
            head += piece
            if len(head) >= HEAD_OCTETS:
                break
        if match := mark.search(head[:HEAD_OCTETS]):
            found[int(match[1])] = Found(index, text_length(head + b"".join(pieces)))
            if len(found) == count:
                break
        elif len(stump := head.strip()) >= MIN_STUMP_OCTETS and (MARK + b": " + token.encode("ascii")).startswith(
            stump
        ):
            found[count] = Found(index, 0)
    return found


def text_length(content: bytes) -> int:
    """Return how long the text of a message is, however a store writes it.

    That is, behind the header; line ends as LF, those at the end left out, and From_ lines as they were before somebody
    quoted them.
    """
    content = content.replace(b"\r\n", b"\n")
    text = content if content.startswith(b"\n") else content.partition(b"\n\n")[2]
    return len(_QUOTED_FROM.sub(b"From ", text.strip(b"\n")))
