"""The collector, seen from the server: started once, before root is given up."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys

from popframe import ConfigError
from popframe_session_stats.event import LISTENING, MAX_DATAGRAM_OCTETS, WAITING

START_SECONDS = 30.0
"""How long the collector may take to start; a loaded machine needs a second or two."""

END_SECONDS = 5.0
"""How long it may take to end; it has nothing to finish but what it was told."""

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
        self.events, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = _start(theirs, listen, run_as)
        try:
            self._wait_until_ready()
            _make_room(self.events)
            self.events.setblocking(False)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process id of the process that starts the collector anew when it dies."""
        return self._process.pid

    def close(self) -> None:
        """End it and wait for its end."""
        self.events.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def _wait_until_ready(self) -> None:
        self.events.settimeout(START_SECONDS)
        try:
            said = self.events.recv(MAX_DATAGRAM_OCTETS).decode("utf-8", "replace")
        except OSError as error:
            raise ConfigError(f"the collector of metrics does not start: {error}") from error
        if said.startswith(LISTENING):
            _logger.info("metrics at %s", said.removeprefix(LISTENING))
        elif said.startswith(WAITING):
            _logger.warning("metrics: %s; the collector goes on trying", said.removeprefix(WAITING))
        else:
            raise ConfigError(said or "the collector of metrics ended at once; standard error says why")


def _start(theirs: socket.socket, listen: str, run_as: str | None) -> subprocess.Popen[bytes]:
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
