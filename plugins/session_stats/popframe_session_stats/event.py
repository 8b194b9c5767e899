"""What goes between server and collector: once what came of its start, then one datagram for each event.

Rule of this file: it imports nothing of the server, for it is used in the collector; no user and no address is told.

The datagram of an event is words of ASCII with a blank between them: process, its present sessions, events that it
could not tell since its last datagram; then what happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

MAX_DATAGRAM_OCTETS = 1024
"""The longest has some 200, with numbers of 64 bits."""

LISTENING = "listening "
"""What the collector says when it can work, before the address."""

WAITING = "waiting "
"""What it says instead, before the reason, when it cannot have the address yet, and goes on trying."""

MAX_CODE_CHARACTERS = 32
"""Longest response code that is told as it is; the longest of a standard is LOGIN-DELAY."""

NO_CODE = "none"
"""What stands for a refusal without a response code."""

STARTED = "started"
"""What happened: a client has connected."""

LOGGED_IN = "logged-in"
"""What happened: somebody has logged in."""

COUNTS = ("retr", "top", "deleted", "left")
"""What is done to messages, in the order in which it is told: how many each, and their octets."""


def failed(code: str) -> str:
    """Say that a login was refused."""
    return f"failed {'-'.join(code.split())[:MAX_CODE_CHARACTERS] or NO_CODE}"


@dataclass(frozen=True, slots=True)
class Started:
    """A client has connected."""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Somebody has logged in."""


@dataclass(frozen=True, slots=True)
class LoginFailed:
    """A login was refused, with this response code."""

    code: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A session is over.

    Attributes:
        outcome: How it ended.
        seconds: How long it took.
        counts: Messages and their octets, one pair for each of :data:`COUNTS`.
    """

    outcome: str
    seconds: float
    counts: tuple[tuple[int, int], ...]


Happening: TypeAlias = Started | LoggedIn | LoginFailed | Ended


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        pid: The process in which it happened.
        session_count: Sessions that this process has at present.
        dropped_count: Events that it could not tell since its last one.
        happening: What happened.
    """

    pid: int
    session_count: int
    dropped_count: int
    happening: Happening

    @classmethod
    def parsed(cls, datagram: bytes) -> Event:
        """Return the event of a datagram.

        Raises:
            ValueError: It is none.
        """
        pid, sessions, dropped, *words = datagram.decode("ascii").split(" ")
        return cls(int(pid), int(sessions), int(dropped), _happening(words))


def _happening(words: list[str]) -> Happening:
    match words:
        case ["started"]:
            return Started()
        case ["logged-in"]:
            return LoggedIn()
        case ["failed", code]:
            return LoginFailed(code)
        case ["ended", outcome, seconds, *numbers] if len(numbers) == 2 * len(COUNTS):
            counts = [int(number) for number in numbers]
            return Ended(outcome, float(seconds), tuple(zip(counts[::2], counts[1::2], strict=True)))
        case _:
            raise ValueError("not an event")
