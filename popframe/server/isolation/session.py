"""A process that is one user, and serves one session: what the gate's child does.

Rule of this file: up to the line that becomes the user, no plugin sees a maildrop; behind it, nothing of root is left:
no id, no group, no descriptor, no way back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import traceback
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from popframe.engine import BackendExchange, Login, Session
from popframe.errors import AuthenticationFailed, PermanentFailure, PopframeError
from popframe.extension import Challenge
from popframe.model import Outcome, Peer, PlainCredentials, SessionHold
from popframe.proof import Proven
from popframe.proven_passwords import ProvenPasswords
from popframe.server import log, privilege
from popframe.server.admission import admitted, opened
from popframe.server.connection import Connection
from popframe.server.isolation.channel import Channel, FrontGone, LoginRequest
from popframe.server.log import log_event
from popframe.server.observation.observers import Observation
from popframe.server.observation.session import session_for
from popframe.server.observation.trace import DistantTrace, TraceScope
from popframe.server.sasl.exchange import MechanismRun
from popframe.server.service import Service
from popframe.server.session_log import SessionLog
from popframe.server.transport import Transport


class UserBackend:
    """What a session asks of the outside after login: only the log."""

    def __init__(self, log: SessionLog) -> None:
        self._log = log

    def log_in(self, peer: Peer, credentials: PlainCredentials) -> Login:
        """Refuse: the login was before.

        Raises:
            AuthenticationFailed: Always.
        """
        raise AuthenticationFailed(f"a second login, as {credentials.username!r}, in one session")

    def begin_exchange(self, peer: Peer, mechanism: str) -> BackendExchange:
        """Refuse: the login was before.

        Raises:
            AuthenticationFailed: Always.
        """
        raise AuthenticationFailed(f"a second login, by {mechanism}, in one session")

    def report_error(self, doing: str, error: Exception) -> None:
        """Log what the client is not told."""
        self._log.report_error(doing, error)


@dataclass(slots=True)
class Admission:
    """One request of a front, with what came with it.

    Attributes:
        request: Who wants in.
        channel: The way back to the front.
        connection: The client's, or one to the process that keeps the client's TLS.
        teach: Where the gate learns which passwords were found right.
        held: What plugins have begun with the login; it ends with the process.
    """

    request: LoginRequest
    channel: Channel
    connection: socket.socket
    teach: socket.socket
    held: tuple[SessionHold, ...] = ()


def run_session(admission: Admission, service: Service, patience_seconds: float) -> NoReturn:
    """Check the credentials, become the user, serve the session, and end the process.

    Args:
        admission: Who wants in, and where.
        service: Plugins, policy and timers.
        patience_seconds: How long the check may take; a module that hangs ends with the process.
    """
    status = 1
    try:
        signal.setitimer(signal.ITIMER_REAL, patience_seconds)
        session = _admit(admission, service)
        signal.setitimer(signal.ITIMER_REAL, 0)
        going_on = admission.channel.receive_go_on()
        if going_on is None:
            session.abort(Outcome.DISCONNECTED)
        else:
            negotiated, unread = going_on
            connection = UserConnection(Transport(admission.connection), session, service.timers)
            connection.channel = admission.channel
            connection.stop_on_signals()
            connection.go_on(session.answer_login(negotiated), unread)
        admission.channel.send_summary(session.summary(admission.request.session_id, 0.0))
        status = 0
    except _Refused:
        status = 0
    except Exception:
        fields = {"session": admission.request.session_id, "trace": traceback.format_exc()}
        log_event("session-failed", fields, logging.ERROR)
    finally:
        os._exit(status)


class _Refused(Exception):
    """The front was told why, or wants nothing more."""


def _admit(admission: Admission, service: Service) -> Session:
    """Log in; return the session in its TRANSACTION state.

    Raises:
        _Refused: The login is refused, and the front knows it.
    """
    request, channel = admission.request, admission.channel
    claim = _Claim()
    try:
        proof = _proof(request, channel, service, claim)
        prepares = isinstance(request.proof, str)
        somebody = admitted(service.hooks, service.rules, request.peer, proof, prepares=prepares)
        account = somebody.account
        if proven := ProvenPasswords.recorded():
            with contextlib.suppress(OSError):  # the gate has too much to do: the next login proves it again
                admission.teach.send(proven, socket.MSG_DONTWAIT)
        if account.uid is None or account.gid is None:
            raise PermanentFailure(f"account {account.username!r} has no user id: isolation = 'per-user' needs one")
        channel.send_account(account.username, somebody.master)
        scope = channel.receive_open()
        if scope is None:
            raise _Refused
        admission.held = service.hooks.open_session(request.peer, account)
        held = [hold.fileno() for hold in admission.held]
        keep = (admission.channel.fileno(), admission.connection.fileno(), *held, *log.descriptors())
        privilege.become_account(account, keep, may_gain=service.hooks.starts_setgid_programs)
        login = opened(service.hooks, request.peer, account)
        session = _session(admission, service, scope)
        session.continue_from(login)
        channel.send_ready()
    except (PopframeError, OSError) as error:
        if not isinstance(error, PopframeError):
            trace = "".join(traceback.format_exception(error))
            log_event("session-failed", {"session": request.session_id, "trace": trace}, logging.ERROR)
        channel.send_refusal(error, claim.username)
        raise _Refused from error
    except FrontGone as error:
        raise _Refused from error
    return session


@dataclass(slots=True)
class _Claim:
    """Who the client says it is, as far as is known by now; empty for nobody yet."""

    username: str = ""


def _proof(request: LoginRequest, channel: Channel, service: Service, claim: _Claim) -> PlainCredentials | Proven:
    """Return what is to be admitted, at the end of an exchange if it needs one, when the front lets it be looked at.

    Raises:
        PopframeError: The exchange has failed.
        FrontGone: The client does not go on.
    """
    if isinstance(request.proof, PlainCredentials):
        return request.proof
    run = MechanismRun(service.mechanisms, request.proof, service.hooks, request.peer)
    while True:
        response = channel.receive_response()
        try:
            step = run.respond(response)
        finally:
            claim.username = run.username
        if not isinstance(step, Challenge):
            channel.send_proof(step)
            channel.wait_for_check()
            return step
        channel.send_challenge(step, claim.username)


def _session(admission: Admission, service: Service, scope: TraceScope) -> Session:
    """Return the session, and let whoever wants to know of it look at it."""
    request = admission.request
    observation = service.observation or Observation(None, None)
    trace = None if scope is TraceScope.NOTHING else DistantTrace(scope, admission.channel.send_trace)
    log = observation.log(request.session_id, request.peer, trace)
    observers = observation.observers(log, trace)
    return session_for(request.peer, UserBackend(log), service.policy, service.table, observers=observers)


class UserConnection(Connection):
    """The connection of a session that another process has begun."""

    channel: Channel

    def stop_on_signals(self) -> None:
        """Let SIGTERM and SIGINT end the session as its front would: without update; one that has begun is finished.

        A service manager that stops the server, or a terminal, may send them to every process of it.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop_here)

    def _stop_here(self, _number: int, _frame: FrameType | None) -> None:
        """Run between any two lines of the main thread, and therefore without taking a lock."""
        self._stopped_as = Outcome.SHUT_DOWN
        self._transport.break_off()

    def _cause(self, outcome: Outcome) -> Outcome:
        return Outcome.SHUT_DOWN if self.channel.is_stopped() else super()._cause(outcome)
