"""``XTND XLST``: one header field of all messages, in one round trip (from the Berkeley popper)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from popframe import CommandContext, NoSuchMessage, Reply

MAX_HEADER_OCTETS = 262_144
"""How much of a message is looked at: what is longer is no header that a person or program has written."""

_END_OF_HEADER = re.compile(rb"\r?\n\r?\n|\A\r?\n")


def xlst(context: CommandContext, arguments: Sequence[str]) -> Reply:
    """``XTND XLST header [message]``: list the first field of each message whose line begins with the text.

    Messages that are marked as deleted are passed over. Nothing counts as read.

    Raises:
        NoSuchMessage: There is no message of that number.
    """
    start, *number = arguments
    indexes: Iterable[int] = range(context.message_count) if not number else [_index(context, number[0])]
    body = _fields(context, indexes, start.encode("utf-8", "surrogateescape"))
    return Reply("xlst command accepted; headers coming.", body=body)


def _index(context: CommandContext, number: str) -> int:
    """Return the index of a message, marked or not: of one that is marked the ancestor lists nothing."""
    digits = number.lstrip("0")
    most = context.message_count
    if not (number.isascii() and number.isdigit()) or len(digits) > len(str(most)) or not 1 <= int(digits or 0) <= most:
        raise NoSuchMessage(f"message-number {number!r}")
    return int(digits) - 1


def _fields(context: CommandContext, indexes: Iterable[int], start: bytes) -> Iterator[bytes]:
    pattern = re.compile(rb"^" + re.escape(start) + rb".*(?:\n[ \t].*)*", re.MULTILINE | re.IGNORECASE)
    for index in indexes:
        if not context.is_deleted(index):
            field = pattern.search(header(context.read_message(index)))
            if field is not None:
                yield b"%d %b\n" % (index + 1, field.group().rstrip(b"\r"))


def header(pieces: Iterator[bytes]) -> bytes:
    """Return the header of a message without the blank line that ends it; its beginning if it is too long."""
    found = b""
    for piece in pieces:
        looked_at = max(0, len(found) - 3)
        found += piece
        end = _END_OF_HEADER.search(found, looked_at)
        if end is not None:
            return found[: end.start()]
        if len(found) >= MAX_HEADER_OCTETS:
            break
    return found[:MAX_HEADER_OCTETS].rstrip(b"\r\n")
