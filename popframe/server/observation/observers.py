"""Who looks at a session: its trace, and the log of refused replies."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from popframe.config import Configuration
from popframe.model import Peer, SessionSummary
from popframe.server.observation.session import Observer
from popframe.server.observation.trace import Trace, TracedLog, Tracer, TraceScope
from popframe.server.session_log import SessionLog

LONGEST_LINE_OCTETS = 1000
"""Of a line of a message no more is kept; the log's own limit is lower."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a server wants to know of its sessions, command by command.

    Attributes:
        tracer: Which of them are traced; None for none.
        refused_level: Level of the log at which refused replies are written; None when they are not.
    """

    tracer: Tracer | None
    refused_level: int | None

    @classmethod
    def configured(cls, configuration: Configuration) -> Self | None:
        """Return what a configuration asks for; None when that is nothing."""
        trace, log = configuration.trace, configuration.log
        tracer = Tracer(trace, log.format) if trace.is_on else None
        level = logging.INFO if log.refused_replies else logging.DEBUG
        is_written = level >= logging.getLevelNamesMapping()[log.level.upper()]
        if tracer is None and not is_written:
            return None
        return cls(tracer, level if is_written else None)

    def check(self) -> None:
        """Tell the log now when traces cannot be written."""
        if self.tracer is not None and self.tracer.file is not None:
            self.tracer.file.check()

    @property
    def _has_file(self) -> bool:
        return self.tracer is not None and self.tracer.file is not None

    def log(self, session_id: str, peer: Peer, trace: Trace | None) -> SessionLog:
        """Return the log of a session."""
        if trace is None:
            return SessionLog(session_id, peer)
        return TracedLog(session_id, peer, trace, is_elsewhere=self._has_file)

    def observers(self, log: SessionLog, trace: Trace | None) -> Sequence[Observer]:
        """Return who looks at a session."""
        observers: list[Observer] = []
        if trace is not None:
            observers.append(TraceWriter(trace, tells_end=self._has_file))
        if self.refused_level is not None:
            observers.append(RefusalLog(log, self.refused_level))
        return observers


class TraceWriter:
    """Writes a session's trace."""

    def __init__(self, trace: Trace, *, tells_end: bool) -> None:
        """Write a trace.

        Args:
            trace: Where to.
            tells_end: The end is told too; the log has a line for it in any case.
        """
        self._trace = trace
        self._tells_end = tells_end
        self._rest = b""

    def answered(self, username: str, command: str, reply: str) -> None:
        """Write a command and the first line of its reply."""
        self._trace.scope(username)
        self._trace.write("command", {"command": command, "reply": reply})

    def goes_on(self, username: str) -> bool:
        """Tell whether this account's session is traced."""
        return self._trace.scope(username) is not TraceScope.NOTHING

    def wants_bodies(self) -> bool:
        """Tell whether messages are written."""
        return self._trace.scope() is TraceScope.BODIES

    def sent(self, octets: bytes) -> None:
        """Write the lines that are whole; of a very long one the beginning."""
        *lines, rest = (self._rest + octets).split(b"\r\n")
        self._rest = rest[:LONGEST_LINE_OCTETS]
        for line in lines:
            self._trace.write("body", {"line": line.decode("utf-8", "backslashreplace")})

    def ended(self, summary: SessionSummary) -> None:
        """Write how it ended."""
        if self._tells_end and self._trace.scope(summary.username) is not TraceScope.NOTHING:
            self._trace.write("trace-ended", {"user": summary.username or "-", "outcome": summary.outcome.value})


class RefusalLog:
    """Writes each ``-ERR`` into the log."""

    def __init__(self, log: SessionLog, level: int) -> None:
        self._log = log
        self._level = level

    def answered(self, username: str, command: str, reply: str) -> None:
        """Write a reply that refuses something."""
        if reply.startswith("-ERR"):
            fields: dict[str, object] = {"user": username or "-", "command": command, "reply": reply}
            self._log.tell("reply-refused", fields, self._level)

    def goes_on(self, username: str) -> bool:
        """Tell that every account's is."""
        return True

    def wants_bodies(self) -> bool:
        """Tell that nothing else is of interest."""
        return False

    def sent(self, octets: bytes) -> None:
        """Leave it unread."""

    def ended(self, summary: SessionSummary) -> None:
        """Leave it to the log's own line."""
