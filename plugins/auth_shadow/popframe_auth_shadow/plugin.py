"""The plugin: checks passwords against those of the machine's users.

Rule of this file: a hash is computed for every refusal, whether the user is unknown, has another password, or has an
account that is closed; and that it is closed is said only to the log. What cannot be known now is never a refusal.
"""

from __future__ import annotations

import os
import time

from pydantic import Field

from popframe import (
    Account,
    AuthenticationFailed,
    ConfigError,
    PlainCredentials,
    PluginSettings,
    ProvenPasswords,
    TemporaryFailure,
    hookimpl,
    is_password_hash,
    typical_hash,
    verify_password,
)
from popframe_auth_shadow.account_state import AccountState, SystemUser, account_state
from popframe_auth_shadow.name_service import NameService, NameServiceError, local_hashes

DAY_SECONDS = 86_400
"""Days of shadow(5) are those of UTC."""


class AuthShadowSettings(PluginSettings):
    """Table ``[plugin.auth_shadow]``."""

    cache_verified_passwords: bool = Field(
        default=True,
        description="Keep in memory, as keyed hashes, which password was right for which stored hash: then only a "
        "user's first login computes the slow hash. A password that is changed counts at once all the same.",
    )


class AuthShadow:
    """Authenticates the users of the machine; passwd and shadow are asked anew for every login."""

    Settings = AuthShadowSettings

    def __init__(self, settings: AuthShadowSettings) -> None:
        """See that users can be asked for.

        Raises:
            ConfigError: They cannot, since the user that the server has become may not read shadow.
        """
        self._users = NameService()
        try:
            hashes = local_hashes()
        except NameServiceError as error:
            raise ConfigError(f"as user id {os.geteuid()}: {error}") from error
        self._sample = typical_hash(stored for stored in hashes if is_password_hash(stored))
        self._verify = ProvenPasswords().verify if settings.cache_verified_passwords else verify_password

    @hookimpl
    def popframe_authenticate(self, credentials: PlainCredentials) -> Account | None:
        """Accept a user of the machine whose password matches and whose account is open; leave others to others."""
        user = self._find(credentials.username)
        if user is None:
            verify_password(credentials.password, self._sample)  # for the time it takes
            return None
        self._check(user, credentials.password)
        return _account(user)

    @hookimpl
    def popframe_lookup_account(self, username: str) -> Account | None:
        """Return a user of the machine whose identity is proven already, if the account is open.

        The rules for passwords count here too: one that is locked, missing or too old closes the account.
        """
        user = self._find(username)
        if user is None:
            return None
        state = account_state(user, int(time.time()) // DAY_SECONDS)
        if state is not AccountState.OPEN:
            raise AuthenticationFailed(state.value)
        return _account(user)

    def _find(self, username: str) -> SystemUser | None:
        try:
            return self._users.find(username)
        except NameServiceError as error:
            raise TemporaryFailure(str(error)) from error

    def _check(self, user: SystemUser, password: bytes) -> None:
        """Refuse a wrong password, and then an account that is closed.

        Raises:
            AuthenticationFailed: With the reason.
        """
        state = account_state(user, int(time.time()) // DAY_SECONDS)
        if not state.has_hash:
            verify_password(password, self._hash_like(user))  # for the time it takes
            raise AuthenticationFailed(state.value)
        # A proven password is found out quickly: of an account that is closed, that would tell that it is right.
        verify = self._verify if state is AccountState.OPEN else verify_password
        if not verify(password, user.stored):
            raise AuthenticationFailed("wrong password")
        if state is not AccountState.OPEN:
            raise AuthenticationFailed(state.value)

    def _hash_like(self, user: SystemUser) -> str:
        """Return what takes as long as the hash that a locked user had, or as most users' hashes."""
        stored = user.stored.lstrip("!*")
        return stored if is_password_hash(stored) else self._sample


def _account(user: SystemUser) -> Account:
    entry = user.passwd
    return Account(username=entry.name, uid=entry.uid, gid=entry.gid, home=entry.home, shell=entry.shell)
