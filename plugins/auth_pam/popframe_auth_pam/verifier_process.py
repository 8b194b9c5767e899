"""The verifier, seen from the server: started once, asked by every thread of every front."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys

from popframe import ConfigError
from popframe_auth_pam.message import MAX_MESSAGE_OCTETS, READY, Answer, Limits, Question, Unavailable, decode_answer

START_SECONDS = 30.0
"""How long the verifier may take to start; a loaded machine needs a second or two."""

GRACE_SECONDS = 5.0
"""What an answer may take beyond the attempt's own limit, which the verifier watches itself."""

END_SECONDS = 5.0
"""How long the verifier may take to end; a worker that has to kill attempts needs a moment."""

LEFT_OUT = frozenset({"DISPLAY"})
"""Not handed on: python-pam would give modules the X display of whoever started the server as the client's terminal."""


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
        """Ask PAM; many threads may ask at once, and none waits for another.

        Each question brings a socket of its own for the answer, so that no answer can reach the wrong one.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            ours.settimeout(self._timeout_seconds + GRACE_SECONDS)
            try:
                with theirs:
                    socket.send_fds(self._socket, [question.encode()], [theirs.fileno()])
                return decode_answer(ours.recv(MAX_MESSAGE_OCTETS))
            except TimeoutError:
                return Unavailable("the process that asks PAM does not answer")
            except (OSError, ValueError) as error:
                return Unavailable(f"the process that asks PAM has ended, or has lost the question: {error}")

    def close(self) -> None:
        """End it and wait for its end."""
        self._socket.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
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
