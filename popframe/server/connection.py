"""Driving one session over one connection: moves octets, watches the timers, knows nothing of POP3."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from popframe.engine import Session
from popframe.extension import State
from popframe.model import Outcome
from popframe.server.transport import HandshakeFailed, Transport

if TYPE_CHECKING:
    from popframe.server.tls import Certificates

FAREWELL_SECONDS = 0.5
FAREWELL_OCTETS = 1 << 20
"""How long, and how much, is read and thrown away after a connection was closed on a client that is still sending.

A connection that is closed with unread octets is reset, and the reset may overtake the last reply.
"""


@dataclass(frozen=True, slots=True)
class Timers:
    """How long a client may take, in seconds.

    Attributes:
        login: From the connection to the login, in all.
        idle: Between two commands after login: the autologout timer (RFC 1939 section 3).
    """

    login: float
    idle: float


class Connection:
    """One connection and the session on it."""

    def __init__(
        self,
        transport: Transport,
        session: Session,
        timers: Timers,
        certificates: Certificates | None = None,
        *,
        speaks_tls: bool = False,
    ) -> None:
        """Drive a session.

        Args:
            transport: The client's connection.
            session: Nothing was said in it yet.
            timers: How long the client may take.
            certificates: What STLS needs.
            speaks_tls: The handshake comes before the greeting.
        """
        self._transport = transport
        self._session = session
        self._timers = timers
        self._certificates = certificates
        self._speaks_tls = speaks_tls
        self._since = time.monotonic()
        self._lock = threading.Lock()
        self._stopped_as: Outcome | None = None
        self._awaits_login = True
        self._is_over = False

    def run(self) -> None:
        """Serve until the session is over, then close the connection.

        Raises:
            HandshakeFailed: The client came for TLS and does not come together with this server; all is closed.
        """
        self._run(None)

    def go_on(self, greeting: bytes, unread: bytes) -> None:
        """Serve a session that another process has begun.

        Args:
            greeting: What is to be said first.
            unread: What the client has sent already.
        """
        self._session.receive_data(unread)
        self._run(greeting)

    def _run(self, greeting: bytes | None) -> None:
        session = self._session
        try:
            if self._speaks_tls:
                self._start_tls()
            self._transport.send([session.greeting() if greeting is None else greeting])
            self._answer()
            if not session.is_closed:
                self._converse()
        except BlockingIOError:
            session.abort(self._cause(Outcome.TIMED_OUT))
        except OSError as error:
            session.abort(self._cause(Outcome.DISCONNECTED))
            if isinstance(error, HandshakeFailed) and self._stopped_as is None:
                raise
        finally:
            session.abort(Outcome.STORAGE_FAILED)  # only if something unforeseen came this far
            self._close()

    @property
    def awaits_login(self) -> bool:
        """Nobody is logged in, and the server waits for the client: no login is under way."""
        return self._awaits_login and not self._is_over and self._stopped_as is None

    def stop(self, outcome: Outcome = Outcome.SHUT_DOWN) -> None:
        """End the session from another thread, without an UPDATE state; an update that has begun is finished.

        Args:
            outcome: How it then has ended.
        """
        with self._lock:
            self._stopped_as = outcome
            if self._session.handover is not None:
                self._session.handover.stop()
            if not self._is_over:
                self._transport.break_off()

    def _converse(self) -> None:
        session, transport = self._session, self._transport
        done = 0, 0
        while True:
            is_known = session.state is not State.AUTHORIZATION
            limit = self._timers.idle if is_known else self._timers.login
            now = time.monotonic()
            if is_known and done != (session.command_count, session.body_progress):
                # Only a command resets the timer, or a good part of a body: octets that never become one do not.
                done, self._since = (session.command_count, session.body_progress), now
            self._awaits_login = not is_known
            data = transport.receive(self._since + limit - now)
            self._awaits_login = False
            if not data:
                session.abort(self._cause(Outcome.DISCONNECTED))
                return
            session.receive_data(data)
            self._answer()
            if session.is_closed:
                return

    def _answer(self) -> None:
        """Send the replies to what has come; begin TLS, or let another process go on, where these lead there."""
        session = self._session
        for buffers in session.output():
            self._transport.send(buffers)
        if session.is_closed:
            return
        if session.expects_tls:
            self._start_tls()
        elif session.handover is not None:
            session.finish_elsewhere(session.handover.go_on(session.speech.negotiated, session.take_unread()))

    def _start_tls(self) -> None:
        if self._certificates is None:
            raise OSError("no certificate")  # not reached: STLS is offered where there is one
        left = self._since + self._timers.login - time.monotonic()
        seconds = min(self._certificates.handshake_seconds, left)
        self._awaits_login = True
        self._session.begin_tls(self._transport.start_tls(self._certificates, seconds))

    def _cause(self, outcome: Outcome) -> Outcome:
        return self._stopped_as or outcome

    def _close(self) -> None:
        if self._session.outcome is Outcome.TOO_MANY_ERRORS:
            with contextlib.suppress(OSError):
                self._read_off()
        with self._lock:
            self._is_over = True
        self._transport.close()

    def _read_off(self) -> None:
        self._transport.end_sending()
        deadline = time.monotonic() + FAREWELL_SECONDS
        octets = 0
        while octets < FAREWELL_OCTETS and (left := deadline - time.monotonic()) > 0:
            data = self._transport.receive(left)
            if not data:
                return
            octets += len(data)
