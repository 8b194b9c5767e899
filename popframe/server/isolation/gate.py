"""The gate: the only process that may become any user. It takes logins from the fronts, and starts a child for each.

Rule of this file: nothing here waits for one login, and nothing of a client's is looked at here but the request that a
front has written.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import NoReturn

from popframe.errors import TemporaryFailure
from popframe.server import privilege
from popframe.server.isolation.channel import MAX_MESSAGE_OCTETS, Channel, LoginRequest
from popframe.server.isolation.session import Admission, run_session
from popframe.server.log import log_event
from popframe.server.service import PARENT_WATCH_SECONDS, Service
from popframe.server.signals import SignalQueue

DESCRIPTORS = 2
"""With each request: the way back, and the connection."""


class Gate:
    """The one gate of a server."""

    def __init__(self, requests: socket.socket, service: Service, master_pid: int, patience_seconds: float) -> None:
        self._requests = requests
        self._service = service
        self._master_pid = master_pid
        self._patience_seconds = patience_seconds

    def run(self) -> NoReturn:
        """Admit users until a signal or the end of the master; the process ends here, and its children go on."""
        privilege.make_undumpable()
        signals = SignalQueue([signal.SIGTERM, signal.SIGINT, signal.SIGCHLD])
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        self._requests.setblocking(False)
        while True:
            arrived = signals.wait(PARENT_WATCH_SECONDS, self._requests)
            if signal.SIGTERM in arrived or signal.SIGINT in arrived or os.getppid() != self._master_pid:
                os._exit(0)
            _bury()
            while self._take_request(signals):
                pass

    def _take_request(self, signals: SignalQueue) -> bool:
        """Start the child for one request; False when there is none."""
        try:
            datagram, descriptors, _, _ = socket.recv_fds(
                self._requests, MAX_MESSAGE_OCTETS, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return False
        if len(descriptors) != DESCRIPTORS:
            for descriptor in descriptors:
                os.close(descriptor)
            return bool(datagram)
        with socket.socket(fileno=descriptors[0]) as back, socket.socket(fileno=descriptors[1]) as transport:
            self._start(datagram, back, transport, signals)
        return True

    def _start(self, datagram: bytes, back: socket.socket, transport: socket.socket, signals: SignalQueue) -> None:
        try:
            request = LoginRequest.parsed(datagram)
            pid = os.fork()
        except (ValueError, OSError) as error:
            log_event("gate-refused", {"reason": str(error)})
            with contextlib.suppress(OSError):
                Channel(back).send_refusal(TemporaryFailure(f"no process for the session: {error}"))
            return
        if pid == 0:
            try:
                signals.leave()
                self._requests.close()
                run_session(Admission(request, Channel(back), transport), self._service, self._patience_seconds)
            finally:
                os._exit(1)


def _bury() -> None:
    """Take note of the children that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
