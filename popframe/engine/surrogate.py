"""A message with a header in ASCII, for clients that have not said UTF8 (RFC 6856 section 2.1).

Rule of this file: a surrogate has exactly as many octets as the message. Sizes are told before anybody has looked at a
header, and what has been told must be true (RFC 1939 section 11). Text beyond ASCII takes more room when it is encoded;
the room is that of signatures, which do not fit a surrogate any more, and of the oldest trace fields. Where that is not
enough the message is sent as it is, against the RFC: most clients remove what they have fetched, and letters that are
replaced by something shorter would be lost for good.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from popframe.engine.encoded_word import declared_charset, field_in_ascii

MAX_HEADER_OCTETS = 32 * 1024
"""Longest header that is held in memory. A longer one is sent as it is."""

MARK = b"X-Popframe-Surrogate: yes"
"""The field that says what this is, and fills what room is left."""

_MARK_LINE_OCTETS = 76
_HEADER_END = b"\r\n\r\n"
_FIRST_FIELD = re.compile(rb">?From |[!-9;-~]+[ \t]*:")
_FIELD_START = re.compile(rb"(?<=\r\n)(?![ \t])")
_SIGNATURE = re.compile(
    rb"(DKIM-Signature|DomainKey-Signature|X-Google-DKIM-Signature|ARC-[A-Za-z-]+|Authentication-Results|Received-SPF)"
    rb"[ \t]*:",
    re.IGNORECASE,
)
_TRACE = re.compile(rb"(X-)?Received[ \t]*:", re.IGNORECASE)


def with_header_in_ascii(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Return the pieces of a message as they are, or those of a surrogate if its header goes beyond ASCII.

    A message that does not begin with a header field has no header.

    Args:
        pieces: Octets with CRLF line ends, no piece ending between CR and LF.
    """
    head = next(pieces, b"")
    end = head.find(_HEADER_END)
    if end >= 0 and head[:end].isascii():
        return chain((head,), pieces)
    return _looked_at(head, pieces)


def _looked_at(head: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    head, end = _gathered(head, pieces)
    if not _FIRST_FIELD.match(head):
        yield head
    elif end >= 0:
        yield surrogate_header(head[:end])
        yield head[end:]
    elif len(head) <= MAX_HEADER_OCTETS:
        yield surrogate_header(head)
    else:
        yield head
    yield from pieces


def needs_utf8_mode(pieces: Iterator[bytes]) -> bool:
    """Tell whether the header of a message goes beyond ASCII; no more is read than is needed.

    Args:
        pieces: As above.
    """
    head, end = _gathered(next(pieces, b""), pieces)
    if not _FIRST_FIELD.match(head):
        return False
    if end >= 0 or not head.isascii():
        return not head[:end].isascii()
    before = head[-2:]
    for piece in pieces:
        octets = before + piece
        end = octets.find(_HEADER_END)
        if end >= 0:
            return not octets[:end].isascii()
        if not piece.isascii():
            return True
        before = octets[-2:]
    return False


def _gathered(head: bytes, pieces: Iterator[bytes]) -> tuple[bytes, int]:
    """Return the beginning of a message with all of its header, and where the blank line behind that begins, or -1.

    Without a blank line it is all of the message; of a header that is too long, it is as much as may be held.
    """
    end = _blank_line(head)
    while end < 0 and len(head) <= MAX_HEADER_OCTETS and (piece := next(pieces, b"")):
        searched = len(head)
        head += piece
        end = _blank_line(head, searched)
    return head, end


def surrogate_header(header: bytes) -> bytes:
    """Return a header in ASCII of the same length; one that is in ASCII, or has no room for that, as it is.

    Args:
        header: Fields with CRLF at the end of every line, without the blank line.
    """
    if header.isascii():
        return header
    charset = declared_charset(header)
    fields = [
        field if field.isascii() else field_in_ascii(field, charset) for field in _FIELD_START.split(header) if field
    ]
    room = len(header) - sum(map(len, fields)) - len(MARK) - len(b"\r\n")
    for number in _least_missed(fields):
        if room >= 0:
            break
        room += len(fields[number])
        fields[number] = b""
    if room < 0 or not all(map(bytes.isascii, fields)):
        return header
    return b"".join(fields) + _mark(room)


def _least_missed(fields: list[bytes]) -> list[int]:
    """Return the numbers of the fields that may be left out: signatures, then trace fields from the oldest on."""
    signatures = [number for number, field in enumerate(fields) if _SIGNATURE.match(field)]
    traces = [number for number, field in enumerate(fields) if _TRACE.match(field)]
    return signatures + traces[::-1]


def _mark(room: int) -> bytes:
    """Return the field that marks a surrogate, with so many octets more than it needs."""
    filling = bytearray(b" " + b"." * (room - 1)) if room else bytearray()
    for at in range(_MARK_LINE_OCTETS - len(MARK), room - 3, _MARK_LINE_OCTETS + 1):
        filling[at : at + 3] = b"\r\n "
    return MARK + bytes(filling) + b"\r\n"


def _blank_line(head: bytes, searched: int = 0) -> int:
    """Return where the blank line behind the header begins, or -1; so much was searched before."""
    position = head.find(_HEADER_END, max(searched - 3, 0))
    return position + 2 if position >= 0 else -1
