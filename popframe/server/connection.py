"""Driving one session over one connection: moves octets, watches the timers, knows nothing of POP3."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass

from popframe.engine import Session
from popframe.extension import State
from popframe.model import Outcome
from popframe.server.listener import set_timeout

READ_OCTETS = 65_536
"""Most that is read at once, and so the most of a client's pipeline that waits in memory."""

SHORTEST_WAIT_SECONDS = 0.001
"""A receive timeout of zero would mean none at all."""

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

    def __init__(self, transport: socket.socket, session: Session, timers: Timers) -> None:
        """Take over a connected, blocking socket whose SO_SNDTIMEO bounds how long a client may refuse to read.

        The timers work through SO_RCVTIMEO, so that a client that behaves costs no system call but recv and send.
        """
        self._transport = transport
        self._session = session
        self._timers = timers
        self._armed_seconds = 0.0
        self._lock = threading.Lock()
        self._is_stopped = False
        self._is_over = False

    def run(self) -> None:
        """Serve until the session is over, then close the connection."""
        self._run([self._session.greeting()])

    def _run(self, greeting: list[bytes]) -> None:
        session = self._session
        try:
            self._send(greeting)
            self._answer()
            if not session.is_closed:
                self._converse()
        except BlockingIOError:
            session.abort(self._cause(Outcome.TIMED_OUT))
        except OSError:
            session.abort(self._cause(Outcome.DISCONNECTED))
        finally:
            session.abort(Outcome.STORAGE_FAILED)  # only if something unforeseen came this far
            self._close()

    def go_on(self, greeting: bytes, unread: bytes) -> None:
        """Serve a session that another process has begun.

        Args:
            greeting: What is to be said first.
            unread: What the client has sent already.
        """
        session = self._session
        session.receive_data(unread)
        self._run([greeting])

    def stop(self) -> None:
        """End the session from another thread, without an UPDATE state; an update that has begun is finished."""
        with self._lock:
            self._is_stopped = True
            if self._session.handover is not None:
                self._session.handover.stop()
            if not self._is_over:
                with contextlib.suppress(OSError):
                    self._transport.shutdown(socket.SHUT_RDWR)

    def _converse(self) -> None:
        session, receive = self._session, self._transport.recv
        since = time.monotonic()
        answered = 0
        while True:
            is_known = session.state is not State.AUTHORIZATION
            limit = self._timers.idle if is_known else self._timers.login
            now = time.monotonic()
            if is_known and session.command_count != answered:
                # Only a command resets the timer: octets that never become one do not.
                answered, since = session.command_count, now
            self._arm(max(since + limit - now, SHORTEST_WAIT_SECONDS))
            data = receive(READ_OCTETS)
            if not data:
                session.abort(self._cause(Outcome.DISCONNECTED))
                return
            session.receive_data(data)
            self._answer()
            if session.is_closed:
                return

    def _answer(self) -> None:
        """Send the replies to what has come; after a login, perhaps let another process go on."""
        session = self._session
        for buffers in session.output():
            self._send(buffers)
        if session.handover is not None and not session.is_closed:
            session.finish_elsewhere(session.handover.go_on(session.take_unread()))

    def _arm(self, seconds: float) -> None:
        if seconds != self._armed_seconds:
            set_timeout(self._transport, socket.SO_RCVTIMEO, seconds)
            self._armed_seconds = seconds

    def _send(self, buffers: list[bytes]) -> None:
        """Send all of it; each call that moves at least one octet starts the time for the next.

        Raises:
            BlockingIOError: The client has read nothing for the whole of SO_SNDTIMEO.
        """
        sent = self._transport.sendmsg(buffers)
        if sent == sum(map(len, buffers)):
            return
        rest = memoryview(b"".join(buffers))[sent:]
        while rest:
            rest = rest[self._transport.send(rest) :]

    def _cause(self, outcome: Outcome) -> Outcome:
        return Outcome.SHUT_DOWN if self._is_stopped else outcome

    def _close(self) -> None:
        if self._session.outcome is Outcome.TOO_MANY_ERRORS:
            with contextlib.suppress(OSError):
                self._read_off()
        with self._lock:
            self._is_over = True
        self._transport.close()

    def _read_off(self) -> None:
        self._transport.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + FAREWELL_SECONDS
        octets = 0
        while octets < FAREWELL_OCTETS and (left := deadline - time.monotonic()) > 0:
            self._arm(max(left, SHORTEST_WAIT_SECONDS))
            data = self._transport.recv(READ_OCTETS)
            if not data:
                return
            octets += len(data)
