"""The plugin: hands every name and password to the verifier, and its answer to the server."""

from __future__ import annotations

import logging
import os
import time

from pydantic import Field, field_validator

from popframe import (
    Account,
    AuthenticationFailed,
    Peer,
    PlainCredentials,
    PluginSettings,
    TemporaryFailure,
    hookimpl,
)
from popframe_auth_pam.message import Accepted, Limits, Question, Refused, Unavailable
from popframe_auth_pam.verifier_process import VerifierProcess

MAX_TIMEOUT_SECONDS = 600
"""Clients have given up long before; a larger number is a slip of the unit."""

REFUSAL_SECONDS = 0.25
"""No refusal comes sooner. ``pam_unix`` says that it does not know a user some 50 ms before it has computed the hash of
a wrong password, so the time would tell which users exist; and not every service has its delay of two seconds."""

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
        default=False, description="Open a PAM session for every login; not possible with isolation 'shared'."
    )

    @field_validator("open_session")
    @classmethod
    def _no_session_without_a_process(cls, wanted: bool) -> bool:
        """Refuse what would look right and do nothing."""
        if wanted:
            raise ValueError(
                "a PAM session changes the process that opens it (limits, keyrings, namespaces) and is closed by that "
                "process at the end; with isolation 'shared' there is no process for each user"
            )
        return wanted


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
        return VerifierProcess(settings.service, Limits(settings.timeout_seconds))

    def __init__(self, _settings: AuthPamSettings, verifier: VerifierProcess) -> None:
        self._verifier = verifier

    @hookimpl
    def popframe_authenticate(self, peer: Peer, credentials: PlainCredentials) -> Account:
        """Ask PAM. It has an answer for every name, so plugins that are listed later are never asked."""
        try:
            question = Question(credentials.username.encode(), credentials.password, peer.address.encode())
        except ValueError as error:
            raise AuthenticationFailed(str(error)) from error
        started = time.monotonic()
        match self._verifier.ask(question):
            case Accepted(username, uid, gid, home, shell):
                return Account(username=username, uid=uid, gid=gid, home=home, shell=shell)
            case Refused(reason):
                time.sleep(max(0.0, started + REFUSAL_SECONDS - time.monotonic()))
                raise AuthenticationFailed(reason)
            case Unavailable(reason):
                _logger.error("PAM cannot tell whether a password is right: %s", reason)
                raise TemporaryFailure(reason)
