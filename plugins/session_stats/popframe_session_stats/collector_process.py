"""The collector, seen from the server: started before root is given up, and again whenever it has ended."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time

from popframe import ConfigError
from popframe_session_stats.event import LISTENING, MAX_DATAGRAM_OCTETS, WAITING

START_SECONDS = 30.0
"""How long the collector may take to start; a loaded machine needs a second or two."""

END_SECONDS = 5.0
"""How long it may take to end; it has nothing to finish but what it was told."""

RESTART_PAUSE_SECONDS = 60.0
"""How long after one was started anew the next one is, at the soonest: one that cannot even start fills no log, and
takes no time from sessions."""

SILENCE_SECONDS = 1.0
"""How often a collector that was started anew is asked whether it can listen."""

QUEUE_OCTETS = 4 << 20
"""Room for events that the collector has not taken yet, some 10,000: the kernel doubles it, and counts for each event
what it spends on it."""

SO_SNDBUFFORCE = 32
"""SO_SNDBUF beyond net.core.wmem_max, for root (socket(7)); Python's library does not have the number."""

LEFT_OUT = frozenset({"PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"})
"""Not handed on: with one of these, the library would write its counters to files."""

_logger = logging.getLogger("popframe.session_stats")


class CollectorProcess:
    """One collector. A fork of the server shares it.

    Attributes:
        events: Where it is told what happens, one datagram for each event; does not block.
    """

    def __init__(self, listen: str, run_as: str | None) -> None:
        """Start it and wait until it can work.

        Args:
            listen: Where it serves the metrics.
            run_as: The user that it becomes if this process is root.

        Raises:
            ConfigError: It cannot be started, or cannot listen there.
        """
        self._listen = listen
        self._run_as = run_as
        # Its own end stays open here too, so that what waits in it is there for the next one.
        self.events, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._is_silent = False
        self._not_before = 0.0
        self._process = _started(self._theirs, listen, run_as)
        try:
            self._wait_until_ready()
            _make_room(self.events)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process id of the process that starts the collector anew when it dies."""
        return self._process.pid

    def look_after(self) -> float | None:
        """Start another one if it has ended, with a pause between two starts.

        Returns:
            After how many seconds to look again; None for when a child has ended.
        """
        self._listen_to_it()
        status = self._process.poll()
        if status is None:
            return SILENCE_SECONDS if self._is_silent else None
        pause = self._not_before - time.monotonic()
        if pause > 0:
            return pause
        self._not_before = time.monotonic() + RESTART_PAUSE_SECONDS
        _logger.warning("the collector of metrics has ended (status %d); counts begin anew in another", status)
        try:
            self._process = _started(self._theirs, self._listen, self._run_as)
        except ConfigError as error:
            _logger.error("%s", error)  # noqa: TRY400  # that says it all
            return RESTART_PAUSE_SECONDS
        self._is_silent = True
        return SILENCE_SECONDS

    def close(self) -> None:
        """End it and wait for its end."""
        self.events.close()
        self._theirs.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def _wait_until_ready(self) -> None:
        """Wait for its first words.

        Raises:
            ConfigError: It cannot work.
        """
        end = os.pidfd_open(self._process.pid)
        try:
            poll = select.poll()
            poll.register(self.events, select.POLLIN)
            poll.register(end, select.POLLIN)
            poll.poll(START_SECONDS * 1000)
        finally:
            os.close(end)
        self.events.setblocking(False)
        said = self._words()
        if not said and self._process.poll() is None:
            raise ConfigError(f"the collector of metrics says nothing for {START_SECONDS:.0f} seconds")
        if not _is_told(said):
            raise ConfigError(said or "the collector of metrics ended at once; standard error says why")

    def _listen_to_it(self) -> None:
        """Log what one that was started anew has to say."""
        said = self._words() if self._is_silent else ""
        if said:
            self._is_silent = False
            if not _is_told(said):
                _logger.error("the collector of metrics %s", said)

    def _words(self) -> str:
        """Return what it has said; empty for nothing."""
        try:
            return self.events.recv(MAX_DATAGRAM_OCTETS).decode("utf-8", "replace")
        except BlockingIOError:
            return ""


def _is_told(said: str) -> bool:
    """Log that the collector listens, or that it goes on trying; False for anything else that it may have said."""
    if said.startswith(LISTENING):
        _logger.info("metrics at %s", said.removeprefix(LISTENING))
    elif said.startswith(WAITING):
        _logger.warning("metrics: %s; the collector goes on trying", said.removeprefix(WAITING))
    else:
        return False
    return True


def _started(theirs: socket.socket, listen: str, run_as: str | None) -> subprocess.Popen[bytes]:
    """Start the process. -P: nothing is imported from the folder in which somebody happened to start the server."""
    command = [sys.executable, "-P", "-m", "popframe_session_stats.collector", str(theirs.fileno()), listen]
    command += [run_as] if run_as is not None and os.geteuid() == 0 else []
    try:
        return subprocess.Popen(  # noqa: S603  # this Python, with our own module and checked settings
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={name: value for name, value in os.environ.items() if name not in LEFT_OUT},
            start_new_session=True,  # Ctrl-C in a terminal is meant for the server, which then ends it
        )
    except OSError as error:
        raise ConfigError(f"the collector of metrics cannot be started: {error}") from error


def _make_room(events: socket.socket) -> None:
    """Let the queue be long; as somebody else than root, as long as the system allows."""
    try:
        events.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, QUEUE_OCTETS)
    except PermissionError:
        events.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, QUEUE_OCTETS)
