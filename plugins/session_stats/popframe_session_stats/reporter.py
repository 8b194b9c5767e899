"""A front's way to the collector.

Rule of this file: no session waits. What the collector cannot take is dropped, and counted.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time

from popframe import SessionSummary
from popframe_session_stats import event

WARNING_PAUSE_SECONDS = 60.0
"""How often a process says at most that the collector takes nothing."""

_logger = logging.getLogger("popframe.session_stats")


class Reporter:
    """Tells the collector what happens in one process, and counts its sessions; used by all its threads."""

    def __init__(self, collector: socket.socket) -> None:
        """Begin with no session.

        Args:
            collector: A socket for datagrams that does not block. The master makes it, and fronts inherit it.
        """
        self._collector = collector
        self._lock = threading.Lock()
        self._session_count = 0
        self._dropped_count = 0
        self._warn_at = 0.0

    def session_started(self) -> None:
        """Tell that a client has connected."""
        self._tell(event.STARTED, 1)

    def login_succeeded(self) -> None:
        """Tell that somebody has logged in."""
        self._tell(event.LOGGED_IN, 0)

    def login_failed(self, code: str) -> None:
        """Tell that a login was refused."""
        self._tell(event.failed(code), 0)

    def session_ended(self, summary: SessionSummary) -> None:
        """Tell that a session is over."""
        self._tell(
            f"ended {summary.outcome.value} {summary.duration_seconds:.6f} "
            f"{summary.retr_count} {summary.retr_octets} {summary.top_count} {summary.top_octets} "
            f"{summary.deleted_count} {summary.deleted_octets} {summary.left_count} {summary.left_octets}",
            -1,
        )

    def _tell(self, happening: str, more_sessions: int) -> None:
        """Send one datagram, under the lock: the numbers in a later one must be the later ones."""
        with self._lock:
            # Never below zero: a session that failed before it was told of is told of at its end alone.
            self._session_count = max(0, self._session_count + more_sessions)
            try:
                self._collector.send(
                    f"{os.getpid()} {self._session_count} {self._dropped_count} {happening}".encode("ascii")
                )
            except (OSError, UnicodeError) as error:
                self._dropped_count += 1
                self._warn(error)
            else:
                self._dropped_count = 0

    def _warn(self, error: Exception) -> None:
        """Say it at once, and then now and then."""
        now = time.monotonic()
        if now >= self._warn_at:
            self._warn_at = now + WARNING_PAUSE_SECONDS
            _logger.warning("the collector of metrics takes no events (%s); %d not counted", error, self._dropped_count)
