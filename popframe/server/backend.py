"""The engine's backend in a front: the hooks, the limits, and the log."""

from __future__ import annotations

import logging
import traceback

from popframe.engine import Handover, Login
from popframe.errors import AuthenticationFailed, HookContractError, PermanentFailure, PopframeError, Refusal
from popframe.model import Account, LoginFailure, Peer, PlainCredentials
from popframe.plugins import Hooks
from popframe.server.log import log_event
from popframe.server.scoreboard import FrontBoard


class HookBackend:
    """One session's way to the plugins."""

    def __init__(
        self, session_id: str, peer: Peer, hooks: Hooks, board: FrontBoard, slot: int, user_limit: int
    ) -> None:
        """Serve one session.

        Args:
            session_id: Its name in the log.
            peer: Where the client connects from.
            hooks: The plugins.
            board: Where connections are counted.
            slot: This session's place on it.
            user_limit: Connections that one user may have.
        """
        self.session_id = session_id
        self.peer = peer
        self.hooks = hooks
        self.board = board
        self.slot = slot
        self.user_limit = user_limit

    def log_in(self, credentials: PlainCredentials) -> Login | Handover:
        """Ask the plugins who this is, whether it may come in, and for its maildrop."""
        try:
            login = self._admitted(credentials)
        except PopframeError as error:
            self._tell_failure(credentials.username, error)
            raise
        log_event("login", {**self._start_of_line(), "user": login.account.username})
        return login

    def report_error(self, doing: str, error: Exception) -> None:
        """Log what the client is not told."""
        fields = {**self._start_of_line(), "doing": doing, "error": type(error).__name__, "reason": str(error)}
        if isinstance(error, Refusal):
            log_event("refused", fields, logging.WARNING)
        else:
            fields["trace"] = "".join(traceback.format_exception(error))
            log_event("error", fields, logging.ERROR)

    def _admitted(self, credentials: PlainCredentials) -> Login | Handover:
        username = self.hooks.canonical_username(self.peer, credentials.username)
        account = self.hooks.authenticate(self.peer, PlainCredentials(username, credentials.password))
        if account is None:
            raise AuthenticationFailed("unknown user")
        self.hooks.authorize(self.peer, account)
        self.board.enter_user(self.slot, account.username, self.user_limit)
        try:
            return self._opened(account)
        except BaseException:
            self.board.leave_user(self.slot)
            raise

    def _opened(self, account: Account) -> Login:
        self.hooks.before_maildrop_opens(self.peer, account)
        maildrop = self.hooks.open_maildrop(account)
        if maildrop is None:
            raise PermanentFailure("no plugin stores the mail of this account")
        return Login(account, maildrop)

    def _tell_failure(self, username: str, error: PopframeError) -> None:
        code = error.code if isinstance(error, Refusal) else PermanentFailure.code
        level = logging.ERROR if isinstance(error, (HookContractError, PermanentFailure)) else logging.WARNING
        fields = {**self._start_of_line(), "user": username, "code": code, "reason": str(error)}
        log_event("login-failed", fields, level)
        self.hooks.login_failed(LoginFailure(self.session_id, self.peer, username, code, str(error)))

    def _start_of_line(self) -> dict[str, object]:
        return {"session": self.session_id, "address": self.peer.address or "-"}
