"""The plugin: hands every name, with its password or without, to the verifier; and the end of a session."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, field

from pydantic import Field

from popframe import (
    Account,
    AuthenticationFailed,
    Peer,
    PlainCredentials,
    PluginSettings,
    SessionHold,
    TemporaryFailure,
    hookimpl,
)
from popframe_auth_pam.message import Accepted, Limits, Question, Refused, Unavailable
from popframe_auth_pam.verifier_process import Exchange, VerifierProcess

MAX_TIMEOUT_SECONDS = 600
"""Clients have given up long before; a larger number is a slip of the unit."""

REFUSAL_SECONDS = 0.125
"""No refusal comes sooner. ``pam_unix`` says that it does not know a user some 50 ms before it has computed the hash of
a wrong password, so the time would tell which users exist. It is less than the server lets every refusal take
(``login.refusal_seconds``), so that it does not tell one by this plugin from one by a rule."""

_logger = logging.getLogger("popframe.auth_pam")


class AuthPamSettings(PluginSettings):
    """Table ``[plugin.auth_pam]``."""

    service: str = Field(
        default="popframe",
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$",
        description="Name of the PAM service: its file in /etc/pam.d. In lower case, as libpam looks for it.",
    )
    timeout_seconds: int = Field(
        default=60,
        ge=1,
        le=MAX_TIMEOUT_SECONDS,
        description="Seconds that one attempt may take; then it is killed and the client is told [SYS/TEMP].",
    )
    open_session: bool = Field(
        default=False,
        description="Open a PAM session with every login, and close it when the session ends, however it ends.",
    )


@dataclass(frozen=True, slots=True)
class PamAccount(Account):
    """An account whose attempt waits for the wish for a PAM session.

    Attributes:
        exchange: The way to it.
    """

    exchange: Exchange | None = field(default=None, compare=False, repr=False)


class AuthPam:
    """Authenticates the accounts of the machine through PAM."""

    Settings = AuthPamSettings

    @classmethod
    def before_run_as(cls, settings: AuthPamSettings) -> VerifierProcess:
        """Start the process that asks PAM while we are still root.

        Raises:
            ConfigError: The service has no file, or the process does not start.
        """
        if os.geteuid() != 0:
            _logger.warning(
                "not started as root: pam_unix then checks the password of user id %d alone; every other user is "
                "refused as by a server that is out of order ([SYS/TEMP])",
                os.geteuid(),
            )
        limits = Limits(settings.timeout_seconds, opens_sessions=settings.open_session)
        return VerifierProcess(settings.service, limits)

    def __init__(self, settings: AuthPamSettings, verifier: VerifierProcess) -> None:
        self._verifier = verifier
        self._opens_sessions = settings.open_session

    @hookimpl
    def popframe_authenticate(self, peer: Peer, credentials: PlainCredentials) -> Account:
        """Ask PAM. It has an answer for every name, so plugins that are listed later are never asked."""
        return self._asked(credentials.username, credentials.password, peer)

    @hookimpl
    def popframe_lookup_account(self, peer: Peer, username: str) -> Account:
        """Ask PAM whether a user whose identity is proven already may log in: the service's ``account`` modules."""
        return self._asked(username, None, peer)

    def _asked(self, username: str, password: bytes | None, peer: Peer) -> Account:
        try:
            question = Question(username.encode(), password, peer.address.encode())
        except ValueError as error:
            raise AuthenticationFailed(str(error)) from error
        started = time.monotonic()
        exchange = self._verifier.begin(question)
        answer = exchange.receive_answer()
        if isinstance(answer, Accepted) and self._opens_sessions:
            return PamAccount(answer.username, answer.uid, answer.gid, answer.home, answer.shell, exchange=exchange)
        exchange.close()
        match answer:
            case Accepted(name, uid, gid, home, shell):
                return Account(username=name, uid=uid, gid=gid, home=home, shell=shell)
            case Refused(reason):
                time.sleep(max(0.0, started + REFUSAL_SECONDS - time.monotonic()))
                raise AuthenticationFailed(reason)
            case Unavailable(reason):
                _logger.error("PAM cannot tell whether a user may log in: %s", reason)
                raise TemporaryFailure(reason)

    @hookimpl
    def popframe_open_session(self, account: Account) -> SessionHold | None:
        """Open a PAM session for whom PAM has accepted; what holds it open is the way to the process that keeps it.

        Raises:
            TemporaryFailure: There is none.
        """
        if not isinstance(account, PamAccount) or account.exchange is None:
            return None
        problem = account.exchange.open_session()
        if problem is not None:
            _logger.error("a login without a PAM session is none: %s", problem.reason)
            raise TemporaryFailure(problem.reason)
        return account.exchange
