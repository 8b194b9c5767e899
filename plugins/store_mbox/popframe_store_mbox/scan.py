"""Where the messages of an mbox file are, how long they are, and what identifies them.

Rules of this file:

* Every octet of the file belongs to exactly one message, to the blank lines before the first, or to the pseudo message
  in which IMAP servers keep their own data. From one From_ line to the next is one message, the blank line between them
  included.
* The file is read forward in windows; memory does not grow with the size of a message.
* ``Content-Length`` is believed only when it ends exactly at a From_ line or at the end of the file, give or take the
  blank line. It is all that protects a From_ line in the text of a message that dovecot delivered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from popframe import PermanentFailure
from popframe_store_mbox.columns import Index
from popframe_store_mbox.file import read_at
from popframe_store_mbox.from_line import FROM_LINE, MAX_FROM_LINE_OCTETS, NEXT_FROM_LINE
from popframe_store_mbox.uid import has_volatile_fields, head_digest, stored_uid, without_volatile_fields

WINDOW_OCTETS = 1024 * 1024
"""Read at a time: from here on larger reads are not faster."""

MAX_HEADER_OCTETS = 256 * 1024
"""Longest header that is looked at whole.

Twice of what has a part in the unique-id, so that fields which other programs write into a longer header do not move
the place where it is cut.
"""

SHOWN_OCTETS = 60
"""How much of a file that is no mbox file goes into the log."""

_CONTENT_LENGTH = re.compile(rb"\nContent-Length[ \t]*:[ \t]*([0-9]{1,18})[ \t]*\r?(?=\n|\Z)", re.IGNORECASE)
_DOT_LINE = re.compile(rb"\n\.")
_BLANK_LINES = re.compile(rb"(?:\r?\n)*")
_INTERNAL_DATA = re.compile(rb"\nSubject:[ \t]*DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA", re.IGNORECASE)
_IMAP_DATA = re.compile(rb"\nX-IMAP(?:base)?:", re.IGNORECASE)


class _Claim(NamedTuple):
    """What a Content-Length says: where the text ends, and where the next message begins."""

    end: int
    next: int


_NO_CLAIM = _Claim(0, 0)
_SEPARATORS = (b"", b"\n", b"\r\n")


def scan(
    fd: int,
    size: int,
    window_octets: int = WINDOW_OCTETS,
    *,
    start: int = 0,
    copies_before: Callable[[bytes], int] | None = None,
    keeps_stored_uids: bool = False,
) -> Index:
    """Look through an mbox file.

    Args:
        fd: The open file.
        size: Where to stop.
        window_octets: How much to read at a time.
        start: Where a message begins that is not the first one; 0 for the whole file.
        copies_before: Tells how many messages with a digest come before ``start``.
        keeps_stored_uids: The field X-UIDL of a message is its unique-id, if no other message has that.

    Raises:
        PermanentFailure: The file does not begin with a From_ line.
        OSError: It cannot be read.
    """
    scanner = _Scanner(fd, size, start, keeps_stored_uids=keeps_stored_uids)
    for at in range(start, size, window_octets):
        scanner.take_window(at, window_octets)
    index = scanner.finish()
    index.name_messages(copies_before)
    return index


def refuse_other_than_mbox(fd: int, size: int) -> None:
    """Make sure that a file begins as an mbox file does, without scanning all of it.

    Raises:
        PermanentFailure: It does not.
        OSError: It cannot be read.
    """
    scanner = _Scanner(fd, size, 0, keeps_stored_uids=False)
    for at in range(0, size, WINDOW_OCTETS):
        scanner.take_window(at, WINDOW_OCTETS)
        if scanner.has_begun:
            return
    scanner.finish()


class _Scanner:
    """The state of one scan: the window, the message whose end is not known yet, and what is known of those before."""

    def __init__(self, fd: int, size: int, first: int, *, keeps_stored_uids: bool) -> None:
        self._fd = fd
        self._size = size
        self._blank_end = first
        self._index = Index(size)
        self._keeps_stored_uids = keeps_stored_uids
        self._at = 0
        self._window = b""
        self._has_cr = False
        self._is_first = first == 0
        self._start = -1
        self._content = 0
        self._claim = _NO_CLAIM

    @property
    def has_begun(self) -> bool:
        """The first message was found."""
        return self._start >= 0

    def take_window(self, at: int, length: int) -> None:
        """Find the From_ lines that follow the line ends of one window; the last of them may reach beyond it."""
        self._window = read_at(self._fd, min(length + MAX_FROM_LINE_OCTETS, self._size - at), at)
        self._at = at
        self._has_cr = b"\r" in self._window
        if self._start < 0 and not self._has_first_line():
            return
        for found in NEXT_FROM_LINE.finditer(self._window):
            if found.start() >= length:
                break
            position = at + found.start() + 1
            if position <= self._start or position < self._claim.next:
                continue  # the first message again, behind blank lines; or a line of text, as its length has proven
            if self._end_message(position):
                self._begin_message(position, at + found.end(1))

    def finish(self) -> Index:
        """End the last message at the end of the file.

        Raises:
            PermanentFailure: There is none, but something else.
        """
        if self._start >= 0:
            self._end_message(self._size)
        elif self._blank_end < self._size:
            raise self._not_mbox()
        return self._index

    def _has_first_line(self) -> bool:
        """Find the first message, after blank lines at most; False when this window does not reach so far.

        Raises:
            PermanentFailure: There is something else.
        """
        blank = _BLANK_LINES.match(self._window, self._blank_end - self._at)
        start = blank.end() if blank else 0
        self._blank_end = self._at + start
        found = FROM_LINE.match(self._window, start)
        if found:
            self._begin_message(self._at + start, self._at + found.end(1))
            return True
        left = len(self._window) - start
        is_last = self._at + len(self._window) == self._size
        if left >= MAX_FROM_LINE_OCTETS or (is_last and left):
            raise self._not_mbox()
        return False

    def _not_mbox(self) -> PermanentFailure:
        start = self._blank_end - self._at
        begin = self._window[start : start + SHOWN_OCTETS]
        return PermanentFailure(f"not an mbox file: at offset {self._blank_end} is {begin!r}, not a From_ line")

    def _begin_message(self, start: int, content: int) -> None:
        self._start = start
        self._content = content
        self._claim = _NO_CLAIM

    def _end_message(self, following: int) -> bool:
        """Take the message down that reaches up to a From_ line or the end of the file.

        Returns:
            False when its Content-Length proves that the From_ line is part of its text.
        """
        buffer, base, has_cr = self._buffer(following)
        head, body = self._head(buffer, base, following, has_cr=has_cr)
        stable_head = head
        if has_volatile_fields(head):
            if body >= 0 and self._claim is _NO_CLAIM:
                self._claim = self._claimed_end(head, body, following)
                if self._claim.next > following:
                    return False
            stable_head = without_volatile_fields(head)
            if self._keeps_stored_uids and (uid := stored_uid(head)):
                self._index.stored_uids[len(self._index)] = uid
        if not (self._is_first and _INTERNAL_DATA.search(head) and _IMAP_DATA.search(head)):
            end = self._text_end(following)
            index = self._index
            index.start.append(self._start)
            index.content.append(self._content)
            index.header_end.append(self._start + len(head))
            index.end.append(end)
            index.next.append(following)
            index.octets.append(self._sent_octets(buffer, base, end, has_cr=has_cr))
            index.digests += head_digest(stable_head)
            index.has_dot_lines.append(self._has_dot_lines(buffer, base, end))
        self._is_first = False
        return True

    def _buffer(self, following: int) -> tuple[bytes, int, bool]:
        """Return octets that begin with the message or before it, their offset, and whether a CR may be among them.

        They hold all of the message, or of a long one the first part.
        """
        if self._start >= self._at and following <= self._at + len(self._window):
            return self._window, self._at, self._has_cr
        length = following - self._start
        return (
            read_at(self._fd, length if length <= WINDOW_OCTETS else MAX_HEADER_OCTETS, self._start),
            self._start,
            True,
        )

    def _head(self, buffer: bytes, base: int, following: int, *, has_cr: bool) -> tuple[bytes, int]:
        """Return the From_ line with the header, and the offset of the body: -1 when there is none in sight."""
        start = self._start - base
        limit = min(following - base, start + MAX_HEADER_OCTETS)
        before_content = self._content - base - 1
        end = buffer.find(b"\n\n", before_content, limit)
        length = 2
        if has_cr and (crlf_end := buffer.find(b"\n\r\n", before_content, limit if end < 0 else end + 1)) >= 0:
            end, length = crlf_end, 3
        return (buffer[start:limit], -1) if end < 0 else (buffer[start:end], base + end + length)

    def _text_end(self, following: int) -> int:
        """Return where the text of the message ends: as claimed, or before the blank line that separates it."""
        if self._claim is not _NO_CLAIM:
            return self._claim.end
        tail = self._read(max(self._content - 1, following - 3), following)
        if tail.endswith(b"\n\n"):
            return following - 1
        return following - 2 if tail.endswith(b"\n\r\n") else following

    def _claimed_end(self, head: bytes, body: int, following: int) -> _Claim:
        """Return where Content-Length says that the text ends and the next message begins, if it is to be believed."""
        lengths = set(_CONTENT_LENGTH.findall(head))
        if len(lengths) != 1:
            return _NO_CLAIM
        end = body + int(lengths.pop())
        if end <= following:
            is_believed = self._read(end, following) in _SEPARATORS if following - end <= 2 else False
            return _Claim(end, following) if is_believed else _NO_CLAIM
        return self._landing(end) if end <= self._size else _NO_CLAIM

    def _landing(self, end: int) -> _Claim:
        """Tell whether a From_ line, or the end of the file, follows a text that would end here."""
        ahead = self._read(end - 1, min(end + MAX_FROM_LINE_OCTETS, self._size))
        for separator in _SEPARATORS:
            position = 1 + len(separator)
            if not ahead.startswith(separator, 1):
                continue
            following = end + len(separator)
            at_line_start = ahead[position - 1 : position] == b"\n"
            if following == self._size or (at_line_start and FROM_LINE.match(ahead, position)):
                return _Claim(end, following)
        return _NO_CLAIM

    def _sent_octets(self, buffer: bytes, base: int, end: int, *, has_cr: bool) -> int:
        """Return the size of the message with CRLF for each line end, the last one included (RFC 1939 section 11)."""
        if self._content == end:
            return 0
        if end <= base + len(buffer):
            first, last = self._content - base, end - base
            added = buffer.count(b"\n", first, last)
            if has_cr:
                added -= buffer.count(b"\r\n", first, last)
            return end - self._content + added + (0 if buffer.endswith(b"\n", first, last) else 2)
        added = 0
        piece = b""
        for position in range(self._content, end, WINDOW_OCTETS):
            ends_in_cr = piece.endswith(b"\r")
            piece = read_at(self._fd, min(WINDOW_OCTETS, end - position), position)
            added += piece.count(b"\n") - piece.count(b"\r\n") - (ends_in_cr and piece.startswith(b"\n"))
        return end - self._content + added + (0 if piece.endswith(b"\n") else 2)

    def _has_dot_lines(self, buffer: bytes, base: int, end: int) -> bool:
        """Tell whether a line of the message begins with a dot; a long message is taken to have one."""
        if end > base + len(buffer):
            return True
        return _DOT_LINE.search(buffer, self._content - base - 1, end - base) is not None

    def _read(self, start: int, end: int) -> bytes:
        """Return octets of the file, from the window if it has them."""
        if start >= self._at and end <= self._at + len(self._window):
            return self._window[start - self._at : end - self._at]
        return read_at(self._fd, end - start, start)
