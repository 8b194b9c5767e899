"""Cutting the client's octets into command lines.

A line ends with LF; one CR before it belongs to the line end (RFC 1939 section 3 says CRLF; bare LF is what people type
into a terminal). No other octet ends a line, so that nothing inside a line can be taken for the next command.
"""

from __future__ import annotations

import enum

from popframe.engine.policy import MAX_DISCARDED_OCTETS, MAX_LINE_OCTETS


class LineFault(enum.Enum):
    """What came instead of a line."""

    TOO_LONG = "too long"
    """The line is longer than MAX_LINE_OCTETS; its rest is thrown away as it comes."""
    FLOOD = "flood"
    """The rest of a line that was too long does not end; nothing more will be read."""


class LineBuffer:
    """Octets that were received and not yet taken; never more than one read and one line."""

    __slots__ = ("_data", "_discarded", "_position")

    def __init__(self) -> None:
        self._data = b""
        self._position = 0
        self._discarded: int | None = None

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._data = self._data[self._position :] + data if self._position < len(self._data) else data
        self._position = 0

    def next_line(self) -> bytes | LineFault | None:
        """Take the next line, without its end; None when there is no whole one yet."""
        if self._discarded is not None:
            fault = self._discard()
            if fault is not None or self._discarded is not None:
                return fault
        if self._position == len(self._data):
            return None
        end = self._data.find(b"\n", self._position)
        length = (end + 1 if end >= 0 else len(self._data)) - self._position
        if length > MAX_LINE_OCTETS:
            self._discarded = 0
            return LineFault.TOO_LONG
        if end < 0:
            return None
        line = self._data[self._position : end]
        self._position = end + 1
        return line[:-1] if line.endswith(b"\r") else line

    def take_rest(self) -> bytes:
        """Take all that was received and not yet taken, for another buffer to go on with."""
        rest, self._data, self._position = self._data[self._position :], b"", 0
        return rest

    def _discard(self) -> LineFault | None:
        """Throw away the rest of a line that was too long, as far as it has come."""
        end = self._data.find(b"\n", self._position)
        gone = (end + 1 if end >= 0 else len(self._data)) - self._position
        self._position += gone
        discarded = (self._discarded or 0) + gone
        self._discarded = None if end >= 0 else discarded
        return LineFault.FLOOD if discarded > MAX_DISCARDED_OCTETS else None
