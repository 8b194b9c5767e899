"""Cutting the client's octets into command lines.

A line ends with LF; one CR before it belongs to the line end (RFC 1939 section 3 says CRLF; bare LF is what people type
into a terminal). No other octet ends a line, so that nothing inside a line can be taken for the next command.
"""

from __future__ import annotations

import enum
import re

from popframe.engine.policy import MAX_DISCARDED_OCTETS, MAX_LINE_OCTETS, MAX_RESPONSE_OCTETS

CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
"""What a command has none of (RFC 2449 section 4)."""

AUTH = b"AUTH "
"""What a line begins with that may hold a SASL response (RFC 5034 section 4)."""


class LineFault(enum.Enum):
    """What came instead of a line."""

    TOO_LONG = "line too long"
    """The line is longer than MAX_LINE_OCTETS; its rest is thrown away as it comes."""
    RESPONSE_TOO_LONG = "response too long"
    """The SASL response is longer than MAX_RESPONSE_OCTETS; nothing more will be read."""
    FLOOD = "flood"
    """The rest of a line that was too long does not end; nothing more will be read."""


class LineBuffer:
    """Octets that were received and not yet taken; never more than one read and one line, or one SASL response."""

    __slots__ = ("_data", "_discarded", "_position")

    def __init__(self) -> None:
        self._data = b""
        self._position = 0
        self._discarded: int | None = None

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._data = self._data[self._position :] + data if self._position < len(self._data) else data
        self._position = 0

    def next_line(self, *, is_response: bool = False) -> bytes | LineFault | None:
        """Take the next line, without its end; None when there is no whole one yet.

        Args:
            is_response: It is a response in a SASL exchange, and may be longer than a command.
        """
        if self._discarded is not None:
            fault = self._discard()
            if fault is not None or self._discarded is not None:
                return fault
        if self._position == len(self._data):
            return None
        end = self._data.find(b"\n", self._position)
        length = (end + 1 if end >= 0 else len(self._data)) - self._position
        if length > MAX_LINE_OCTETS:
            if not is_response and self._data[self._position : self._position + len(AUTH)].upper() != AUTH:
                self._discarded = 0
                return LineFault.TOO_LONG
            if length > MAX_RESPONSE_OCTETS:
                return LineFault.RESPONSE_TOO_LONG
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
