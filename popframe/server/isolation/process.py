"""The gate, seen from the master: started, watched, replaced."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterable

from popframe.server.isolation.gate import Gate
from popframe.server.listener import set_timeout
from popframe.server.log import log_event
from popframe.server.service import RETIRE, GateDoor, Service

RESTART_PAUSE_SECONDS = 1.0
"""How long there is no gate when the last one did not live longer than this: one that cannot even start would otherwise
be forked without end."""

STOP_SECONDS = 5.0
"""What a gate gets to end; it has nothing to finish."""


class GateProcess:
    """The one gate of a server, and the sockets on which it is asked, which outlive it."""

    def __init__(self, signals: Iterable[signal.Signals], patience_seconds: float) -> None:
        """Make the sockets.

        Args:
            signals: What the master waits for; they wait while it forks.
            patience_seconds: How long an answer is waited for.
        """
        self._signals = frozenset(signals)
        self._patience_seconds = patience_seconds
        self._asked, self._taken = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        set_timeout(self._asked, socket.SO_SNDTIMEO, patience_seconds)
        self._pid = 0
        self._started = 0.0
        self._retired: set[int] = set()

    @property
    def door(self) -> GateDoor:
        """The fronts' end."""
        return GateDoor(self._asked, self._patience_seconds)

    @property
    def missing_for_seconds(self) -> float | None:
        """How long a gate has to be waited for; None when there is one."""
        if self._pid:
            return None
        return max(self._started + RESTART_PAUSE_SECONDS - time.monotonic(), 0.0)

    def start(self, service: Service, let_go: Callable[[], None]) -> None:
        """Fork a gate.

        Args:
            service: What its sessions share.
            let_go: Called in the gate first: drops what it must not have.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        master_pid = os.getpid()
        self._started = time.monotonic()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                let_go()
                self._asked.close()
                Gate(self._taken, service, master_pid, self._patience_seconds).run()
            except BaseException:  # never back into the master's code in a child
                log_event("gate-failed", {"trace": traceback.format_exc()})
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)

    def has_died(self) -> bool:
        """Take note of gates that have ended; tell whether one has that nobody had sent away."""
        self._retired = {pid for pid in self._retired if not os.waitpid(pid, os.WNOHANG)[0]}
        if not self._pid or not os.waitpid(self._pid, os.WNOHANG)[0]:
            return False
        self._pid = 0
        return True

    def retire(self) -> None:
        """Let the gate take no more requests, and end with its last child; another one can be started."""
        if self._pid:
            os.kill(self._pid, RETIRE)
            self._retired.add(self._pid)
            self._pid = 0
            self._started = 0.0

    def stop(self) -> None:
        """End all gates, and logins that are under way."""
        for pid in {self._pid, *self._retired} - {0}:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self._pid or self._retired:
            self.has_died()
            if time.monotonic() > deadline:
                for pid in {self._pid, *self._retired} - {0}:
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def release(self) -> None:
        """End the gate from a process that may not send it signals: nobody is left who could ask it."""
        self._asked.close()
        if not self._pid:
            return
        gate = os.pidfd_open(self._pid)
        try:
            select.select([gate], [], [], STOP_SECONDS)
        finally:
            os.close(gate)
        self.has_died()

    def leave_to_master(self) -> None:
        """Let go of the gate's end in a front."""
        self._taken.close()
