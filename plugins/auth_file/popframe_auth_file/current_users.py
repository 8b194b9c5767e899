"""The users of a password file as it is now: it is read again when it has changed.

Rule of this file: whatever becomes of the password file while the server runs, there are users. One that is gone,
unreadable or wrong leaves those of its last good version in place, and one line in the log.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from popframe import ConfigError
from popframe_auth_file.user_file import User, parse
from popframe_auth_file.verifying import typical

logger = logging.getLogger("popframe.auth_file")

MAX_LOGGED_PROBLEMS = 10
"""Mistakes told in one line of the log; ``popframe check-config`` tells all of them."""

SETTLED_NANOSECONDS = 2_000_000_000
"""A file that was changed less than this before it was read may change again and look the same: the clock of a file
system ticks every 4 to 10 ms, on some every second or two."""

_FOR_OTHERS = stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP

Fingerprint = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Users:
    """One version of the file.

    Attributes:
        by_name: Its users.
        sample: What costs as much to verify as what most users have, to spend the same time on one who does not exist.
    """

    by_name: Mapping[str, User]
    sample: str = field(repr=False)


class CurrentUsers:
    """Gives the users of a file, in the version that is on disk when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ConfigError: It cannot be read, or something in it is wrong.
        """
        self._path = path
        self._lock = threading.Lock()
        self._complaint = ""
        self._mode = 0
        try:
            content, fingerprint = self._read()
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
        self._users = _users(parse(content, str(path)))
        self._digest = _digest(content)
        self._fingerprint = fingerprint

    def get(self) -> Users:
        """Return the users. When the file has not changed lately this costs one stat(2)."""
        try:
            if _fingerprint(os.stat(self._path)) == self._fingerprint:
                return self._users
        except OSError:
            pass  # the reading tells it
        with self._lock:
            self._refresh()
            return self._users

    def _refresh(self) -> None:
        """Read the file, unless another thread just did; the lock is held, for nothing here takes long."""
        try:
            if _fingerprint(os.stat(self._path)) == self._fingerprint:
                return
            content, fingerprint = self._read()
        except (ConfigError, OSError) as error:
            # Reading is tried at every login, since this may pass without a trace in the file.
            self._fingerprint, self._digest = None, b""
            self._complain(str(error) if isinstance(error, ConfigError) else f"{self._path}: {error.strerror}")
            return
        digest = _digest(content)
        if digest != self._digest:
            self._take(content)
            self._digest = digest
        self._fingerprint = fingerprint  # last: who sees it asks no further, and must get these users

    def _take(self, content: bytes) -> None:
        """Let a new version of the file count, if there is nothing wrong with it."""
        try:
            self._users = _users(parse(content, str(self._path)))
        except ConfigError as error:
            self._complain(_in_one_line(str(error).splitlines()))
        else:
            self._complaint = ""
            logger.info("%s was read again: %d users", self._path, len(self._users.by_name))

    def _complain(self, complaint: str) -> None:
        """Log why the file cannot be used, once: each login comes by here until it is mended."""
        if complaint != self._complaint:
            self._complaint = complaint
            logger.error("the password file cannot be used, the users stay as they were: %s", complaint)

    def _read(self) -> tuple[bytes, Fingerprint | None]:
        """Return the content, and what tells this version from the next one; None when nothing does yet."""
        # Without O_NONBLOCK, a pipe in the file's place would hold up every login.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            now = time.time_ns()
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{self._path} is not a regular file")
            if status.st_mode & _FOR_OTHERS and status.st_mode != self._mode:
                logger.warning("%s can be read by everybody, or written by others: chmod o=,g-w", self._path)
            self._mode = status.st_mode
            is_settled = now - status.st_ctime_ns > SETTLED_NANOSECONDS
            return file.read(), _fingerprint(status) if is_settled else None


def _fingerprint(status: os.stat_result) -> Fingerprint:
    """Return what tells one version from another; the change time tells of chmod and of a restored mtime."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=32).digest()


def _in_one_line(problems: list[str]) -> str:
    more = len(problems) - MAX_LOGGED_PROBLEMS
    return "; ".join(problems[:MAX_LOGGED_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")


def _users(by_name: Mapping[str, User]) -> Users:
    return Users(by_name, typical(user.verifiable for user in by_name.values() if not user.is_locked))
