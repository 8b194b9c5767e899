"""The plugin: checks passwords against the file, and notices when the file changes."""

from __future__ import annotations

import logging
import os
import secrets
import stat
import threading
from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from pydantic import Field

from popframe import (
    Account,
    AuthenticationFailed,
    ConfigError,
    ConfigPath,
    PlainCredentials,
    PluginSettings,
    hash_password,
    hookimpl,
    verify_password,
)
from popframe_auth_file.user_file import User, parse

logger = logging.getLogger("popframe.auth_file")

MAX_PROVEN = 10_000
"""Passwords remembered as right; some 100 octets each."""

Fingerprint = tuple[int, int, int]


class Settings(PluginSettings):
    """Table ``[plugin.auth_file]``."""

    path: ConfigPath = Field(description="The password file, name:hash[:key=value …], one user a line.")
    remember_passwords: bool = Field(
        default=True,
        description="Remember, as a keyed hash in memory, which password was found right for which stored hash, so that "
        "the next login costs microseconds; a password that was changed in the file counts at once all the same.",
    )


class AuthFile:
    """Authenticates the users of one file; a change of the file counts from the next login on."""

    Settings = Settings

    def __init__(self, settings: Settings) -> None:
        """Read the file.

        Raises:
            ConfigError: It cannot be read, or something in it is wrong.
        """
        self._path: Path = settings.path
        self._remembers = settings.remember_passwords
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._proven: dict[bytes, None] = {}
        try:
            self._fingerprint = _fingerprint(os.stat(self._path))
            self._users = self._read()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self._path}: cannot be read: {_reason(error)}") from error
        self._dummy_hash = _dummy_hash(self._users)

    @hookimpl
    def popframe_authenticate(self, credentials: PlainCredentials) -> Account | None:
        """Accept a user of the file whose password matches; leave users that are not in it to other plugins."""
        user = self._present_users().get(credentials.username)
        if user is None or user.is_locked:
            # The same work as for a wrong password, so that the time does not tell who exists.
            verify_password(credentials.password, self._dummy_hash)
            if user is None:
                return None
            raise AuthenticationFailed("the user is locked in the password file")
        if not self._is_right(credentials.password, user.stored):
            raise AuthenticationFailed("wrong password")
        return user.account

    def _is_right(self, password: bytes, stored: str) -> bool:
        if not self._remembers:
            return verify_password(password, stored)
        proof = blake2b(stored.encode("utf-8", "surrogateescape") + b"\0" + password, key=self._key, digest_size=32)
        digest = proof.digest()
        if digest in self._proven:
            return True
        if not verify_password(password, stored):
            return False
        with self._lock:
            while len(self._proven) >= MAX_PROVEN:
                del self._proven[next(iter(self._proven))]
            self._proven[digest] = None
        return True

    def _present_users(self) -> Mapping[str, User]:
        """Return the users, read anew if the file has changed; while the new file is wrong, the old users stay."""
        try:
            fingerprint = _fingerprint(os.stat(self._path))
        except OSError:
            fingerprint = (0, 0, 0)
        if fingerprint == self._fingerprint:
            return self._users
        with self._lock:
            if fingerprint != self._fingerprint:
                self._fingerprint = fingerprint
                try:
                    self._users = self._read()
                    self._dummy_hash = _dummy_hash(self._users)
                    logger.info("%s was read again: %d users", self._path, len(self._users))
                except (ConfigError, OSError, UnicodeDecodeError) as error:
                    for line in _reason(error).splitlines():  # the operator's mistake: a trace would not help
                        text = "%s changed and cannot be used, the users stay as they were: %s"
                        logger.log(logging.ERROR, text, self._path, line)
            return self._users

    def _read(self) -> Mapping[str, User]:
        with self._path.open(encoding="utf-8") as lines:
            if os.fstat(lines.fileno()).st_mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
                logger.warning("%s can be read or written by others: chmod 600", self._path)
            return parse(lines, str(self._path))


def _fingerprint(status: os.stat_result) -> Fingerprint:
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _dummy_hash(users: Mapping[str, User]) -> str:
    """Return a hash that costs what most users' hashes cost: one of theirs, since only the time matters.

    The result of checking against it is never used.
    """
    schemes = Counter(_scheme(user.stored) for user in users.values() if not user.is_locked)
    if not schemes:
        return hash_password(secrets.token_bytes(16).hex().encode())
    commonest = schemes.most_common(1)[0][0]
    return next(user.stored for user in users.values() if _scheme(user.stored) == commonest)


def _scheme(stored: str) -> str:
    """Return scheme and cost of a hash: all but its last two parts (salt and result)."""
    return stored.rpartition("$")[0].rpartition("$")[0]
