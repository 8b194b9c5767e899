"""What a command is, and what a SASL mechanism is: for the engine's own and for a plugin's alike."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from popframe.model import Account, Maildrop, Peer, PlainCredentials
from popframe.proof import Proven, StoredSecret


class State(enum.Enum):
    """Where a session is (RFC 1939 section 3)."""

    AUTHORIZATION = "AUTHORIZATION"
    TRANSACTION = "TRANSACTION"
    UPDATE = "UPDATE"
    """The client said QUIT after it had logged in; no command is taken any more."""


class Reception(Protocol):
    """Takes the body that a client sends behind a command, such as a message: see :attr:`Reply.receive`.

    ``finish`` or ``abort`` is called, and only one of the two, once; nothing is called after it. The body ends with a
    line that is a lone dot. Whoever takes it sets the limit to its length, by a refusal.
    """

    def take(self, octets: bytes) -> None:
        """Take the next piece of the body: of any length, cut anywhere, without byte-stuffing, line ends as sent.

        Raises:
            Refusal: Nothing more is wanted. ``abort`` is called at once; the rest is read and thrown away, and the
                refusal is the reply.
        """
        ...

    def finish(self) -> Reply:
        """Return the reply to a body that has come whole; it may block.

        Raises:
            Refusal: The body was not used.
        """
        ...

    def abort(self) -> None:
        """Forget what came: the rest never will, or is not wanted."""
        ...


@dataclass(slots=True)
class Reply:
    """The answer to one command. A handler returns it; the engine alone turns it into octets.

    Attributes:
        text: What follows ``+OK`` or ``-ERR``. The engine replaces what is not printable, and what is not ASCII unless
            the client has said UTF8 or LANG, and cuts what would make the line longer than 512 octets (RFC 2449 section
            4, RFC 6856 section 3.2).
        is_ok: False for ``-ERR``.
        code: Response code without brackets (RFC 2449 section 8), or empty.
        body: Makes it a multi-line response: octets in pieces of any length with LF or CRLF line ends. The engine
            makes every line end CRLF, byte-stuffs, and adds the termination octet (RFC 1939 section 3).
        body_is_wire: The body has CRLF line ends, ends in one unless it is empty, and is byte-stuffed already.
        close: End the connection after this reply.
        receive: What follows from the client is a body for this, and no command, up to a line that is a lone dot; then
            comes a second reply. With ``+OK`` on one line only, and without ``close``.
    """

    text: str
    is_ok: bool = True
    code: str = ""
    body: Iterable[bytes] | None = None
    body_is_wire: bool = False
    close: bool = False
    receive: Reception | None = None


class CommandContext(Protocol):
    """What a command extension may know of the session, and ask of it."""

    @property
    def peer(self) -> Peer:
        """Where the client connects from."""
        ...

    @property
    def account(self) -> Account:
        """Who logged in; only in the TRANSACTION state."""
        ...

    @property
    def language(self) -> str:
        """Tag of the language (RFC 5646) that the client, or else the site, wants texts in; see ``LANG``."""
        ...

    @property
    def message_count(self) -> int:
        """How many messages the maildrop had when it was opened, those marked as deleted included."""
        ...

    @property
    def last_accessed(self) -> int:
        """The highest message-number that RETR or DELE was used on since the login, or RSET; 0 for none."""
        ...

    def message_index(self, number: str) -> int:
        """Return the index (from 0) for a message-number sent by the client.

        Raises:
            NoSuchMessage: Not a number, out of range, or marked as deleted: the client gets ``-ERR``.
        """
        ...

    def is_deleted(self, index: int) -> bool:
        """Tell whether the message is marked as deleted."""
        ...

    def message_octets(self, index: int) -> int:
        """Return the size of the message in octets, as LIST says it."""
        ...

    def message_uid(self, index: int) -> str:
        """Return the unique-id of the message."""
        ...

    def read_message(self, index: int) -> Iterator[bytes]:
        """Yield the octets of the message as stored; this does not count as retrieving it."""
        ...

    def enter_group(self, maildrop: Maildrop, maxima: Sequence[int]) -> None:
        """Go on in the maildrop of a group (RFC 1082), for the rest of the session or until another group is entered.

        Before, what is marked as deleted is removed from the user's own maildrop, as QUIT does, and that is closed,
        which frees it for others; a group that was open is closed. In the group DELE is refused, LIST has the maxima
        for a third column, and message-numbers are the group's. There is no way back.

        Args:
            maildrop: Open; the engine closes it, exactly once, whatever happens. Its ``commit`` is never called.
            maxima: One number for each message, rising.

        Raises:
            Refusal: What is marked could not be removed: all is as before.
            HookContractError: The maildrop contradicts itself: all is as before.
        """
        ...


ContextT_contra = TypeVar("ContextT_contra", contravariant=True)

Handler = Callable[[ContextT_contra, Sequence[str]], Reply]
"""What carries a command out: context and arguments in, reply out. It never writes.

The arguments are decoded as UTF-8; an octet that is not part of valid UTF-8 becomes a lone surrogate
(``surrogateescape``), so that no octet is lost. To refuse, it raises a :class:`popframe.Refusal` or returns a reply.
"""

IN_AUTHORIZATION = frozenset({State.AUTHORIZATION})
IN_TRANSACTION = frozenset({State.TRANSACTION})
IN_BOTH = frozenset({State.AUTHORIZATION, State.TRANSACTION})


_VERB = re.compile(r"[A-Z0-9]+( [A-Z0-9][A-Z0-9-]*)?")


@dataclass(frozen=True, slots=True)
class Command(Generic[ContextT_contra]):
    """One row of the command table: what the engine checks before it calls the handler.

    Attributes:
        verb: The keyword in upper case. Two with a space between them are a sub-command, such as ``XTND XLST``; any
            number of plugins may have sub-commands of one keyword, which then is no command itself.
        handler: Carries the command out.
        states: Where it is valid.
        arity: How many arguments it takes, as a range.
        capability: Its line in the CAPA response (RFC 2449 section 5); empty for none.
        takes_rest: Everything after the first space is one argument, blanks included (RFC 1939 section 7, PASS).
        reveals_password: Whoever can read the connection learns a password from it, so it is neither announced nor
            taken in clear text, unless the site allows that (RFC 2595 section 2.3).
    """

    verb: str
    handler: Handler[ContextT_contra]
    states: frozenset[State]
    arity: range = range(1)
    capability: str = ""
    takes_rest: bool = False
    reveals_password: bool = False

    def __post_init__(self) -> None:
        """Refuse a row that no client could ever use."""
        if not _VERB.fullmatch(self.verb):
            raise ValueError(f"a command's verb is one or two words of upper-case letters or digits, not {self.verb!r}")
        if State.UPDATE in self.states or not self.states:
            raise ValueError(f"{self.verb}: a command is valid in AUTHORIZATION, in TRANSACTION, or in both")


class MechanismContext(Protocol):
    """What a SASL exchange may ask of the server."""

    @property
    def peer(self) -> Peer:
        """Where the client connects from, and what protects the connection."""
        ...

    def claim(self, username: str) -> None:
        """Say whom the client claims to be: the name that the log and the plugins are told if the exchange fails."""
        ...

    def lookup_secret(self, username: str, scheme: str) -> StoredSecret | None:
        """Ask the authentication plugins for the stored secret of a user; see :class:`StoredSecret` for the schemes.

        The name is claimed by that, see :meth:`claim`.

        Raises:
            Refusal: A name of this form can never log in, or the source of truth cannot be asked now.
        """
        ...

    def random_octets(self, count: int) -> bytes:
        """Return octets that nobody can predict."""
        ...

    def decoy_octets(self, label: str, count: int) -> bytes:
        """Return octets that look random, and are always the same for the same label: a salt for a user who is none.

        Args:
            label: What they are for, a user name in it.
            count: How many, 64 at most.
        """
        ...

    def typical_iterations(self, scheme: str) -> int:
        """Return the iteration count that most users' secrets of a SCRAM scheme have; an unknown user gets the same."""
        ...


@dataclass(frozen=True, slots=True)
class Challenge:
    """The server's next message in a SASL exchange, not yet in base64 (RFC 5034 section 4).

    Attributes:
        content: The message.
        is_refusal: It tells the client why the exchange has failed (RFC 7628 section 3.2.2). Whatever comes next, ``*``
            and what is no base64 included, only ends it: the exchange gets it as an empty response, and raises.
    """

    content: bytes = b""
    is_refusal: bool = False


class Exchange(Protocol):
    """One run of a SASL mechanism, from its AUTH command to its end; with isolation ``per-user`` as root."""

    def respond(self, response: bytes | None) -> Challenge | PlainCredentials | Proven | Account:
        """Take the client's message, decoded from base64, and say how it goes on.

        Args:
            response: None at the start when the client sent no initial response; empty when it sent an empty one.

        Returns:
            A challenge to send; or a name and password that the authentication hook still has to check; or whom the
            exchange itself has proven, as an account where it knows that, else as a name. Rules and
            ``popframe_authorize`` are asked in every case.

        Raises:
            AuthenticationFailed: The message is malformed or the proof is wrong.
        """
        ...


class Mechanism(Protocol):
    """A SASL mechanism that AUTH offers (RFC 5034); one object for all sessions of a server."""

    @property
    def name(self) -> str:
        """Registered name: 1 to 20 of ``A-Z 0-9 - _``."""
        ...

    @property
    def reveals_password(self) -> bool:
        """The password can be read off the wire, so it is offered only where passwords may be sent."""
        ...

    @property
    def needs_secret(self) -> str:
        """Scheme of the stored secret without which it cannot work; empty for none."""
        ...

    def suits(self, peer: Peer) -> bool:
        """Tell whether it can work on a connection like this, and is to be offered there."""
        ...

    def start(self, context: MechanismContext) -> Exchange:
        """Begin an exchange."""
        ...
