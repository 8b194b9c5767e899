"""The engine's backend in a front: the hooks, the limits, and the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from popframe.authorization import LoginRules
from popframe.engine import Handover, Login
from popframe.errors import AuthenticationFailed, HookContractError, PermanentFailure, PopframeError, Refusal
from popframe.model import (
    Account,
    LoginAttempt,
    LoginFailure,
    LoginSuccess,
    Peer,
    PlainCredentials,
    SessionHold,
)
from popframe.plugins import Hooks, release
from popframe.server.abuse.guard import Attempt, LoginGuard, Wait
from popframe.server.abuse.spacing import Spacing
from popframe.server.admission import admitted, opened
from popframe.server.scoreboard import FrontBoard
from popframe.server.session_log import SessionLog


@dataclass(frozen=True, slots=True)
class Place:
    """One session's place on the board of connections.

    Attributes:
        board: Where connections are counted.
        slot: The session's own.
        user_limit: Connections that one user may have.
    """

    board: FrontBoard
    slot: int
    user_limit: int

    def enter_user(self, username: str) -> None:
        """Count the session for its user as well.

        Raises:
            TooManyConnections: The user has as many as it may have.
        """
        self.board.enter_user(self.slot, username, self.user_limit)

    def leave_user(self) -> None:
        """Stop counting it for its user."""
        self.board.leave_user(self.slot)


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """Whoever is asked before a password is looked at, for one session.

    Attributes:
        guard: Counts what was tried.
        spacing: Knows when users were here last.
        wait: Waits for some time, or until the client is gone.
    """

    guard: LoginGuard
    spacing: Spacing
    wait: Wait


class HookBackend:
    """One session's way to the plugins."""

    def __init__(
        self, session_id: str, peer: Peer, hooks: Hooks, rules: LoginRules, place: Place, door: Doorkeeper
    ) -> None:
        """Serve one session.

        Args:
            session_id: Its name in the log.
            peer: Where the client connects from.
            hooks: The plugins.
            rules: Who may log in, whatever the plugins say.
            place: Where it is counted.
            door: Who is asked before that.
        """
        self.session_id = session_id
        self.peer = peer
        self.hooks = hooks
        self.rules = rules
        self.place = place
        self.doorkeeper = door
        self._held: tuple[SessionHold, ...] = ()
        self._log = SessionLog(session_id, peer)

    def close(self) -> None:
        """End what plugins have begun with the login; called when the session is over."""
        held, self._held = self._held, ()
        release(held)

    def log_in(self, peer: Peer, credentials: PlainCredentials) -> Login | Handover:
        """Ask the plugins who this is, whether it may come in, and for its maildrop."""
        started = time.monotonic()
        self.peer = peer
        digest = self.doorkeeper.guard.password_digest(credentials.username, credentials.password)
        attempt = LoginAttempt(self.session_id, self.peer, credentials.username, password_digest=digest)
        try:
            with self._attempted(attempt, credentials.password) as counted:
                started = time.monotonic()  # behind any delay, which would hide nothing of what is done now
                login = self._admitted(credentials, counted)
        except PopframeError as error:
            self._tell_failure(attempt, error)
            if isinstance(error, AuthenticationFailed):
                time.sleep(max(0.0, started + self.rules.refusal_seconds - time.monotonic()))
            raise
        self._tell_success(attempt, login.account)
        return login

    def report_error(self, doing: str, error: Exception) -> None:
        """Log what the client is not told."""
        self._log.report_error(doing, error)

    @contextmanager
    def _attempted(self, attempt: LoginAttempt, secret: bytes | None) -> Iterator[Attempt]:
        """Let an attempt wait for its turn; its password, or proof, is looked at in the block.

        What the block raises tells what came of it: an AuthenticationFailed is a wrong password, unless
        :meth:`_entered` was reached before; of anything else nobody knows.

        Args:
            attempt: Who tries.
            secret: The password; None when the mechanism does not show it.

        Raises:
            PopframeError: It is not to be looked at.
        """
        guard = self.doorkeeper.guard
        counted = guard.begin(self.peer, attempt.username, self.doorkeeper.wait)
        is_asked = False
        try:
            self.hooks.check_attempt(attempt)
            is_asked = True
            yield counted
        except AuthenticationFailed:
            if is_asked:
                guard.failed(counted, secret)
            raise
        finally:
            guard.withdrawn(counted)  # unless something is known of it by now

    @contextmanager
    def _entered(self, counted: Attempt, account: Account) -> Iterator[None]:
        """Take note that the password, or proof, was right, and count the session for its user.

        Raises:
            LoginDelayed: The user was here too short a time ago.
            TooManyConnections: The user has as many as it may have.
        """
        self.doorkeeper.guard.succeeded(counted)
        self.place.enter_user(account.username)
        try:
            with self.doorkeeper.spacing.spaced_login(account.username):
                yield
        except BaseException:
            self.close()
            self.place.leave_user()
            raise

    def _admitted(self, credentials: PlainCredentials, counted: Attempt) -> Login | Handover:
        account = admitted(self.hooks, self.rules, self.peer, credentials)
        with self._entered(counted, account):
            self._held = self.hooks.open_session(self.peer, account)
            return opened(self.hooks, self.peer, account)

    def _tell_success(self, attempt: LoginAttempt, account: Account) -> None:
        tls = attempt.peer.tls
        protected = "no" if tls is None else f"{tls.version}/{tls.cipher}"
        self._log.tell("login", {"user": account.username, "tls": protected})
        told = (attempt.session_id, attempt.peer, attempt.username, account, attempt.mechanism, attempt.password_digest)
        self.hooks.login_succeeded(LoginSuccess(*told))

    def _tell_failure(self, attempt: LoginAttempt, error: PopframeError) -> None:
        code = error.code if isinstance(error, Refusal) else PermanentFailure.code
        level = logging.ERROR if isinstance(error, (HookContractError, PermanentFailure)) else logging.WARNING
        reason = str(error)
        self._log.tell("login-failed", {"user": attempt.username, "code": code, "reason": reason}, level)
        told = (attempt.session_id, attempt.peer, attempt.username, code, reason)
        self.hooks.login_failed(LoginFailure(*told, attempt.mechanism, attempt.password_digest))
