"""The gate: the only process that may become any user. It takes logins from the fronts, and starts a child for each.

Rule of this file: nothing here waits for one login, and nothing of a client's is looked at here but the request that a
front has written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
from typing import NoReturn

from popframe.errors import TemporaryFailure
from popframe.proven_passwords import ProvenPasswords
from popframe.server import privilege
from popframe.server.isolation.channel import MAX_MESSAGE_OCTETS, Channel, LoginRequest
from popframe.server.isolation.session import Admission, run_session
from popframe.server.log import log_event
from popframe.server.service import PARENT_WATCH_SECONDS, RETIRE, Service
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
        self._children: set[int] = set()
        self._learned, self._teach = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)

    def run(self) -> NoReturn:
        """Admit users until a signal, the end of the master, or that of all who could ask; the process ends here.

        SIGTERM ends it at once, and logins that are under way; sessions go on. RETIRE lets it take nothing more, and
        end with its last child.
        """
        privilege.make_undumpable()
        signals = SignalQueue([signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, RETIRE])
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        self._requests.setblocking(False)
        self._learned.setblocking(False)
        is_retired = False
        while True:
            taken = () if is_retired else (self._requests,)
            arrived = signals.wait(PARENT_WATCH_SECONDS, self._learned, *taken)
            if signal.SIGTERM in arrived or signal.SIGINT in arrived or os.getppid() != self._master_pid:
                os._exit(0)
            self._bury()
            self._learn()
            is_retired = is_retired or RETIRE in arrived
            if is_retired and not self._children:
                os._exit(0)
            while not is_retired and self._take_request(signals):
                pass

    def _learn(self) -> None:
        """Remember the passwords that children have found right, so that the next child need not compute a hash."""
        with contextlib.suppress(BlockingIOError):
            while True:
                ProvenPasswords.learn(self._learned.recv(MAX_MESSAGE_OCTETS))

    def _take_request(self, signals: SignalQueue) -> bool:
        """Start the child for one request; False when there is none."""
        try:
            datagram, descriptors, _, _ = socket.recv_fds(
                self._requests, MAX_MESSAGE_OCTETS, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return False
        if not datagram and self._is_deserted():
            os._exit(0)
        if len(descriptors) != DESCRIPTORS:
            for descriptor in descriptors:
                os.close(descriptor)
            return bool(datagram)
        with socket.socket(fileno=descriptors[0]) as back, socket.socket(fileno=descriptors[1]) as transport:
            self._start(datagram, back, transport, signals)
        return True

    def _is_deserted(self) -> bool:
        """Tell whether nobody is left who could ask; a front can send an empty datagram, which means nothing."""
        poll = select.poll()
        poll.register(self._requests, 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))

    def _start(self, datagram: bytes, back: socket.socket, transport: socket.socket, signals: SignalQueue) -> None:
        try:
            request = LoginRequest.parsed(datagram)
            pid = self._fork()
        except (ValueError, OSError) as error:
            log_event("gate-refused", {"reason": str(error)})
            with contextlib.suppress(OSError):
                Channel(back).send_refusal(TemporaryFailure(f"no process for the session: {error}"))
            return
        if pid == 0:
            try:
                signals.leave()
                privilege.end_with_parent()  # until it is another user
                self._requests.close()
                self._learned.close()
                ProvenPasswords.record()
                admission = Admission(request, Channel(back), transport, self._teach)
                run_session(admission, self._service, self._patience_seconds)
            finally:
                os._exit(1)
        self._children.add(pid)

    def _fork(self) -> int:
        """Start a child, as long as there are not more than clients may be: the fronts count, but may be taken over.

        Raises:
            OSError: There are as many, or the system can have no more.
        """
        if len(self._children) >= self._service.limits.total:
            raise OSError(errno.EAGAIN, f"{len(self._children)} sessions, and that is the limit (max_connections)")
        return os.fork()

    def _bury(self) -> None:
        """Take note of the children that have ended."""
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                self._children.discard(pid)
