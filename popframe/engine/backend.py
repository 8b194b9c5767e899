"""What the engine asks of the outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from popframe.engine.speech import Negotiated
from popframe.extension import Challenge
from popframe.model import Account, Maildrop, Peer, PlainCredentials, SessionSummary


@dataclass(frozen=True, slots=True)
class Login:
    """A successful login: who it is, and the opened maildrop, which the session closes exactly once."""

    account: Account
    maildrop: Maildrop


@dataclass(frozen=True, slots=True)
class Handover:
    """A successful login whose session goes on elsewhere: in a process that is the user.

    Attributes:
        account: Who it is.
        go_on: Lets it go on as the client has negotiated, with the octets that were received and not yet taken, and
            returns what it did when it has ended.
        stop: Ends it from another thread, without an UPDATE state.
    """

    account: Account
    go_on: Callable[[Negotiated, bytes], SessionSummary]
    stop: Callable[[], None]


class BackendExchange(Protocol):
    """One run of a SASL mechanism; every call may block."""

    def respond(self, response: bytes | None) -> Challenge | Login | Handover:
        """Take the client's message, and say how it goes on.

        Args:
            response: None at the start when there was no initial response.

        Raises:
            Refusal: It has failed, and is over; nothing is left open or locked.
        """
        ...

    def abandon(self, reason: str) -> None:
        """Let go of it before its end; the attempt has failed.

        Args:
            reason: Why, for the log.
        """
        ...


class Backend(Protocol):
    """One session's way to accounts, storage and log; every call may block."""

    def log_in(self, peer: Peer, credentials: PlainCredentials) -> Login | Handover:
        """Check the credentials and open the maildrop, here or elsewhere.

        Args:
            peer: Where the client connects from, and whether under TLS.
            credentials: What it sent.

        Raises:
            AuthenticationFailed: Wrong credentials, or the account may not log in.
            MaildropInUse: Another session holds the maildrop.
            Refusal: Any other reason to answer ``-ERR``; nothing is left open or locked.
        """
        ...

    def begin_exchange(self, peer: Peer, mechanism: str) -> BackendExchange:
        """Begin a run of a SASL mechanism, or of APOP under its name.

        APOP takes one message, which is timestamp, name and digest with a NUL between them.

        Args:
            peer: Where the client connects from, and whether under TLS.
            mechanism: Its name; one that is offered there.

        Raises:
            Refusal: It cannot be begun now.
        """
        ...

    def report_error(self, doing: str, error: Exception) -> None:
        """Log a failure that the client is told about only in general words.

        Args:
            doing: What the session was at, for the log: ``"RETR"``, ``"closing the maildrop"``.
            error: What happened.
        """
        ...
