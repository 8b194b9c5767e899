"""The mail of the benchmark: spools that are written once, and copied for each server and each round."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1_000_000
FROM_LINE = b"From sender@example.org Mon Jan  5 09:00:00 2026\n"
LINE = b"This is a line of text in a message, with sixty-five octets......\n"

_NUMBER = re.compile(rb"\nMessage-ID: <(\d+)@example\.org>\n")


@dataclass(frozen=True, slots=True)
class Spool:
    """A kind of spool.

    Attributes:
        name: Its file.
        messages: How many.
        octets: How large each is, about.
    """

    name: str
    messages: int
    octets: int

    @property
    def body(self) -> bytes:
        """The text of every message, with LF."""
        return LINE * max(1, (self.octets - 250) // len(LINE))

    def write(self, folder: Path) -> Path:
        """Return its file, which is written if it is not there.  No message of it has a line that begins with a dot."""
        path = folder / self.name
        if not path.exists():
            with path.open("wb") as file:
                file.writelines(self.message(number) for number in range(1, self.messages + 1))
        return path

    def message(self, number: int) -> bytes:
        """Return a message with its From_ line and the blank line behind it; the header tells it from the others."""
        return FROM_LINE + header(number) + self.body + b"\n"

    def is_sent_right(self, number: int, reply: bytes) -> bool:
        """Return whether a reply to RETR is this message; the server may have added fields to its header."""
        fields, blank, body = reply.partition(b"\r\n\r\n")
        return (
            bool(blank)
            and b"\r\nMessage-ID: <%d@example.org>\r\n" % number in fields
            and body.removesuffix(b".\r\n").rstrip() == self.body.replace(b"\n", b"\r\n").rstrip()
        )


def header(number: int) -> bytes:
    """Return a header and the blank line."""
    return (
        b"Return-Path: <sender@example.org>\nDate: Mon, 5 Jan 2026 09:00:00 +0000\n"
        b"From: Sender <sender@example.org>\nTo: Reader <reader@example.org>\n"
        b"Message-ID: <%d@example.org>\nSubject: number %d\n\n" % (number, number)
    )


def numbers_in(spool: Path) -> list[int]:
    """Return which messages are in a spool, in its order; a missing one has none."""
    return [int(number) for number in _NUMBER.findall(spool.read_bytes())] if spool.exists() else []
