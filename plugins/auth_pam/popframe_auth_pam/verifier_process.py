"""The verifier, seen from the server: started once, asked by every thread of every front."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys

from popframe import ConfigError
from popframe_auth_pam.message import (
    MAX_MESSAGE_OCTETS,
    OPEN,
    OPENED,
    READY,
    SESSIONS,
    Answer,
    Limits,
    Question,
    Unavailable,
    decode_answer,
)

START_SECONDS = 30.0
"""How long the verifier may take to start; a loaded machine needs a second or two."""

GRACE_SECONDS = 5.0
"""What an answer may take beyond the attempt's own limit, which the verifier watches itself."""

END_SECONDS = 5.0
"""How long the verifier may take to end; a worker that has to kill attempts needs a moment."""

LEFT_OUT = frozenset({"DISPLAY"})
"""Not handed on: python-pam would give modules the X display of whoever started the server as the client's terminal."""


_logger = logging.getLogger("popframe.auth_pam")


class Exchange:
    """One attempt, seen from the server. As long as this is open, a PAM session that it got is."""

    def __init__(self, end: socket.socket) -> None:
        """Take over the server's end of the socket that went with the question."""
        self._end = end

    def receive_answer(self) -> Answer:
        """Wait for what becomes of the password."""
        try:
            return decode_answer(self._end.recv(MAX_MESSAGE_OCTETS))
        except (OSError, ValueError) as error:
            return self._trouble(error)

    def open_session(self) -> Unavailable | None:
        """Open a PAM session for whoever was accepted; None when there is one.

        It is closed when the last copy of this descriptor is.
        """
        try:
            self._end.send(OPEN)
            answer = self._end.recv(MAX_MESSAGE_OCTETS)
            if answer == OPENED:
                return None
            said = decode_answer(answer)
            return said if isinstance(said, Unavailable) else Unavailable("the process that asks PAM is confused")
        except (OSError, ValueError) as error:
            return self._trouble(error)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._end.fileno()

    def close(self) -> None:
        """Want nothing more: no session, or its end."""
        self._end.close()

    def __del__(self) -> None:
        """Close it with a login that was refused meanwhile, whoever refused it."""
        self._end.close()

    @staticmethod
    def _trouble(error: OSError | ValueError) -> Unavailable:
        if isinstance(error, TimeoutError):
            return Unavailable("the process that asks PAM does not answer")
        return Unavailable(f"the process that asks PAM has ended, or has lost the question: {error}")


class VerifierProcess:
    """One verifier. A fork of the server shares it."""

    def __init__(self, service: str, limits: Limits) -> None:
        """Start it, as the user of this process, and wait until it can work.

        Args:
            service: The PAM service.
            limits: For how long an attempt may run, and how many at once.

        Raises:
            ConfigError: The service has no file, there is no libpam, or the process cannot be started.
        """
        self._timeout_seconds = limits.timeout_seconds
        self._opens_sessions = limits.opens_sessions
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = _start(theirs, service, limits)
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, question: Question) -> Answer:
        """Ask PAM, and nothing more."""
        with contextlib.closing(self.begin(question)) as exchange:
            return exchange.receive_answer()

    def begin(self, question: Question) -> Exchange:
        """Begin to ask PAM; many threads may do so at once, and none waits for another.

        Each question brings a socket of its own for the answer, so that no answer can reach the wrong one.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(self._timeout_seconds + GRACE_SECONDS)
        with theirs, contextlib.suppress(OSError):  # then nobody has the other end, and there is no answer
            socket.send_fds(self._socket, [question.encode()], [theirs.fileno()])
        return Exchange(ours)

    def close(self) -> None:
        """End it and wait for its end; one that still has sessions to close ends with the last of them."""
        self._socket.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            if self._opens_sessions:
                _logger.warning(
                    "PAM sessions are still open; the process that closes them stays until the last is over"
                )
                return
            with contextlib.suppress(PermissionError):  # it is root, and this server is not any more
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def _wait_until_ready(self) -> None:
        self._socket.settimeout(START_SECONDS)
        try:
            said = self._socket.recv(MAX_MESSAGE_OCTETS)
        except OSError as error:
            raise ConfigError(f"the process that asks PAM does not start: {error}") from error
        if said != READY:
            reason = said.decode("utf-8", "replace") or "it ended at once; standard error says why"
            raise ConfigError(f"the process that asks PAM does not start: {reason}")
        # How long a question may wait to be taken: hundreds at once take seconds, and longer would not help its user.
        self._socket.settimeout(self._timeout_seconds)


def _start(theirs: socket.socket, service: str, limits: Limits) -> subprocess.Popen[bytes]:
    """Start the process. -P: nothing is imported from the folder in which somebody happened to start the server."""
    command = [sys.executable, "-P", "-m", "popframe_auth_pam.verifier"]
    command += [str(theirs.fileno()), service, str(limits.timeout_seconds), str(limits.at_once)]
    command += [SESSIONS] if limits.opens_sessions else []
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
        raise ConfigError(f"the process that asks PAM cannot be started: {error}") from error
