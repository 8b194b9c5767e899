"""The plugin: checks passwords against the file.

Rule of this file: every refusal costs one computed hash, whether the user is unknown, locked, or has another password.
"""

from __future__ import annotations

import hmac
import logging
from collections import Counter
from collections.abc import Iterator

from pydantic import Field

from popframe import (
    Account,
    AuthenticationFailed,
    ConfigPath,
    PlainCredentials,
    PluginSettings,
    ProvenPasswords,
    ScramKeys,
    SecretScheme,
    StoredSecret,
    hookimpl,
)
from popframe_auth_file.current_users import CurrentUsers
from popframe_auth_file.user_file import SCRAM_SCHEMES, User
from popframe_auth_file.verifying import verify

LOCKED = "the user is locked, or has no password yet, in the password file"

_logger = logging.getLogger("popframe.auth_file")


class AuthFileSettings(PluginSettings):
    """Table ``[plugin.auth_file]``."""

    path: ConfigPath = Field(description="The password file: one user a line, name:hash[:key=value …].")
    cache_verified_passwords: bool = Field(
        default=True,
        description="Keep in memory, as keyed hashes, which password was right for which stored hash: then only a "
        "user's first login computes the slow hash. A hash that changes in the file counts at once all the same.",
    )


class AuthFile:
    """Authenticates the users of one file; a change of the file counts from the next login on."""

    Settings = AuthFileSettings

    def __init__(self, settings: AuthFileSettings) -> None:
        """Read the file.

        Raises:
            ConfigError: It cannot be read, or something in it is wrong.
        """
        self._users = CurrentUsers(settings.path)
        self._proven = ProvenPasswords() if settings.cache_verified_passwords else None

    @hookimpl
    def popframe_authenticate(self, credentials: PlainCredentials) -> Account | None:
        """Accept a user of the file whose password matches; leave users that are not in it to other plugins."""
        users = self._users.get()
        user = users.by_name.get(credentials.username)
        if user is None or user.is_locked:
            verify(credentials.password, users.sample)  # for the time it takes
            if user is None:
                return None
            raise AuthenticationFailed(LOCKED)
        if not self._is_right(credentials.password, user, users.sample):
            raise AuthenticationFailed("wrong password")
        return user.account

    def _is_right(self, password: bytes, user: User, sample: str) -> bool:
        if user.plain is not None:
            verify(password, sample)  # for the time it takes, whether it is right or not
            return hmac.compare_digest(password, user.plain)
        if self._proven is None:
            return verify(password, user.verifiable)
        return self._proven.verify(password, user.verifiable, verify)

    @hookimpl
    def popframe_lookup_account(self, username: str) -> Account | None:
        """Return a user whose identity is proven already."""
        user = self._users.get().by_name.get(username)
        if user is not None and user.is_locked:
            raise AuthenticationFailed(LOCKED)
        return None if user is None else user.account

    @hookimpl
    def popframe_lookup_secret(self, username: str, scheme: str) -> StoredSecret | None:
        """Return what a line has for SCRAM, or its password if that can be read; nothing of a locked user."""
        user = self._users.get().by_name.get(username)
        if user is None or user.is_locked:
            return None
        value = user.plain if scheme == "plain" else user.scram.get(scheme, "").encode()
        return StoredSecret(user.account, scheme, value) if value else None

    @hookimpl
    def popframe_register_secret_schemes(self) -> Iterator[SecretScheme]:
        """Name SCRAM only if every user can use it, since a client that sees it tries nothing else."""
        users = [user for user in self._users.get().by_name.values() if not user.is_locked]
        for scheme in SCRAM_SCHEMES:
            keys = [ScramKeys.parsed(user.scram[scheme]) for user in users if scheme in user.scram]
            if keys and len(keys) == len(users):
                yield SecretScheme(scheme, Counter(key.iterations for key in keys).most_common(1)[0][0])
            elif keys:
                missing = len(users) - len(keys)
                _logger.info("%s is not offered: %d of %d users have no keys for it", scheme, missing, len(users))
        if any(user.plain is not None for user in users):
            yield SecretScheme("plain")
