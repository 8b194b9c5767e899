"""A body that a client sends behind a command: from octets on the wire to pieces for whoever takes it.

Rule of this file: a line ends with CRLF and nothing else. A client looks for the lines that begin with a dot between
CRLFs; if a dot behind a bare LF ended the body, the rest of somebody else's message could be read as commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from popframe.engine.policy import BODY_PROGRESS_OCTETS, MAX_UNWANTED_OCTETS
from popframe.extension import Command, Reception, Reply

if TYPE_CHECKING:
    from popframe.engine.session import Session

CRLF = b"\r\n"
_END = b"\r\n.\r\n"
_STUFFED = b"\r\n."


class Unstuffing:
    """Finds the end of a body and removes the byte-stuffing (RFC 1939 section 3), however the stream is cut.

    Attributes:
        is_over: The lone dot has come.
    """

    __slots__ = ("_held", "_surplus", "is_over")

    def __init__(self) -> None:
        self.is_over = False
        self._held = CRLF  # the command's own: what follows it is at the start of a line
        self._surplus = len(CRLF)

    def feed(self, octets: bytes) -> tuple[bytes, bytes]:
        """Return the piece of the body that these octets complete, and what stands behind its end, once it is over."""
        octets = self._held + octets
        end = octets.find(_END)
        if end >= 0:
            self.is_over = True
            cut, rest = end + len(CRLF), octets[end + len(_END) :]
        else:
            cut, rest = len(octets) - _undecided(octets), b""
            self._held = octets[cut:]
        piece = octets[:cut].replace(_STUFFED, CRLF)[self._surplus :]
        if cut:
            self._surplus = 0
        return piece, rest


def _undecided(octets: bytes) -> int:
    """Return how many octets at the end may be the beginning of a lone dot, or of a stuffed one."""
    return next((length for length in range(len(_END) - 1, 0, -1) if octets.endswith(_END[:length])), 0)


class Intake:
    """One body on its way to whoever takes it.

    Attributes:
        row: The command that it belongs to, with the end of the body for its handler.
        progress: How often so much has come that the client counts as active.
    """

    def __init__(self, command: Command[Session], reception: Reception) -> None:
        self.row = replace(command, handler=self._finish)
        self.progress = 0
        self._reception = reception
        self._unstuffing = Unstuffing()
        self._octets = 0
        self._unwanted = 0
        self._error: Exception | None = None
        self._is_settled = False

    @property
    def is_flood(self) -> bool:
        """The body was refused, and its rest does not end."""
        return self._unwanted > MAX_UNWANTED_OCTETS

    def feed(self, octets: bytes) -> bytes | None:
        """Pass on what has come; return what stands behind the end of the body, or None while there is none."""
        self._octets += len(octets)
        self.progress = self._octets // BODY_PROGRESS_OCTETS
        piece, rest = self._unstuffing.feed(octets)
        if self._error is not None:
            self._unwanted += len(piece)
        elif piece:
            self._take(piece)
        return rest if self._unstuffing.is_over else None

    def abort(self) -> None:
        """Let go: the body will not be finished."""
        if not self._is_settled:
            self._is_settled = True
            self._reception.abort()

    def _take(self, piece: bytes) -> None:
        try:
            self._reception.take(piece)
        except Exception as error:
            self._error = error
            self.abort()

    def _finish(self, _session: object, _arguments: Sequence[str]) -> Reply:
        if self._error is not None:
            raise self._error
        self._is_settled = True
        return self._reception.finish()
