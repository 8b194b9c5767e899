"""Signals as a queue that a main loop waits on.

A handler runs nothing: the signal's number goes through a pipe to whoever waits. Signals are never blocked for longer
than a fork takes, so that programs which a plugin starts inherit a clean mask.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Iterable
from types import FrameType


class SignalQueue:
    """The signals of one process, in the order in which they came."""

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        """Take over these signals; to be called in the main thread.

        In a forked child this replaces the parent's queue, which stays the parent's.
        """
        self._numbers = frozenset(numbers)
        self._read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        for number in self._numbers:
            signal.signal(number, _do_nothing)

    def leave(self) -> None:
        """Let go of the queue in a forked child that needs none: its signals do what they do by themselves."""
        signal.set_wakeup_fd(-1)
        for number in self._numbers:
            signal.signal(number, signal.SIG_DFL)

    def wait(self, seconds: float, *others: socket.socket) -> list[signal.Signals]:
        """Return the signals that have come, waiting for the first one for at most so long.

        Args:
            seconds: How long.
            others: Sockets on which something to read ends the wait too.
        """
        watched: list[int | socket.socket] = [self._read_end, *others]
        if self._read_end not in select.select(watched, [], [], seconds)[0]:
            return []
        try:
            octets = os.read(self._read_end, 512)
        except BlockingIOError:
            return []
        return [signal.Signals(number) for number in octets if number in self._numbers]


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Let the wake-up descriptor do the work."""
