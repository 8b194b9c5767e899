"""A session that is looked at, command by command.

The engine's own class is left alone; whoever wants to know of a session builds one of this class instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from popframe.engine import Backend, Negotiated, Policy, Session
from popframe.engine.authentication import ChallengeReply
from popframe.engine.body import Intake
from popframe.engine.line import LineFault
from popframe.engine.verbs import Table
from popframe.extension import Reply, State
from popframe.model import Peer, SessionSummary
from popframe.server.observation.masking import MASK, masked

GREETED = "(connection)"
LOGGED_IN = "(login)"
BODY = "(body)"
"""What stands in the place of a command where a line was said without one."""

CHALLENGE = f"+ {MASK}"
"""A challenge belongs to a proof of a password, from which somebody who has both could guess at it."""

ELSEWHERE = "(the process of the user answers)"
CLOSED = "(the connection is closed)"
"""What stands in the place of a reply where none was said."""


class Observer(Protocol):
    """Whoever wants to know of a session."""

    def answered(self, username: str, command: str, reply: str) -> None:
        """Take note of a command and the first line of its reply.

        Args:
            username: The user that the client has named, or the account that has logged in; empty for neither.
            command: The command, without what must not be written down.
            reply: The first line, without its end; or in parentheses why there is none.
        """
        ...

    def goes_on(self, username: str) -> bool:
        """Tell whether the session is of interest, now that it is known to be this account's; asked once."""
        ...

    def wants_bodies(self) -> bool:
        """Tell whether what follows the first line of a reply is wanted too."""
        ...

    def sent(self, octets: bytes) -> None:
        """Take note of a part of a reply behind its first line, as it is sent."""
        ...

    def ended(self, summary: SessionSummary) -> None:
        """Take note of the end, in the process that talks to the client."""
        ...


def session_for(
    peer: Peer,
    backend: Backend,
    policy: Policy,
    table: Table,
    timestamp: str = "",
    observers: Sequence[Observer] = (),
) -> Session:
    """Return a session; without observers one that nothing looks at."""
    if observers:
        return ObservedSession(peer, backend, policy, table, timestamp, observers)
    return Session(peer, backend, policy, table, timestamp)


class ObservedSession(Session):
    """A session that tells its observers what it has answered."""

    def __init__(
        self,
        peer: Peer,
        backend: Backend,
        policy: Policy,
        table: Table,
        timestamp: str,
        observers: Sequence[Observer],
    ) -> None:
        super().__init__(peer, backend, policy, table, timestamp)
        self._observers = observers

    def greeting(self) -> bytes:
        """Return the line that the server speaks first."""
        line = super().greeting()
        self._tell(GREETED, _text(line))
        return line

    def answer_login(self, negotiated: Negotiated) -> bytes:
        """Return the line that answers a login which happened elsewhere."""
        line = super().answer_login(negotiated)
        self._tell(LOGGED_IN, _text(line))
        return line

    def summary(self, session_id: str, duration_seconds: float) -> SessionSummary:
        """Return what the session did, once it is over."""
        summary = super().summary(session_id, duration_seconds)
        for observer in self._observers:
            observer.ended(summary)
        return summary

    def _answer_fault(self, fault: LineFault) -> Reply | None:
        reply = super()._answer_fault(fault)
        self._tell(MASK, self._first_line(reply))
        return reply

    def _take_body(self, intake: Intake) -> Reply | None:
        reply = super()._take_body(intake)
        if reply is not None or self.is_closed:
            self._tell(BODY, self._first_line(reply))
        return reply

    def _answer(self, line: bytes) -> Reply:
        if not self._observers:
            return super()._answer(line)
        is_response = self._authentication.is_waiting
        command = MASK if is_response else masked(line, self._commands, self._table, self.mechanisms())
        username, state = self._username(), self.state
        reply = super()._answer(line)
        self._tell(command, self._first_line(reply), username)
        if state is State.AUTHORIZATION and self.state is State.TRANSACTION:
            self._observers = [observer for observer in self._observers if observer.goes_on(self._username())]
        return reply

    def _first_line(self, reply: Reply | None) -> str:
        if self.handover is not None:
            return ELSEWHERE
        if reply is None:
            return CLOSED
        return CHALLENGE if isinstance(reply, ChallengeReply) else _text(self.speech.status_line(reply))

    def _multi_line(self, reply: Reply, body: Iterable[bytes]) -> Iterator[bytes]:
        pieces = iter(super()._multi_line(reply, body))
        yield next(pieces)
        interested = [observer for observer in self._observers if observer.wants_bodies()]
        for octets in pieces:
            for observer in interested:
                observer.sent(octets)
            yield octets

    def _tell(self, command: str, reply: str, username: str = "") -> None:
        for observer in self._observers:
            observer.answered(self._username() or username, command, reply)

    def _username(self) -> str:
        return self.account.username if self.state is not State.AUTHORIZATION else self.username


def _text(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace").rstrip("\r\n")
