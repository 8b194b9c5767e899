"""The plugin: checks passwords against the file.

Rule of this file: every refusal costs one computed hash, whether the user is unknown, locked, or has another password.
"""

from __future__ import annotations

from pydantic import Field

from popframe import (
    Account,
    AuthenticationFailed,
    ConfigPath,
    PlainCredentials,
    PluginSettings,
    ProvenPasswords,
    hookimpl,
    verify_password,
)
from popframe_auth_file.current_users import CurrentUsers


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
        self._verify = ProvenPasswords().verify if settings.cache_verified_passwords else verify_password

    @hookimpl
    def popframe_authenticate(self, credentials: PlainCredentials) -> Account | None:
        """Accept a user of the file whose password matches; leave users that are not in it to other plugins."""
        users = self._users.get()
        user = users.by_name.get(credentials.username)
        if user is None or user.is_locked:
            verify_password(credentials.password, users.sample)  # for the time it takes
            if user is None:
                return None
            raise AuthenticationFailed("the user is locked, or has no password yet, in the password file")
        if not self._verify(credentials.password, user.stored):
            raise AuthenticationFailed("wrong password")
        return user.account
