"""How a client shows who it is: a password, or an exchange of challenges and responses; and how often it went wrong.

Rule of this file: whatever ends an exchange without a login counts as a failed login, and leaves the session as if AUTH
had not been sent (RFC 5034 section 4).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from popframe.engine.backend import Backend, BackendExchange, Handover, Login
from popframe.engine.credentials import log_in_as_sent, log_in_prepared
from popframe.engine.policy import MAX_RESPONSES
from popframe.errors import AuthenticationFailed, ExchangeCancelled, InvalidResponse, Refusal
from popframe.extension import Challenge, Reply
from popframe.model import Peer, PlainCredentials

AnswerT = TypeVar("AnswerT", Challenge | Login | Handover, Login | Handover)

CANCEL = "*"
"""What a client sends instead of a response when it does not want to go on (RFC 5034 section 4)."""

EMPTY = "="
"""An initial response that is there and empty (RFC 5034 section 4)."""

_WRONG = (AuthenticationFailed, InvalidResponse, ExchangeCancelled)
"""Failures that are the client's: only so many are allowed."""


@dataclass(slots=True)
class ChallengeReply(Reply):
    """The reply to AUTH, or to a response, that wants another response.

    Attributes:
        challenge: What the client is to answer, not in base64.
    """

    challenge: bytes = b""


class Authentication:
    """What one session does before login.

    Attributes:
        failed_count: Logins that were refused.
        wrong_count: Those of them that were the client's fault.
    """

    def __init__(self, backend: Backend, *, is_utf8: bool) -> None:
        """Begin with no attempt.

        Args:
            backend: Who knows.
            is_utf8: Names and passwords given to USER and PASS are prepared (RFC 6856 section 2.2).
        """
        self.failed_count = 0
        self.wrong_count = 0
        self._backend = backend
        self._log_in = log_in_prepared if is_utf8 else log_in_as_sent
        self._exchange: BackendExchange | None = None
        self._responses_left = 0
        self._is_refused = False

    @property
    def is_waiting(self) -> bool:
        """An exchange is under way: the next line is a response."""
        return self._exchange is not None

    def log_in(self, peer: Peer, credentials: PlainCredentials) -> Login | Handover:
        """Try a name and a password."""
        return self._counted(lambda: self._log_in(self._backend, peer, credentials))

    def begin(self, peer: Peer, mechanism: str, initial: str | None) -> Challenge | Login | Handover:
        """Begin an exchange.

        Args:
            peer: Where the client connects from.
            mechanism: A name that is offered.
            initial: The initial response as it came, if one did.

        Raises:
            Refusal: It has failed already.
        """

        def ask() -> Challenge | Login | Handover:
            response = None if initial is None else b"" if initial == EMPTY else decoded(initial)
            return self._started(peer, mechanism).respond(response)

        return self._counted(ask)

    def prove(self, peer: Peer, mechanism: str, message: bytes) -> Challenge | Login | Handover:
        """Run what takes one message and no base64: APOP."""
        return self._counted(lambda: self._started(peer, mechanism).respond(message))

    def respond(self, line: str) -> Challenge | Login | Handover:
        """Take a line of the exchange that is under way.

        Raises:
            Refusal: It has failed.
        """

        def ask() -> Challenge | Login | Handover:
            if self._exchange is None:
                raise InvalidResponse("a response to nothing")
            try:
                response = self._response(line)
            except Refusal as error:
                self._let_go(str(error))
                raise
            return self._exchange.respond(response)

        return self._counted(ask)

    def abandon(self, reason: str) -> None:
        """End the exchange that is under way, if one is: the session is over."""
        if self._exchange is not None:
            self.failed_count += 1
            self._let_go(reason)

    def _let_go(self, reason: str) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon(reason)

    def _started(self, peer: Peer, mechanism: str) -> BackendExchange:
        self._responses_left = MAX_RESPONSES
        self._is_refused = False
        self._exchange = self._backend.begin_exchange(peer, mechanism)
        return self._exchange

    def _response(self, line: str) -> bytes:
        if self._is_refused:
            return b""
        if line == CANCEL:
            raise ExchangeCancelled("cancelled by the client")
        if not self._responses_left:
            raise InvalidResponse(f"more than {MAX_RESPONSES} responses")
        self._responses_left -= 1
        return decoded(line)

    def _counted(self, ask: Callable[[], AnswerT]) -> AnswerT:
        try:
            answer = ask()
        except Exception as error:
            self._exchange = None
            self.failed_count += 1
            self.wrong_count += isinstance(error, _WRONG)
            raise
        if isinstance(answer, Challenge):
            self._is_refused = answer.is_refusal
        else:
            self._exchange = None
        return answer


def decoded(text: str) -> bytes:
    """Return what a text in base64 stands for; one that is not exactly as it should be is refused (RFC 4648 section 3).

    Raises:
        InvalidResponse: Letters of another alphabet, blanks, wrong padding, or bits behind the last octet.
    """
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidResponse("not base64") from exc
    if base64.b64encode(octets).decode("ascii") != text:
        raise InvalidResponse("not base64 in its one form")
    return octets
