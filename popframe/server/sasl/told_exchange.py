"""A SASL exchange as a session sees it: counted, delayed and told like any other attempt to log in.

Rule of this file: whether a proof is right is told to nobody, by a challenge neither, before it was the attempt's turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from popframe.engine import Handover, Login
from popframe.errors import AuthenticationFailed, PopframeError
from popframe.extension import Challenge
from popframe.model import LoginAttempt, PlainCredentials
from popframe.proof import Proven
from popframe.server.sasl.exchange import Clock, Run

if TYPE_CHECKING:
    from popframe.server.backend import HookBackend


class ToldExchange:
    """One exchange."""

    def __init__(self, backend: HookBackend, run: Run, mechanism: str) -> None:
        """Begin.

        Args:
            backend: Who counts, and tells the log and the plugins.
            run: The exchange itself, here or in another process.
            mechanism: Its name.
        """
        self._backend = backend
        self._run = run
        self._attempt = LoginAttempt(backend.session_id, backend.peer, "", mechanism)
        self._authorization = ""
        self._is_first = True

    def respond(self, response: bytes | None) -> Challenge | Login | Handover:
        """Take the client's message."""
        clock = Clock()
        try:
            return self._answered(response, clock)
        except PopframeError as error:
            self._backend.refuse(self._attempt, error, clock, self._authorization)
            raise

    def abandon(self, reason: str) -> None:
        """Let go of it: the attempt has failed."""
        self._run.close()
        self._backend.tell_failure(self._attempt, AuthenticationFailed(reason), self._authorization)

    def _answered(self, response: bytes | None, clock: Clock) -> Challenge | Login | Handover:
        try:
            step = self._run.respond(response)
        except AuthenticationFailed:
            if self._run.username:  # else nobody was guessed at
                with self._turn(clock):
                    raise
            raise
        finally:
            self._attempt = replace(self._attempt, username=self._run.username)
        if not isinstance(step, Challenge):
            return self._let_in(step, clock)
        if self._run.username:  # it may tell that a proof was right
            with self._turn(clock):
                pass
        return step

    @contextmanager
    def _turn(self, clock: Clock) -> Iterator[None]:
        """Wait until it is the attempt's turn; what the block raises tells what came of it."""
        attempt = replace(self._attempt, username=self._run.username)
        is_first, self._is_first = self._is_first, False
        with self._backend.attempted(attempt, None, is_first=is_first):
            clock.start()
            yield

    def _let_in(self, proof: PlainCredentials | Proven, clock: Clock) -> Login | Handover:
        password = proof.password if isinstance(proof, PlainCredentials) else None
        self._attempt = self._backend.attempt(proof.username, password, self._attempt.mechanism)
        self._authorization = proof.authorization
        return self._backend.let_in(self._attempt, proof, clock, self._run, is_first=self._is_first)
