"""The engine's backend in a front: the hooks, the limits, and the log."""

from __future__ import annotations

import logging
import traceback

from popframe.engine import Login
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
        self._session_id = session_id
        self._peer = peer
        self._hooks = hooks
        self._board = board
        self._slot = slot
        self._user_limit = user_limit

    def log_in(self, credentials: PlainCredentials) -> Login:
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

    def _admitted(self, credentials: PlainCredentials) -> Login:
        username = self._hooks.canonical_username(self._peer, credentials.username)
        account = self._hooks.authenticate(self._peer, PlainCredentials(username, credentials.password))
        if account is None:
            raise AuthenticationFailed("unknown user")
        self._hooks.authorize(self._peer, account)
        self._board.enter_user(self._slot, account.username, self._user_limit)
        try:
            return self._opened(account)
        except BaseException:
            self._board.leave_user(self._slot)
            raise

    def _opened(self, account: Account) -> Login:
        self._hooks.before_maildrop_opens(self._peer, account)
        maildrop = self._hooks.open_maildrop(account)
        if maildrop is None:
            raise PermanentFailure("no plugin stores the mail of this account")
        return Login(account, maildrop)

    def _tell_failure(self, username: str, error: PopframeError) -> None:
        code = error.code if isinstance(error, Refusal) else PermanentFailure.code
        level = logging.ERROR if isinstance(error, (HookContractError, PermanentFailure)) else logging.WARNING
        fields = {**self._start_of_line(), "user": username, "code": code, "reason": str(error)}
        log_event("login-failed", fields, level)
        self._hooks.login_failed(LoginFailure(self._session_id, self._peer, username, code, str(error)))

    def _start_of_line(self) -> dict[str, object]:
        return {"session": self._session_id, "address": self._peer.address or "-"}
