"""The collector: a process that counts what the fronts tell it, and serves the counts.

    python -P -m popframe_session_stats.collector DESCRIPTOR ADDRESS [USER]

It ends when every process that could tell it something has closed the other end of the socket, however they ended.
Signals that are meant for the server do not end it: the last sessions are counted when the server stops. Two processes:
the first keeps the listening socket, and starts another second one when that dies. The second has threads, and never
forks; it ends with the first, which the server then starts anew.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import select
import signal
import socket
import sys
import time
from typing import NoReturn

from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from popframe_session_stats.endpoint import name_of, parse_endpoint
from popframe_session_stats.event import LISTENING, MAX_DATAGRAM_OCTETS, WAITING, Event
from popframe_session_stats.metrics import Metrics
from popframe_session_stats.scrapes import ScrapeServer

RESTART_PAUSE_SECONDS = 0.5
"""How long it waits before it starts a process anew: one that cannot even start would be forked without end."""

TICK_SECONDS = 1.0
"""How often it looks after questions that take too long, and for an address that was taken."""

EVENTS_AT_ONCE = 1000
"""Events that are taken before it looks whether a front has ended."""

SERVERS_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What whoever stops or reloads the server may send to all its processes, as systemd does."""


def main(arguments: list[str]) -> int:
    """Serve until nobody is left to tell anything; return the exit status."""
    events, address, run_as = socket.socket(fileno=int(arguments[0])), arguments[1], arguments[2:]
    events.set_inheritable(False)
    for number in SERVERS_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever started the server may have had it ignored, for good
    listener = None
    try:
        listener = parse_endpoint(address).listen()
        said = LISTENING + name_of(listener)
    except OSError as error:
        said = f"cannot listen on {address}: {error.strerror or error}"
        if error.errno == errno.EADDRINUSE:
            said = WAITING + said
    if listener is not None or said.startswith(WAITING):
        _import_everything()
        _become(run_as)
    events.send(said.encode())
    if listener is None and not said.startswith(WAITING):
        return 2
    above = os.getpid()
    while True:
        pid = os.fork()
        if pid == 0:
            _work(events, address, listener, above)
        _, status = os.waitpid(pid, 0)
        if status == 0:
            return 0
        _say(f"process {pid} ended with status {os.waitstatus_to_exitcode(status)}; counts begin anew in another")
        time.sleep(RESTART_PAUSE_SECONDS)


def _import_everything() -> None:
    """Answer once, so that nothing is imported later: USER need not be able to read what root has installed."""
    registry = Metrics().registry
    generate_latest(registry)
    generate_openmetrics(registry)  # type: ignore[no-untyped-call]


def _become(run_as: list[str]) -> None:
    """Be the user that the server is, for good."""
    for name in run_as:
        user = pwd.getpwnam(name)
        os.initgroups(name, user.pw_gid)
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)


def _work(events: socket.socket, address: str, listener: socket.socket | None, above: int) -> NoReturn:
    try:
        Collector(events, address, listener).run(above)
    except BaseException:  # never back into the loop that starts processes
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _say(text: str) -> None:
    """Write a line to standard error, where the server's own log is not to be had."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"popframe_session_stats.collector: {text}\n")
        sys.stderr.flush()


class Collector:
    """The process that counts."""

    def __init__(self, events: socket.socket, address: str, listener: socket.socket | None) -> None:
        """Begin with nothing counted.

        Args:
            events: Where fronts tell what happens.
            address: Where to listen when somebody else does not any more.
            listener: Where questions come; None when somebody else listens there.
        """
        self._events = events
        self._address = address
        self._metrics = Metrics()
        self._scrapes: ScrapeServer | None = None
        self._fronts: dict[int, int] = {}  # process ids, by the descriptors that tell when they have ended
        self._poll = select.poll()
        if listener is not None:
            self._serve(listener)

    def run(self, above: int) -> None:
        """Count until nobody is left who could tell anything.

        Args:
            above: The process that starts another collector when this one dies. When that one does, this one ends too:
                two of them would each count half of what happens.
        """
        try:
            end_above = os.pidfd_open(above)
        except ProcessLookupError:
            return
        self._events.setblocking(False)
        self._poll.register(self._events, select.POLLIN)
        self._poll.register(end_above, select.POLLIN)
        while True:
            for descriptor, _ in self._poll.poll(TICK_SECONDS * 1000):
                if descriptor == end_above:
                    return
                if descriptor != self._events.fileno():
                    self._bury(descriptor)
                elif not self._take_events():
                    return
            if self._scrapes is not None:
                self._scrapes.end_overdue()
            else:
                with contextlib.suppress(OSError):
                    self._serve(parse_endpoint(self._address).listen())

    def _serve(self, listener: socket.socket) -> None:
        self._scrapes = ScrapeServer(listener, self._metrics.registry)
        self._scrapes.start()

    def _take_events(self) -> bool:
        """Count what has come; False when nothing can come any more."""
        for _ in range(EVENTS_AT_ONCE):
            try:
                datagram = self._events.recv(MAX_DATAGRAM_OCTETS)
            except BlockingIOError:
                return True
            if not datagram:
                return False
            with contextlib.suppress(ValueError):  # nobody sends anything else; if so, it is no reason to lose counts
                self._count(Event.parsed(datagram))
        return True

    def _count(self, event: Event) -> None:
        self._metrics.count(event)
        if event.pid not in self._fronts.values():
            self._watch(event.pid)

    def _watch(self, pid: int) -> None:
        """Learn when a front ends: one that is killed tells nothing of the end of its sessions."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._metrics.forget_process(pid)
            return
        self._fronts[descriptor] = pid
        self._poll.register(descriptor, select.POLLIN)

    def _bury(self, descriptor: int) -> None:
        """Take note of a front that has ended, once everything that it has told is counted."""
        self._take_events()
        self._poll.unregister(descriptor)
        os.close(descriptor)
        self._metrics.forget_process(self._fronts.pop(descriptor))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
