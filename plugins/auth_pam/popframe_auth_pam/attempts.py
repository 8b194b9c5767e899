"""The verifier's worker: one child process for every attempt, several at once, none for longer than its time.

A child whose attempt was accepted may keep a PAM session; then its time begins anew when the session is over.

Rule of this file: nothing here waits for one attempt, so that a module that hangs keeps nobody else from logging in.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback
from dataclasses import dataclass
from typing import NoReturn

from popframe_auth_pam import linux
from popframe_auth_pam.attempt import ask_pam
from popframe_auth_pam.message import (
    MAX_MESSAGE_OCTETS,
    Accepted,
    Answer,
    Limits,
    Question,
    Unavailable,
    encode_answer,
)
from popframe_auth_pam.session import PamSession

NICENESS = 5
"""Of an attempt, above the worker's. When hundreds compute hashes at once, the worker must still get to take questions
and to end what is overdue; with 5 an attempt has a third of the share of an ordinary process (sched(7))."""

_NEWS = struct.Struct("@i?")
"""What a child tells the worker: its process id, and whether its session is open now, or over."""

NEWS_AT_ONCE = 512
"""How many of these are read at once."""

LONGEST_PAUSE_SECONDS = 3600.0
"""How long the worker waits when nothing is due; any number would do."""


@dataclass(slots=True)
class RunningAttempt:
    """A child at work.

    Attributes:
        reply: Where whoever asked waits for the answer.
        deadline: When it is killed, on the monotonic clock.
        is_answered: The worker itself has answered, because the time was over.
        keeps_session: It has opened a PAM session; nobody waits for an answer any more.
    """

    reply: socket.socket
    deadline: float
    is_answered: bool = False
    keeps_session: bool = False


class Attempts:
    """All attempts that are running."""

    def __init__(self, questions: socket.socket, service: str, limits: Limits) -> None:
        """Begin with none.

        Args:
            questions: Where questions come from, each with a socket for its answer.
            service: The PAM service.
            limits: For how long, and how many at once.
        """
        self._questions = questions
        self._service = service
        self._limits = limits
        self._running: dict[int, RunningAttempt] = {}

    def run(self) -> None:
        """Answer questions until nobody is left who could ask; then end what still runs, and wait for open sessions."""
        linux.adopt_orphans()
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._news, self._tell = os.pipe2(os.O_CLOEXEC)
        poll = select.poll()
        for source in (self._questions, self._woken, self._news):
            poll.register(source, select.POLLIN)
        while True:
            asked = self._wait(poll).get(self._questions.fileno(), 0)
            if asked and not self._take_question() and asked & select.POLLHUP:
                break  # the other end is closed in every process that had it
        for pid, attempt in self._running.items():
            if not attempt.keeps_session:
                _kill(pid)
        poll.unregister(self._questions)
        while any(attempt.keeps_session for attempt in self._running.values()):
            self._wait(poll)

    def _wait(self, poll: select.poll) -> dict[int, int]:
        """Wait until something happens, do what is due, and return what has happened."""
        events = dict(poll.poll(self._pause_milliseconds()))
        if self._woken in events:
            os.read(self._woken, 512)
        if self._news in events:
            self._take_news()
        self._bury()
        self._end_overdue()
        return events

    def _pause_milliseconds(self) -> float:
        """Return how long nothing is due; a little more, lest it wake up too early."""
        waiting = [attempt.deadline for attempt in self._running.values() if not attempt.is_answered]
        pause = min([*waiting, time.monotonic() + LONGEST_PAUSE_SECONDS]) - time.monotonic()
        return max(pause, 0.0) * 1000 + 1

    # --- questions

    def _take_question(self) -> bool:
        """Start the attempt that is asked for; what is not a question is left unanswered.

        Returns:
            Whether there was something, question or not.
        """
        datagram, descriptors, _, _ = socket.recv_fds(
            self._questions, MAX_MESSAGE_OCTETS, 1, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
        )
        reply = _socket_of(descriptors)
        if reply is not None:
            self._take(datagram, reply)
        return bool(datagram or descriptors)

    def _take(self, datagram: bytes, reply: socket.socket) -> None:
        try:
            question = Question.decode(datagram)
        except ValueError:
            reply.close()
            return
        if sum(not attempt.keeps_session for attempt in self._running.values()) >= self._limits.at_once:
            _send(reply, Unavailable(f"{self._limits.at_once} attempts at once, and that is the limit"))
            reply.close()
            return
        self._start(question, reply)

    def _start(self, question: Question, reply: socket.socket) -> None:
        worker = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            _send(reply, Unavailable(f"no process for the attempt: {error.strerror}"))
            reply.close()
            return
        if pid == 0:
            self._attempt(question, reply, worker)
        self._running[pid] = RunningAttempt(reply, time.monotonic() + self._limits.timeout_seconds)

    # --- in the child

    def _attempt(self, question: Question, reply: socket.socket, worker: int) -> NoReturn:
        """Ask PAM, answer, and end."""
        try:
            linux.end_with_parent(worker)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # pam_unix and others wait for programs that they start
            os.setsid()
            os.nice(NICENESS)
            for kept in (self._woken, self._wake, self._news):
                os.close(kept)
            self._questions.close()
            for other in self._running.values():
                other.reply.close()
            keeps_handle = self._limits.opens_sessions
            answer, handle = ask_pam(self._service, question, keeps_handle=keeps_handle)
            _send(reply, answer)
            if keeps_handle and isinstance(answer, Accepted):
                PamSession(handle, reply).run(self._session_opened, self._session_over)
            elif keeps_handle:
                handle.end()
        except BaseException:  # never back into the worker's loop
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)

    def _session_opened(self) -> None:
        """Depend on nobody: whatever becomes of the worker, the session is closed when it is over, and not before.

        A service manager that stops the server sends SIGTERM to every process of it; this one ends behind the session.
        """
        linux.outlive_parent()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _do_nothing)
        self._tell_worker(is_open=True)

    def _session_over(self) -> None:
        """Let the worker watch the time again."""
        self._tell_worker(is_open=False)

    def _tell_worker(self, *, is_open: bool) -> None:
        with contextlib.suppress(BrokenPipeError):  # there is no worker any more
            os.write(self._tell, _NEWS.pack(os.getpid(), is_open))

    # --- children

    def _take_news(self) -> None:
        """Take note of sessions that are open now, which may last as they like, and of those to be closed."""
        for pid, is_open in _NEWS.iter_unpack(os.read(self._news, NEWS_AT_ONCE * _NEWS.size)):
            attempt = self._running.get(pid)
            if attempt is not None:
                attempt.reply.close()
                attempt.keeps_session = True
                attempt.deadline = math.inf if is_open else time.monotonic() + self._limits.timeout_seconds

    def _bury(self) -> None:
        """Take note of the children that have ended; one that could not answer is answered for."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)  # among them orphans of attempts
                if pid == 0:
                    return
                attempt = self._running.pop(pid, None)
                if attempt is None:
                    continue
                if status != 0 and not attempt.is_answered and not attempt.keeps_session:
                    _send(attempt.reply, Unavailable(f"the process of the attempt ended: {_cause_of_death(status)}"))
                attempt.reply.close()

    def _end_overdue(self) -> None:
        """Kill the attempts whose time is over, and answer for them."""
        now = time.monotonic()
        for pid, attempt in self._running.items():
            if attempt.deadline <= now and not attempt.is_answered:
                _kill(pid)
                if attempt.keeps_session:
                    sys.stderr.write("popframe_auth_pam.verifier: a PAM session is not closed in time\n")
                    sys.stderr.flush()
                _send(attempt.reply, Unavailable(f"no answer from PAM within {self._limits.timeout_seconds:g} s"))
                attempt.is_answered = True  # it stays counted until the kernel lets go of it


def _do_nothing(_number: int, _frame: object) -> None:
    """Let the wake-up descriptor do the work."""


def _socket_of(descriptors: list[int]) -> socket.socket | None:
    """Return the socket that came with a question; None when there was none. Anything else is closed."""
    for superfluous in descriptors[1:]:
        os.close(superfluous)
    if not descriptors:
        return None
    try:
        return socket.socket(fileno=descriptors[0])
    except OSError:  # not a socket
        os.close(descriptors[0])
        return None


def _send(reply: socket.socket, answer: Answer) -> None:
    """Answer; nobody waits for whoever asked and does not listen any more."""
    with contextlib.suppress(OSError):
        reply.send(encode_answer(answer), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _kill(pid: int) -> None:
    """Kill an attempt and the programs that its modules have started."""
    for victim in (pid, *linux.descendants(pid)):
        with contextlib.suppress(OSError):
            os.kill(victim, signal.SIGKILL)


def _cause_of_death(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return signal.Signals(-code).name if code < 0 else f"exit {code}"
