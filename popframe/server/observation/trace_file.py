"""The file that traces are written to.

Rule of this file: it is the server's user's alone, whatever somebody else may have put in its place; and every line is
whole, for several processes write to it at once.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from popframe.server.log import formatted, log_event

OWNER_ONLY = 0o600

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

COMPLAINT_PAUSE_SECONDS = 60.0
"""How often at most the log is told that nothing can be written: a full disk may be the log's too."""

NONE = -1


class TraceFile:
    """Appends lines to a file, which is opened when the first one comes, and again when it was moved away."""

    def __init__(self, path: Path, line_format: Literal["text", "json"]) -> None:
        self._path = path
        self._line_format = line_format
        self._lock = threading.Lock()
        self._descriptor = NONE
        self._is_torn = False
        self._complained: float | None = None

    def write(self, name: str, fields: Mapping[str, object]) -> None:
        """Append one event; what cannot be written is lost, and the log is told so."""
        line = formatted(name, fields, self._line_format).encode() + b"\n"
        with self._lock:
            try:
                self._open_if_moved()
                self._append(line)
            except OSError as error:
                self._complain(error)

    def check(self) -> None:
        """Open it now, so that the log is told at once when that cannot be."""
        with self._lock:
            try:
                self._open_if_moved()
            except OSError as error:
                self._complain(error)

    def _append(self, line: bytes) -> None:
        """Write a line with one call, as long as there is room; behind half a line, begin another."""
        whole = b"\n" + line if self._is_torn else line
        written = os.write(self._descriptor, whole)
        self._is_torn = written < len(whole)
        if self._is_torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _open_if_moved(self) -> None:
        if self._descriptor != NONE and self._is_in_place():
            return
        descriptor = os.open(
            self._path,
            os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
            OWNER_ONLY,
        )
        try:
            _check(os.fstat(descriptor))
        except OSError:
            os.close(descriptor)
            raise
        if self._descriptor != NONE:
            os.close(self._descriptor)
        self._descriptor, self._is_torn = descriptor, False

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path, follow_symlinks=False), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _complain(self, error: OSError) -> None:
        now = time.monotonic()
        if self._complained is None or now - self._complained >= COMPLAINT_PAUSE_SECONDS:
            self._complained = now
            log_event(
                "trace-not-written", {"file": str(self._path), "reason": error.strerror or str(error)}, logging.WARNING
            )


def _check(status: os.stat_result) -> None:
    """Make sure that nobody else can have prepared, or can read or change, what is written.

    Raises:
        OSError: Somebody may.
    """
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        raise OSError(0, "not a plain file with one name")
    if status.st_uid != os.geteuid():
        raise OSError(0, f"belongs to user {status.st_uid}, not to the user {os.geteuid()} that the server runs as")
    if status.st_mode & WRITABLE_BY_OTHERS:
        raise OSError(0, "can be written by others")
