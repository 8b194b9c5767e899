"""The values that cross a hook, and what a maildrop is.

All values are frozen: a plugin may keep one, hand it on, or put it into another thread.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Tls:
    """What protects a connection (RFC 8446, RFC 5246).

    Attributes:
        version: ``"TLSv1.2"`` or ``"TLSv1.3"``.
        cipher: Name of the cipher suite, as OpenSSL says it.
        server_name: The name that the client asked for (SNI, RFC 6066 section 3); empty for none.
        client_name: Whose certificate the client has shown, verified; empty for none (RFC 4422 appendix A, EXTERNAL).
        end_point: The channel binding ``tls-server-end-point`` in hexadecimal (RFC 5929 section 4): a hash of the
            certificate that the client was shown; empty when it is not known.
        by_proxy: The client's TLS ends at a trusted proxy, which has told the rest; there is no channel binding then,
            and no name of a certificate.
    """

    version: str
    cipher: str
    server_name: str = ""
    client_name: str = ""
    end_point: str = ""
    by_proxy: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a client connects from, and to.

    Attributes:
        address: The client's numeric address; empty when there is none (a socket pair, a pipe).
        port: The client's port, 0 when there is none.
        local_address: The numeric address that it connected to.
        local_port: The port that it connected to.
        tls: What protects the connection; None for clear text.
        proxy: Numeric address of the trusted proxy through which the client came; empty when it came by itself.
    """

    address: str
    port: int = 0
    local_address: str = ""
    local_port: int = 0
    tls: Tls | None = None
    proxy: str = ""


@dataclass(frozen=True, slots=True)
class PlainCredentials:
    """A user name and a password as the client sent them (RFC 1939 section 7, USER and PASS).

    Attributes:
        username: The name, valid UTF-8 without control characters, never empty; as SASLprep makes it (RFC 4013), unless
            ``pop3.utf8`` says otherwise.
        password: The octets of the password, without NUL and never empty: UTF-8 as SASLprep makes it, and if that is
            wrong, as it was sent; or with ``pop3.utf8`` other than ``"user"`` whatever was sent.
        authorization: The user as whom to log in, if that is to be another one; a plugin never sees it.
    """

    username: str
    password: bytes = field(repr=False)
    authorization: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """Who logged in.

    Attributes:
        username: The account's canonical name: what is logged, counted and locked.
        uid: Numeric user id that owns the mail; None for a virtual user.
        gid: Numeric group id of that user; None for a virtual user.
        home: The user's home directory; empty when it has none.
        shell: The user's login shell; empty when it has none.
        maildrop: Where this user's mail is when that is not the storage plugin's usual place; the plugin says how it
            reads this. Empty for the usual place.
    """

    username: str
    uid: int | None = None
    gid: int | None = None
    home: str = ""
    shell: str = ""
    maildrop: str = ""


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """A message to be put into a maildrop.

    Attributes:
        sender: Envelope sender, for the storage's own record (the From_ line of an mbox).
        received: When it arrived; must carry a time zone.
        content: Header and body with LF or CRLF line ends.
    """

    sender: str
    received: datetime
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """One attempt to log in, before its password is looked at.

    Attributes:
        session_id: The session, as in every log line.
        peer: Where the client connects from.
        username: The name that was tried, as sent.
        mechanism: ``"PASS"``, or the name of a SASL mechanism.
        password_digest: A keyed hash of name and password in hexadecimal digits: the same as long as the server runs,
            and of no use to find the password out. Empty when the mechanism does not show the password.
    """

    session_id: str
    peer: Peer
    username: str
    mechanism: str = "PASS"
    password_digest: str = ""


@dataclass(frozen=True, slots=True)
class LoginFailure:
    """One refused login.

    Attributes:
        session_id: The session, as in every log line.
        peer: Where the client connects from.
        username: The name that was tried, as sent; empty when the attempt ended before there was one.
        code: Response code of the answer: ``AUTH``, ``IN-USE``, ``SYS/TEMP``, …
        reason: Why, in words, for the log; never shown to the client.
        mechanism: As in :class:`LoginAttempt`.
        password_digest: As in :class:`LoginAttempt`.
    """

    session_id: str
    peer: Peer
    username: str
    code: str
    reason: str
    mechanism: str = "PASS"
    password_digest: str = ""


@dataclass(frozen=True, slots=True)
class LoginSuccess:
    """One login that succeeded.

    Attributes:
        session_id: The session, as in every log line.
        peer: Where the client connects from.
        username: The name as sent.
        account: Who it is; with ``isolation = "per-user"`` only its name is filled in.
        mechanism: As in :class:`LoginAttempt`.
        password_digest: As in :class:`LoginAttempt`.
    """

    session_id: str
    peer: Peer
    username: str
    account: Account
    mechanism: str = "PASS"
    password_digest: str = ""


class Outcome(enum.Enum):
    """How a session ended."""

    QUIT = "quit"
    """The client said QUIT; what it marked as deleted is gone."""
    UPDATE_FAILED = "update-failed"
    """The client said QUIT, and not every marked message could be removed (RFC 1939 section 6)."""
    DISCONNECTED = "disconnected"
    """The connection ended without QUIT; nothing was removed, unless the site has set ``update_on_abort``."""
    TIMED_OUT = "timed-out"
    """The autologout timer expired, or the client stopped reading; nothing was removed, with the same exception.

    Also: nobody had logged in yet, and another client needed the place.
    """
    TOO_MANY_ERRORS = "too-many-errors"
    """The client sent too many bad commands or wrong passwords."""
    STORAGE_FAILED = "storage-failed"
    """The maildrop could not be read on; nothing was removed."""
    SHUT_DOWN = "shut-down"
    """The server was stopped; nothing was removed."""


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """What one session did, told once when it has ended.

    Attributes:
        session_id: The session, as in every log line.
        peer: Where the client connected from.
        username: Canonical name of the account; empty when nobody logged in.
        outcome: How it ended.
        duration_seconds: From the accepted connection to the end.
        command_count: Command lines that were answered.
        failed_login_count: Logins that were refused.
        retr_count: Messages sent whole by RETR.
        retr_octets: Their octets, as LIST counts them.
        top_count: TOP replies.
        top_octets: Octets of these replies, as LIST would count them.
        deleted_count: Messages removed at the end.
        deleted_octets: Their octets.
        left_count: Messages left in the maildrop.
        left_octets: Their octets.
    """

    session_id: str
    peer: Peer
    username: str
    outcome: Outcome
    duration_seconds: float
    command_count: int = 0
    failed_login_count: int = 0
    retr_count: int = 0
    retr_octets: int = 0
    top_count: int = 0
    top_octets: int = 0
    deleted_count: int = 0
    deleted_octets: int = 0
    left_count: int = 0
    left_octets: int = 0


class SessionHold(Protocol):
    """Something open that lasts as long as a session: a socket, a file, anything with a descriptor.

    The process that serves the session holds it open, one that has become the user too, and closes it at the end.
    Whoever has the other end learns so that the session is over, even when that process was killed.
    """

    def fileno(self) -> int:
        """Return the descriptor."""
        ...

    def close(self) -> None:
        """Close it; called when the session is over and its process goes on."""
        ...


class Maildrop(Protocol):
    """One user's messages, as they were when the session opened them (RFC 1939 section 4).

    The set of messages, their order, sizes and unique-ids never change while it is open; mail that arrives meanwhile
    belongs to the next session. Numbering for the client, deletion marks, line ends, dot-stuffing and TOP's line count
    are the engine's; a maildrop counts from 0 and knows nothing of the protocol.

    Every method may raise a :class:`popframe.Refusal`; anything else that it raises ends the session.
    """

    def message_octets(self) -> Sequence[int]:
        """Return the size of each message in octets as it is sent.

        That is: every LF not preceded by CR counts two, a last line without a line end gets one (two octets), and
        byte-stuffing is not counted (RFC 1939 section 11).
        """
        ...

    def message_uids(self) -> Sequence[str]:
        """Return the unique-id of each message.

        1 to 70 characters from 0x21 to 0x7E, distinct within the maildrop, the same in every session for the same
        message and never given to another one (RFC 1939 section 7).
        """
        ...

    def read_message(self, index: int) -> Iterator[bytes]:
        """Yield the octets of one message as stored, header first, in pieces of any length, line ends LF or CRLF.

        Args:
            index: 0 for the first message.

        Raises:
            TemporaryFailure: It cannot be read now. Raised before the first piece, the client gets ``-ERR``; later,
                the connection is closed without the line that would end the reply.
        """
        ...

    def commit(self, deleted: AbstractSet[int], seen: AbstractSet[int]) -> None:
        """Remove messages for good; called at most once, in the UPDATE state (RFC 1939 section 6).

        Also called when a connection breaks off, if the site has set ``update_on_abort``.

        Returns only when the removal is on disk. When it raises, every message that is not in ``deleted`` is still
        there, untouched.

        Args:
            deleted: Indexes of the messages to remove; may be empty.
            seen: Indexes of the messages that were retrieved whole in this session.

        Raises:
            TemporaryFailure: Not all of them could be removed.
        """
        ...

    def close(self) -> None:
        """Let go of the maildrop, and of its lock; called exactly once, however the session ends.

        Without a :meth:`commit` before it, it changes nothing.
        """
        ...


class PreparedMaildrop(Maildrop, Protocol):
    """A maildrop that also knows what the engine would have to work out; optional, found once when it is opened.

    It saves time with very many or very long messages. What it says must be exactly what the engine would find.
    """

    def total_octets(self) -> int:
        """Return the sum of :meth:`message_octets`."""
        ...

    def scan_listing(self) -> Iterator[bytes]:
        """Yield the lines of LIST for all messages, ``1 120`` and CRLF, in pieces of any length."""
        ...

    def uid_listing(self) -> Iterator[bytes]:
        """Yield the lines of UIDL for all messages, ``1 whqtswO00WBw418f9t5JxYwZ`` and CRLF, in pieces."""
        ...

    def has_dot_lines(self, index: int) -> bool:
        """Tell whether a line of the message may begin with a dot; False spares the search for one."""
        ...


class AccountMail(Protocol):
    """The way to an account's mail before its session has it, whichever plugin stores it.

    Given to :func:`popframe.hookspecs.popframe_before_maildrop_opens`, and good for as long as that hook runs.
    """

    def deliver(self, message: IncomingMessage) -> None:
        """Put a message into the maildrop; it is safely on disk when this returns.

        Raises:
            TemporaryFailure: Not delivered, nothing of it is left behind.
            PermanentFailure: The same, and trying again will not help; also when no plugin stores this account's mail.
            HookContractError: The storage plugin broke its contract; it is not known whether anything was delivered.
        """
        ...

    def open(self) -> Maildrop:
        """Open the maildrop as the session will; whoever asked closes it before the hook returns.

        Raises:
            Refusal: What :func:`popframe.hookspecs.popframe_open_maildrop` raises.
            HookContractError: The storage plugin broke its contract.
        """
        ...
