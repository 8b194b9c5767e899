"""An issuer's keys in a file, read again when it has changed.

Rule of this file: whatever becomes of the file while the server runs, there are keys: those of its last good version.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from pathlib import Path

from popframe import ConfigError
from popframe_auth_oauth.key_set import MAX_DOCUMENT_OCTETS, KeySet, parse_key_set

logger = logging.getLogger("popframe.auth_oauth")

SETTLED_NANOSECONDS = 2_000_000_000
"""A file that was changed less than this before it was read may change again and look the same."""

Fingerprint = tuple[int, ...]


class KeyFile:
    """The keys of a file."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ConfigError: It cannot be read, or is no JWK Set with a usable key.
        """
        self._path = path
        self._lock = threading.Lock()
        self._complaint = ""
        try:
            self._keys, self._fingerprint = self._read()
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"{path} cannot be used: {error}") from error
        for reason in self._keys.ignored:
            logger.warning("%s: %s; it is ignored", path, reason)

    def current(self) -> KeySet:
        """Return the keys. When the file has not changed lately this costs one stat(2)."""
        with self._lock:
            try:
                if _fingerprint(os.stat(self._path)) != self._fingerprint:
                    self._keys, self._fingerprint = self._read()
                    self._complaint = ""
            except (OSError, ValueError) as error:
                self._complain(error)
            return self._keys

    def newer(self, known: KeySet) -> KeySet | None:
        """Return None: those of :meth:`current` are as new as can be."""

    def _complain(self, error: OSError | ValueError) -> None:
        """Log why the file cannot be used, once: each login comes by here until it is mended."""
        self._fingerprint = None  # this may pass without a trace in the file
        complaint = str((error.strerror if isinstance(error, OSError) else None) or error)
        if complaint != self._complaint:
            self._complaint = complaint
            logger.error("%s cannot be used, the keys stay as they were: %s", self._path, complaint)

    def _read(self) -> tuple[KeySet, Fingerprint | None]:
        """Return the keys, and what tells this version from the next one; None when nothing does yet."""
        # Without O_NONBLOCK, a pipe in the file's place would hold up every login.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            now = time.time_ns()
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("it is not a regular file")
            if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise ValueError("others than its owner can write it, and so log in as anybody: chmod go-w")
            keys = parse_key_set(file.read(MAX_DOCUMENT_OCTETS + 1))
        is_settled = now - status.st_ctime_ns > SETTLED_NANOSECONDS
        return keys, _fingerprint(status) if is_settled else None


def _fingerprint(status: os.stat_result) -> Fingerprint:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
