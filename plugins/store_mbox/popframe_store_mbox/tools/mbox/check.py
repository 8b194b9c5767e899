"""What the server makes of an mbox file, message by message, and what is odd about it.

Rule of this file: where messages begin and end, how long they are and what they are called is never judged here: that
is the index that the server's own :func:`~popframe_store_mbox.scan.scan` made of the same file. What is found in
addition only explains it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from popframe import PermanentFailure
from popframe_store_mbox.columns import Index
from popframe_store_mbox.file import read_at
from popframe_store_mbox.scan import MAX_HEADER_OCTETS, scan
from popframe_store_mbox.tools.mbox.content_length import BLANK_LINE_ENDS, has_header_end, judge_content_length
from popframe_store_mbox.tools.mbox.finding import (
    COPY,
    EMPTY,
    LEADING_BLANK_LINES,
    NO_BLANK_LINE,
    NO_FIELD_FIRST,
    NO_HEADER_END,
    PSEUDO_MESSAGE,
    Finding,
)
from popframe_store_mbox.tools.mbox.lines import PIECE_OCTETS, LineCheck, read_pieces
from popframe_store_mbox.tools.mbox.not_mbox import explain
from popframe_store_mbox.tools.text import counted, quoted

_BLANK_LINES = re.compile(rb"(?:\r?\n)*")
_FIRST_LINE = re.compile(rb"[!-9;-~]+[ \t]*:|>*From ")


@dataclass(frozen=True, slots=True)
class MessageReport:
    """What the server makes of one message.

    Attributes:
        number: From 1, as a client sees it.
        offset: Where its From_ line begins.
        line: The line of the file, from 1, that this is.
        octets: Its size as it is sent.
        uid: Its unique-id.
        from_line: Its From_ line, without the line end.
        findings: In the order of the file.
    """

    number: int
    offset: int
    line: int
    octets: int
    uid: str
    from_line: bytes
    findings: tuple[Finding, ...]

    @property
    def is_odd(self) -> bool:
        """Tell whether something was found that is more than a note."""
        return any(finding.kind.is_odd for finding in self.findings)


class MboxCheck:
    """One mbox file.

    Attributes:
        index: What the server's scan made of it; without messages when it is no mbox file.
        findings: What is to be said of the file as a whole.
    """

    def __init__(self, fd: int, size: int, piece_octets: int = PIECE_OCTETS) -> None:
        """Scan it.

        Args:
            fd: The open file.
            size: How much of it counts.
            piece_octets: How much to read at a time.

        Raises:
            FileChangedError: Another program has written to it.
            OSError: It cannot be read.
        """
        self._fd = fd
        self._size = size
        self._piece_octets = piece_octets
        self._first_from_line = 0
        self._first_copies: dict[bytes, int] = {}
        self._line = 1
        self.findings: list[Finding] = []
        try:
            self.index = scan(fd, size)
        except PermanentFailure as exc:
            self.index = Index(0)
            self.findings.append(explain(fd, size, str(exc), piece_octets))
        else:
            self._first_from_line = self._look_before_first()
            self._first_copies = self._find_copies()

    def reports(self) -> Iterator[MessageReport]:
        """Yield what was found, message by message; the file is read meanwhile.

        Raises:
            FileChangedError: Another program has written to it.
            OSError: It cannot be read.
        """
        return map(self._report, range(len(self.index)))

    # --- what stands before the first message ---

    def _look_before_first(self) -> int:
        """Say what stands before the first message; return where the first From_ line is."""
        first = self.index.start[0] if self.index else self._size
        blank_end = blank_lines = 0
        for piece in read_pieces(self._fd, 0, first, self._piece_octets):
            if piece.offset == blank_end:
                blank = _BLANK_LINES.match(piece.octets)
                blank_end += blank.end() if blank else 0
                blank_lines = self._line - 1 + piece.octets.count(b"\n", 0, blank_end - piece.offset)
            self._line += piece.octets.count(b"\n")
        if blank_end > 0:
            text = f"{counted(blank_lines, 'blank line')} before the first From_ line; part of no message"
            self.findings.append(Finding(LEADING_BLANK_LINES, blank_lines, 0, 1, text))
        if blank_end < first:
            text = (
                f"an IMAP server's own data, {counted(first - blank_end, 'octet')} at offset {blank_end}: a pseudo "
                "message (FOLDER INTERNAL DATA), kept in the file and hidden from clients"
            )
            line = blank_lines + 1
            self.findings.append(Finding(PSEUDO_MESSAGE, 1, blank_end, line, text))
        return blank_end

    def _find_copies(self) -> dict[bytes, int]:
        """Return the number of the first message of those that have the same head, by digest."""
        digests = set(map(self.index.digest, self.index.copies))
        named = enumerate(self.index.identities(), 1)
        return {digest: number for number, (digest, copy) in named if copy == 1 and digest in digests}

    # --- one message ---

    def _report(self, message: int) -> MessageReport:
        """Look at one message."""
        index = self.index
        start, content = index.start[message], index.content[message]
        line = self._line
        head = read_at(self._fd, index.header_end[message] - start, start)
        lines = LineCheck(content, index.end[message], line + 1)
        for piece in read_pieces(self._fd, content, index.next[message], self._piece_octets):
            lines.take(piece)
        self._line = lines.line
        findings = [
            *self._judge_place(message, line),
            *self._judge_header(message, line, head),
            *judge_content_length(self._fd, index, message, line, head),
            *lines.findings(),
        ]
        return MessageReport(
            number=message + 1,
            offset=start,
            line=line,
            octets=index.octets[message],
            uid=index.uids[message],
            from_line=head.partition(b"\n")[0].removesuffix(b"\r"),
            findings=tuple(sorted(findings, key=lambda finding: finding.offset)),
        )

    def _judge_place(self, message: int, line: int) -> Iterator[Finding]:
        """Say what is odd about the From_ line's place, and whether the message was there before."""
        start = self.index.start[message]
        if start != self._first_from_line and not read_at(self._fd, 3, start - 3).endswith(BLANK_LINE_ENDS):
            text = "no blank line before the From_ line: procmail leaves it out after a message without a last line end"
            yield Finding(NO_BLANK_LINE, 1, start, line, text)
        if message in self.index.copies:
            first = self._first_copies[self.index.digest(message)]
            text = f"From_ line and header are those of message {first}, so the unique-id has a suffix"
            yield Finding(COPY, 1, start, line, text)

    def _judge_header(self, message: int, line: int, head: bytes) -> Iterator[Finding]:
        """Say what is odd about the header."""
        index = self.index
        content = index.content[message]
        if content == index.end[message]:
            yield Finding(EMPTY, 1, content, line + 1, "neither header nor text: sent as 0 octets")
            return
        header = head[content - index.start[message] :]
        if header and not _FIRST_LINE.match(header):
            text = (
                f"{quoted(header)} is no header field: this may be text of the message before it, cut off at a line "
                "that looks like a From_ line"
            )
            yield Finding(NO_FIELD_FIRST, 1, content, line + 1, text)
        if not has_header_end(index, message):
            header_end = index.header_end[message]
            is_cut = header_end < index.next[message]
            text = f"no blank line within {MAX_HEADER_OCTETS} octets" if is_cut else "all of it is header"
            yield Finding(NO_HEADER_END, 1, header_end, line + head.count(b"\n"), f"the header has no end: {text}")
