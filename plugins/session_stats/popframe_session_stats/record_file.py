"""A file to which many processes append whole lines, and which may be moved away at any time.

Rule of this file: no line is worth a session. What cannot be written is told in the log, now and then.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from pathlib import Path

WARNING_PAUSE_SECONDS = 60.0
"""How often a process says at most that it cannot write."""

FILE_MODE = 0o640
"""For the user that the server runs as, and for the group to read: the lines have user names."""

_logger = logging.getLogger("popframe.session_stats")


class RecordFile:
    """The file, for all threads of a process; opened when the first line comes, by the process that writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._descriptor = -1
        self._identity = (0, 0)
        self._is_torn = False
        self._lost_count = 0
        self._warn_at = 0.0

    def append(self, line: str) -> None:
        """Write one line by one call, so that those of other processes stand before or behind it."""
        octets = line.encode("utf-8", "backslashreplace") + b"\n"
        with self._lock:
            try:
                self._open_if_moved()
                self._write(octets)
            except OSError as error:
                self._lost_count += 1
                self._warn(error)

    def _open_if_moved(self) -> None:
        """Open the file that has the name now: a rotated log has another, or none until somebody makes it."""
        try:
            status = os.stat(self._path)
            if self._descriptor >= 0 and self._identity == (status.st_dev, status.st_ino):
                return
        except FileNotFoundError:
            pass
        # Not blocking: a pipe that nobody reads must not keep a session.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
        descriptor = os.open(self._path, flags, FILE_MODE)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._is_torn = descriptor, False
        status = os.fstat(descriptor)
        self._identity = (status.st_dev, status.st_ino)

    def _write(self, octets: bytes) -> None:
        """Write it whole; behind a line that a full disk has cut, on a line of its own.

        Raises:
            OSError: It cannot be written.
        """
        octets = b"\n" * self._is_torn + octets
        written = os.write(self._descriptor, octets)
        self._is_torn = 0 < written < len(octets) or (self._is_torn and not written)
        if written < len(octets):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _warn(self, error: OSError) -> None:
        """Say it at once, and then now and then."""
        now = time.monotonic()
        if now >= self._warn_at:
            self._warn_at = now + WARNING_PAUSE_SECONDS
            reason = error.strerror or error
            _logger.error("cannot write sessions to %s: %s; %d not recorded", self._path, reason, self._lost_count)
            self._lost_count = 0
