"""One session from the accepted connection to its line in the log, whoever hosts it: a front's thread, or inetd."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from popframe.config import AbuseSettings
from popframe.model import Peer, SessionSummary
from popframe.server.abuse.guard import LoginGuard
from popframe.server.abuse.memory import AttemptMemory
from popframe.server.abuse.patience import Patience
from popframe.server.abuse.spacing import Spacing
from popframe.server.backend import Doorkeeper, HookBackend, Place
from popframe.server.connection import Connection
from popframe.server.isolation.backend import GateBackend
from popframe.server.log import log_event
from popframe.server.observation.observers import Observation
from popframe.server.observation.session import Observer, session_for
from popframe.server.observation.trace import SessionTrace
from popframe.server.sasl.timestamp import timestamp
from popframe.server.scoreboard import FrontBoard, TooManyConnections
from popframe.server.service import Limits, Service
from popframe.server.session_log import SessionLog
from popframe.server.transport import HandshakeFailed, Transport

_logger = logging.getLogger("popframe.server")


@dataclass(frozen=True, slots=True)
class Post:
    """What a process that hosts sessions counts them with.

    Attributes:
        board: Who is connected.
        guard: Who has tried what.
        spacing: Who was here when.
        make_room: Ends a connection whose client has not logged in, when there are too many; tells whether there was
            one; None where nobody can.
    """

    board: FrontBoard
    guard: LoginGuard
    spacing: Spacing
    make_room: Callable[[], bool] | None = None

    @classmethod
    def of_process(cls, board: FrontBoard, attempts: AttemptMemory, settings: AbuseSettings) -> Self:
        """Return what one process has; the memory is opened for it alone."""
        return cls(board, LoginGuard(attempts, settings), Spacing(attempts, settings))

    def place(self, peer: Peer, limits: Limits, slot: int | None = None) -> int:
        """Return the slot of a connection, once it is counted wherever it counts.

        A proxy brings many clients: its own connections, and those of whom it does not know, count only in all. Whoever
        is refused for its address has not made others lose their place.

        Args:
            peer: Where the client comes from.
            limits: How many connections there may be.
            slot: The one that the connection has already; None for none.

        Raises:
            TooManyConnections: A limit is reached; nothing is held.
        """
        if slot is None:
            slot = self.board.enter()
        address = "" if peer.address == peer.proxy else peer.address
        try:
            if address:
                self.board.enter_address(slot, address, limits.per_address)
            self.spacing.admit_connection(address)
            if self.board.is_above(limits.total) and not (self.make_room is not None and self.make_room()):
                self.board.check_total(limits.total)
        except TooManyConnections:
            self.board.leave(slot)
            raise
        return slot


class HostedSession:
    """A session, the connection that it is on, and its place among those that are counted.

    Attributes:
        peer: Where the client comes from.
        connection: What drives it; another thread may stop it there.
    """

    def __init__(
        self,
        connection: socket.socket,
        peer: Peer,
        session_id: str,
        service: Service,
        post: Post,
        *,
        speaks_tls: bool = False,
        slot: int | None = None,
    ) -> None:
        """Take a place on the board.

        Args:
            connection: The client's.
            peer: Where it comes from.
            session_id: The session's name in the log.
            service: Plugins, policy, timers, limits.
            post: Where it is counted.
            speaks_tls: TLS comes before the greeting.
            slot: The place that the connection has on the board already, not yet counted for an address; None for none.

        Raises:
            TooManyConnections: A limit is reached; nothing is held.
        """
        limits = service.limits
        self._id = session_id
        self.peer = peer
        self._hooks = service.hooks
        self._client_names = service.client_names
        self._board = post.board
        self._slot = post.place(peer, limits, slot)
        self._started = time.monotonic()
        place = Place(post.board, self._slot, limits.per_user)
        transport = Transport(connection)
        door = Doorkeeper(post.guard, post.spacing, Patience(connection).wait)
        log, trace, observers = _observed(session_id, peer, service.observation)
        backend = HookBackend(session_id, peer, service.hooks, service.rules, place, door, service.mechanisms, log)
        if service.door is not None:
            backend = GateBackend(backend, service.door, transport, trace)
        self._backend = backend
        stamp = timestamp() if service.policy.offers_apop else ""
        self._session = session_for(peer, backend, service.policy, service.table, stamp, observers)
        self.connection = Connection(
            transport, self._session, service.timers, service.certificates, speaks_tls=speaks_tls
        )

    def run(self) -> None:
        """Serve the client, tell the plugins and the log, and give the place back."""
        try:
            if self._client_names is not None:
                self._client_names.look_up(self._id, self.peer)
            self._hooks.session_started(self._id, self.peer)
            self.connection.run()
        except HandshakeFailed as error:
            fields = {"session": self._id, "address": self.peer.address or "-", "reason": str(error)}
            log_event("tls-failed", fields)
        except Exception:  # a defect of ours ends one session, not whoever hosts it
            _logger.exception("session %s failed", self._id)
        finally:
            self._backend.close()
            self._board.leave(self._slot)
            summary = self._session.summary(self._id, time.monotonic() - self._started)
            self._hooks.session_ended(summary)
            _log_end(summary)


def _observed(
    session_id: str, peer: Peer, observation: Observation | None
) -> tuple[SessionLog, SessionTrace | None, Sequence[Observer]]:
    """Return a session's log, its trace if it may have one, and who looks at it."""
    if observation is None:
        return SessionLog(session_id, peer), None, ()
    trace = None if observation.tracer is None else observation.tracer.begin(session_id, peer)
    log = observation.log(session_id, peer, trace)
    return log, trace, observation.observers(log, trace)


def _log_end(summary: SessionSummary) -> None:
    """Write the line of an ended session; one that did not even try to log in is of no interest, and there are many."""
    is_idle_talk = not summary.username and not summary.failed_login_count
    fields = {
        "session": summary.session_id,
        "address": summary.peer.address or "-",
        "user": summary.username or "-",
        "outcome": summary.outcome.value,
        "seconds": f"{summary.duration_seconds:.3f}",
        "commands": summary.command_count,
        "retr": f"{summary.retr_count}/{summary.retr_octets}",
        "top": f"{summary.top_count}/{summary.top_octets}",
        "deleted": f"{summary.deleted_count}/{summary.deleted_octets}",
        "left": f"{summary.left_count}/{summary.left_octets}",
    }
    log_event("session-ended", fields, logging.DEBUG if is_idle_talk else logging.INFO)
