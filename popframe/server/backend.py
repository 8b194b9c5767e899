"""The engine's backend in a front: the hooks, the limits, and the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from popframe.authorization import LoginRules
from popframe.engine import Handover, Login
from popframe.errors import AuthenticationFailed, HookContractError, PermanentFailure, PopframeError, Refusal
from popframe.extension import Mechanism
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
from popframe.proof import Proven
from popframe.server.abuse.guard import Attempt, LoginGuard, Wait
from popframe.server.abuse.spacing import Spacing
from popframe.server.admission import Admitted, admitted, opened
from popframe.server.sasl.exchange import Clock, MechanismRun, Run
from popframe.server.sasl.told_exchange import ToldExchange
from popframe.server.scoreboard import FrontBoard
from popframe.server.session_log import SessionLog

NO_MECHANISMS: Mapping[str, Mechanism] = MappingProxyType({})


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
        self,
        session_id: str,
        peer: Peer,
        hooks: Hooks,
        rules: LoginRules,
        place: Place,
        door: Doorkeeper,
        mechanisms: Mapping[str, Mechanism] = NO_MECHANISMS,
        log: SessionLog | None = None,
    ) -> None:
        """Serve one session.

        Args:
            session_id: Its name in the log.
            peer: Where the client connects from.
            hooks: The plugins.
            rules: Who may log in, whatever the plugins say.
            place: Where it is counted.
            door: Who is asked before that.
            mechanisms: What exchanges are begun with, by name.
            log: What is told of it; by default the lines of the log alone.
        """
        self.session_id = session_id
        self.peer = peer
        self.hooks = hooks
        self.rules = rules
        self.place = place
        self.doorkeeper = door
        self.mechanisms = mechanisms
        self._held: tuple[SessionHold, ...] = ()
        self.log = log or SessionLog(session_id, peer)

    def close(self) -> None:
        """End what plugins have begun with the login; called when the session is over."""
        held, self._held = self._held, ()
        release(held)

    def log_in(self, peer: Peer, credentials: PlainCredentials) -> Login | Handover:
        """Ask the plugins who this is, whether it may come in, and for its maildrop."""
        self.peer = peer
        attempt = self.attempt(credentials.username, credentials.password)
        clock = Clock()
        try:
            return self.let_in(attempt, credentials, clock)
        except PopframeError as error:
            self.refuse(attempt, error, clock)
            raise

    def begin_exchange(self, peer: Peer, mechanism: str) -> ToldExchange:
        """Begin a run of a SASL mechanism, or of APOP."""
        self.peer = peer
        try:
            return ToldExchange(self, self._begun(mechanism), mechanism)
        except PopframeError as error:
            self.refuse(self.attempt("", None, mechanism), error, Clock())
            raise

    def report_error(self, doing: str, error: Exception) -> None:
        """Log what the client is not told."""
        self.log.report_error(doing, error)

    # --- for exchanges too

    def attempt(self, username: str, password: bytes | None, mechanism: str = "PASS") -> LoginAttempt:
        """Return what plugins are told of an attempt.

        Args:
            username: The name as sent.
            password: None when the mechanism does not show it.
            mechanism: How.
        """
        guard = self.doorkeeper.guard
        digest = "" if password is None else guard.password_digest(username, password)
        return LoginAttempt(self.session_id, self.peer, username, mechanism, digest)

    def refuse(self, attempt: LoginAttempt, error: PopframeError, clock: Clock, authorization: str = "") -> None:
        """Tell log and plugins of a refusal, and see that it comes not too soon."""
        self.tell_failure(attempt, error, authorization)
        if isinstance(error, AuthenticationFailed):
            time.sleep(max(0.0, clock.started + self.rules.refusal_seconds - time.monotonic()))

    @contextmanager
    def attempted(self, attempt: LoginAttempt, secret: bytes | None, *, is_first: bool = True) -> Iterator[Attempt]:
        """Let an attempt wait for its turn; its password, or proof, is looked at in the block.

        What the block raises tells what came of it: an AuthenticationFailed is a wrong password, unless
        :meth:`_entered` was reached before; of anything else nobody knows.

        Args:
            attempt: Who tries.
            secret: The password; None when the mechanism does not show it.
            is_first: It was not its turn before, at an earlier message of the same exchange.

        Raises:
            PopframeError: It is not to be looked at.
        """
        guard = self.doorkeeper.guard
        counted = guard.begin(self.peer, attempt.username, self.doorkeeper.wait)
        is_asked = False
        try:
            if is_first:
                self.hooks.check_attempt(attempt)
            is_asked = True
            yield counted
        except AuthenticationFailed:
            if is_asked:
                guard.failed(counted, secret)
            raise
        finally:
            guard.withdrawn(counted)  # unless something is known of it by now

    def let_in(
        self,
        attempt: LoginAttempt,
        proof: PlainCredentials | Proven,
        clock: Clock,
        run: Run | None = None,
        *,
        is_first: bool = True,
    ) -> Login | Handover:
        """Let in whose proof this is, once it is its turn.

        Args:
            attempt: Who tries.
            proof: What is to be found right, or is.
            clock: Begins anew behind any delay, which would hide nothing of what is done then.
            run: The exchange that it comes from; None for USER and PASS.
            is_first: As for :meth:`attempted`.

        Raises:
            PopframeError: It is refused.
        """
        secret = proof.password if isinstance(proof, PlainCredentials) else None
        with self.attempted(attempt, secret, is_first=is_first) as counted:
            clock.start()
            login, master = self._admitted(proof, counted, run)
        self._tell_success(attempt, login.account, master)
        return login

    def tell_failure(self, attempt: LoginAttempt, error: PopframeError, authorization: str = "") -> None:
        """Tell log and plugins that an attempt has failed."""
        code = error.code if isinstance(error, Refusal) else PermanentFailure.code
        level = logging.ERROR if isinstance(error, (HookContractError, PermanentFailure)) else logging.WARNING
        reason = str(error)
        fields: dict[str, object] = {"user": attempt.username, "code": code, "reason": reason}
        fields["mechanism"] = attempt.mechanism
        if authorization:
            fields["as"] = authorization
        self.log.tell("login-failed", fields, level)
        told = (attempt.session_id, attempt.peer, attempt.username, code, reason)
        self.hooks.login_failed(LoginFailure(*told, attempt.mechanism, attempt.password_digest))

    # --- where plugins are asked in this process

    def _begun(self, mechanism: str) -> Run:
        """Begin an exchange."""
        return MechanismRun(self.mechanisms, mechanism, self.hooks, self.peer)

    def _admitted(
        self, proof: PlainCredentials | Proven, counted: Attempt, run: Run | None
    ) -> tuple[Login | Handover, str]:
        """Return the login, and the name of the master user who logs in as that one, or none."""
        admission = admitted(self.hooks, self.rules, self.peer, proof, prepares=run is not None)
        with self._entered(counted, admission):
            self._held = self.hooks.open_session(self.peer, admission.account)
            return opened(self.hooks, self.peer, admission.account), admission.master

    @contextmanager
    def _entered(self, counted: Attempt, admission: Admitted) -> Iterator[None]:
        """Take note that the password, or proof, was right, and count the session for its user.

        Raises:
            LoginDelayed: The user was here too short a time ago.
            TooManyConnections: The user has as many as it may have.
        """
        username = admission.account.username
        self.doorkeeper.guard.succeeded(counted)
        self.place.enter_user(username)
        try:
            with self.doorkeeper.spacing.spaced_login(username):
                yield
        except BaseException:
            self.close()
            self.place.leave_user()
            raise

    def _tell_success(self, attempt: LoginAttempt, account: Account, master: str) -> None:
        tls = attempt.peer.tls
        protected = "no" if tls is None else f"{tls.version}/{tls.cipher}"
        who: dict[str, object] = {"user": account.username, **({"master": master} if master else {})}
        self.log.tell("login", {**who, "tls": protected, "mechanism": attempt.mechanism})
        told = (attempt.session_id, attempt.peer, attempt.username, account, attempt.mechanism, attempt.password_digest)
        self.hooks.login_succeeded(LoginSuccess(*told))
