"""From stored octets to octets on the wire, piece by piece, whatever the size of a message.

The steps are generators over pieces: :func:`with_crlf` makes every line end CRLF, :func:`top` cuts, and
:func:`byte_stuffed` doubles leading dots. A piece that leaves ``with_crlf`` never ends between CR and LF.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator

from popframe.extension import Reply

MAX_STATUS_OCTETS = 512
"""Longest status line, CRLF included (RFC 1939 section 3, RFC 2449 section 4)."""

TERMINATION = b".\r\n"
"""The line that ends a multi-line response (RFC 1939 section 3)."""

_DOT_LINE = re.compile(rb"\n\.")  # as fast as two searches of bytes.find, and half the price of "in"
_SHORT = 400
"""Characters of a text that needs no cutting, nor a look at how much there is before it."""

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def status_line(reply: Reply) -> bytes:
    """Render the first line of a reply: printable ASCII, at most 512 octets, always a space after the indicator.

    A text that begins like a response code is changed, because it would be read as one (RFC 2449 section 8); the space
    is there even without text, because old clients want it (RFC 1957).
    """
    text = reply.text
    if reply.is_ok and not reply.code and len(text) <= _SHORT and text.isascii() and text.isprintable():
        return b"+OK %b\r\n" % (text if text[:1] != "[" else f"({text[1:]}").encode("ascii")
    line = _whole_status_line(reply)
    if not (line.isascii() and line.isprintable()):
        line = _UNPRINTABLE.sub("?", line)
    return line[: MAX_STATUS_OCTETS - 2].encode("ascii") + b"\r\n"


def utf8_status_line(reply: Reply) -> bytes:
    """Render the first line of a reply to a client that takes UTF-8 (RFC 6856 section 3.2); no character is cut."""
    line = _whole_status_line(reply)
    if not line.isprintable():
        line = "".join(character if character.isprintable() else "?" for character in line)
    octets = line.encode("utf-8")
    if len(octets) > MAX_STATUS_OCTETS - 2:
        octets = octets[: MAX_STATUS_OCTETS - 2].decode("utf-8", "ignore").encode("utf-8")
    return octets + b"\r\n"


def _whole_status_line(reply: Reply) -> str:
    text = reply.text
    if text.startswith("["):
        text = "(" + text[1:]
    indicator = "+OK" if reply.is_ok else "-ERR"
    return f"{indicator} [{reply.code}] {text}" if reply.code else f"{indicator} {text}"


def challenge_line(challenge: bytes) -> bytes:
    """Render a challenge: a plus sign, one space even before nothing, and base64 (RFC 5034 section 4)."""
    return b"+ " + base64.b64encode(challenge) + b"\r\n"


def with_crlf(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the octets with CRLF for every line end, and one added where the last line has none.

    A CR that no LF follows is not a line end and stays as it is.
    """
    held = b""
    last = b""
    for piece in pieces:
        octets = held + piece if held else piece
        held = b""
        if octets.endswith(b"\r"):
            held = b"\r"
            octets = octets[:-1]
        if not octets:
            continue
        if b"\r" in octets:
            octets = octets.replace(b"\r\n", b"\n")
        last = octets.replace(b"\n", b"\r\n")
        yield last
    if held:
        yield b"\r\r\n"
    elif last and not last.endswith(b"\n"):
        yield b"\r\n"


def top(pieces: Iterable[bytes], line_count: int) -> Iterator[bytes]:
    """Cut after the header, the blank line and a number of lines of the body (RFC 1939 section 7, TOP).

    Where there is no blank line one is added: clients wait for the end of the header.

    Args:
        pieces: What :func:`with_crlf` gives.
        line_count: Lines of the body, not negative.
    """
    in_header = True
    at_line_start = True
    left = line_count
    for piece in pieces:
        start = 0
        if in_header:
            start = _header_end(piece, at_line_start=at_line_start)
            at_line_start = piece.endswith(b"\n")
            if start < 0:
                yield piece
                continue
            in_header = False
        end = _line_limit(piece, start, left)
        if end >= 0:
            yield piece[:end]
            return
        yield piece
        left -= piece.count(b"\n", start)
    if in_header:
        yield b"\r\n"


def _header_end(piece: bytes, *, at_line_start: bool) -> int:
    """Return where the body starts in a piece of the header, or -1."""
    if at_line_start and piece.startswith(b"\r\n"):
        return 2
    position = piece.find(b"\r\n\r\n")
    return position + 4 if position >= 0 else -1


def _line_limit(piece: bytes, start: int, line_count: int) -> int:
    """Return where the given number of lines ends, or -1 when the piece holds fewer."""
    if line_count > piece.count(b"\n", start):
        return -1
    for _ in range(line_count):
        start = piece.index(b"\n", start) + 1
    return start


def byte_stuffed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the octets with every leading dot of a line doubled (RFC 1939 section 3).

    Args:
        pieces: Octets with CRLF line ends, no piece ending between CR and LF.
    """
    at_line_start = True
    for piece in pieces:
        starts_with_dot = at_line_start and piece.startswith(b".")
        at_line_start = piece.endswith(b"\n")
        octets = piece.replace(b"\n.", b"\n..") if _DOT_LINE.search(piece) else piece
        yield b"." + octets if starts_with_dot else octets


def without_nul(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the octets with 0x80 for each NUL."""
    for piece in pieces:
        yield piece.replace(b"\0", b"\x80")
