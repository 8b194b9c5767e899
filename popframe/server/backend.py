"""The engine's backend in a front: the hooks, the limits, and the log."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from popframe.authorization import LoginRules
from popframe.engine import Handover, Login
from popframe.errors import AuthenticationFailed, HookContractError, PermanentFailure, PopframeError, Refusal
from popframe.model import LoginFailure, Peer, PlainCredentials, SessionHold
from popframe.plugins import Hooks, release
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


class HookBackend:
    """One session's way to the plugins."""

    def __init__(self, session_id: str, peer: Peer, hooks: Hooks, rules: LoginRules, place: Place) -> None:
        """Serve one session.

        Args:
            session_id: Its name in the log.
            peer: Where the client connects from.
            hooks: The plugins.
            rules: Who may log in, whatever the plugins say.
            place: Where it is counted.
        """
        self.session_id = session_id
        self.peer = peer
        self.hooks = hooks
        self.rules = rules
        self.place = place
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
        try:
            login = self._admitted(credentials)
        except PopframeError as error:
            self._tell_failure(credentials.username, error)
            if isinstance(error, AuthenticationFailed):
                time.sleep(max(0.0, started + self.rules.refusal_seconds - time.monotonic()))
            raise
        tls = "no" if peer.tls is None else f"{peer.tls.version}/{peer.tls.cipher}"
        self._log.tell("login", {"user": login.account.username, "tls": tls})
        return login

    def report_error(self, doing: str, error: Exception) -> None:
        """Log what the client is not told."""
        self._log.report_error(doing, error)

    def _admitted(self, credentials: PlainCredentials) -> Login | Handover:
        account = admitted(self.hooks, self.rules, self.peer, credentials)
        self.place.enter_user(account.username)
        try:
            self._held = self.hooks.open_session(self.peer, account)
            return opened(self.hooks, self.peer, account)
        except BaseException:
            self.close()
            self.place.leave_user()
            raise

    def _tell_failure(self, username: str, error: PopframeError) -> None:
        code = error.code if isinstance(error, Refusal) else PermanentFailure.code
        level = logging.ERROR if isinstance(error, (HookContractError, PermanentFailure)) else logging.WARNING
        self._log.tell("login-failed", {"user": username, "code": code, "reason": str(error)}, level)
        self.hooks.login_failed(LoginFailure(self.session_id, self.peer, username, code, str(error)))
