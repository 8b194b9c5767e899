"""The POP3 engine with the users, the mail and the troubles of a transcript: a server without a socket."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Protocol

from popframe import (
    Account,
    AuthenticationFailed,
    Challenge,
    Command,
    CommandContext,
    Exchange,
    IncomingMessage,
    Maildrop,
    Outcome,
    Peer,
    PermanentFailure,
    PlainCredentials,
    Proven,
    ScramKeys,
    StoredSecret,
)
from popframe.engine import CommandTable, Login, Session
from popframe.sasl import Apop, built_in
from popframe.testing.memory import MemoryStore
from popframe.testing.transcript import Transcript

PEER = Peer(address="127.0.0.7", port=50_110, local_address="127.0.0.1", local_port=110)
"""Where the client comes from: the same machine, as in the tests over sockets, so that passwords need no TLS."""

TIMESTAMP = "<1896.697170952@dbc.mtview.ca.us>"
"""In the greeting, where APOP is offered: the one of RFC 1939 section 7, so that its example can be played."""

ITERATIONS = 4096
"""Of SCRAM: the fewest that are allowed."""

ARRIVED = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""When every message of a transcript arrived."""


class Store(Protocol):
    """What is needed of a storage plugin."""

    def popframe_open_maildrop(self, account: Account) -> Maildrop | None:
        """Open a maildrop."""
        ...

    def popframe_deliver_message(self, account: Account, message: IncomingMessage) -> bool | None:
        """Put a message into a maildrop."""
        ...


class EngineServer:
    """A server for one transcript, for as many connections as it has; the maildrops last as long as this object.

    It is the engine's :class:`~popframe.engine.Backend` too.

    Attributes:
        peer: Where the next client comes from.
        errors: What was reported to the operator, as pairs of what the session was at and what happened.
    """

    def __init__(
        self, transcript: Transcript, commands: Iterable[Command[CommandContext]] = (), store: Store | None = None
    ) -> None:
        """Fill the maildrops.

        Args:
            transcript: Who can log in, what mail there is, what does not work.
            commands: Command extensions to offer.
            store: The storage plugin to keep the mail in; unless given, it is kept in memory.
        """
        self.peer = PEER
        self.errors: list[tuple[str, Exception]] = []
        self._policy = transcript.policy
        mechanisms = built_in(transcript.mechanisms)
        self._mechanisms = {mechanism.name: mechanism for mechanism in (*mechanisms, Apop())}
        self._table = CommandTable(transcript.policy, commands, mechanisms)
        self._timestamp = TIMESTAMP if transcript.policy.offers_apop else ""
        self._passwords = {user.name: user.password for user in transcript.users}
        self._failures = {(failure.place, failure.number): failure.error for failure in transcript.failures}
        self._store = store or MemoryStore()
        for user in transcript.users:
            for message in user.messages:
                self.deliver(user.name, message)

    def deliver(self, username: str, message: bytes) -> None:
        """Put a message behind the others of a user, as mail that arrives."""
        incoming = IncomingMessage("sender@example.org", ARRIVED, message)
        if self._store.popframe_deliver_message(Account(username), incoming) is not True:
            raise PermanentFailure("the store does not want this message")

    def session(self) -> Session:
        """Return a session of a client that has just connected."""
        return Session(self.peer, self, self._policy, self._table, self._timestamp)

    def connect(self) -> EngineTransport:
        """Return a connection."""
        return EngineTransport(self)

    def log_in(self, peer: Peer, credentials: PlainCredentials) -> Login:
        """Check name and password, and open the maildrop."""
        self.fail("login")
        if self._passwords.get(credentials.username) != credentials.password:
            raise AuthenticationFailed("unknown user or wrong password")
        return self.opened(Account(credentials.username), credentials.authorization)

    def begin_exchange(self, peer: Peer, mechanism: str) -> EngineExchange:
        """Begin a run of a SASL mechanism, or of APOP."""
        context = EngineContext(peer, self._passwords)
        return EngineExchange(self, self._mechanisms[mechanism].start(context), peer)

    def opened(self, account: Account, authorization: str = "") -> Login:
        """Open a maildrop, which must be the user's own."""
        if authorization not in ("", account.username):
            raise AuthenticationFailed("nobody may log in as somebody else")
        self.fail("open")
        maildrop = self._store.popframe_open_maildrop(account)
        if maildrop is None:
            raise PermanentFailure("the store does not want this account")
        return Login(account, _TroubledMaildrop(maildrop, self) if self._failures else maildrop)

    def report_error(self, doing: str, error: Exception) -> None:
        """Keep what an operator would be told."""
        self.errors.append((doing, error))

    def fail(self, place: str, number: int = 0) -> None:
        """Raise what the transcript wants to be raised here, if anything."""
        error = self._failures.get((place, number))
        if error is not None:
            raise error(f"the transcript says that this fails: {place} {number or ''}".rstrip())


class EngineContext:
    """What a mechanism may ask in a transcript; see :class:`popframe.MechanismContext`.

    Attributes:
        peer: Where the client connects from.
    """

    def __init__(self, peer: Peer, passwords: Mapping[str, bytes]) -> None:
        """Take the passwords by user name."""
        self.peer = peer
        self._passwords = passwords

    def claim(self, username: str) -> None:
        """Keep no log."""

    def lookup_secret(self, username: str, scheme: str) -> StoredSecret | None:
        """Return the password, or keys that are made of it."""
        password = self._passwords.get(username)
        if password is None:
            return None
        value = password if scheme == "plain" else ScramKeys.made(password, scheme, ITERATIONS).text.encode()
        return StoredSecret(Account(username), scheme, value)

    def random_octets(self, count: int) -> bytes:
        """Return random octets."""
        return secrets.token_bytes(count)

    def decoy_octets(self, label: str, count: int) -> bytes:
        """Return octets that depend on the label alone."""
        return hashlib.blake2b(label.encode(), digest_size=count).digest()

    def typical_iterations(self, scheme: str) -> int:
        """Return what all users have."""
        return ITERATIONS


class EngineExchange:
    """An exchange of a transcript."""

    def __init__(self, server: EngineServer, exchange: Exchange, peer: Peer) -> None:
        self._server = server
        self._exchange = exchange
        self._peer = peer

    def respond(self, response: bytes | None) -> Challenge | Login:
        """Take the client's message; what it has proven opens the maildrop."""
        match self._exchange.respond(response):
            case Challenge() as challenge:
                return challenge
            case PlainCredentials() as credentials:
                return self._server.log_in(self._peer, credentials)
            case Proven() as proven:
                account = proven.account or Account(proven.username)
                return self._server.opened(account, proven.authorization)
            case account:
                return self._server.opened(account)

    def abandon(self, reason: str) -> None:
        """Keep what an operator would be told."""
        self._server.errors.append(("an exchange", AuthenticationFailed(reason)))


class EngineTransport:
    """A connection to an engine; what is sent is answered at once.

    Attributes:
        server: Where it leads.
        session: The session that answers.
    """

    def __init__(self, server: EngineServer) -> None:
        """Begin with the greeting."""
        self.server = server
        self.session = server.session()
        self._output = self.session.greeting()

    def send(self, octets: bytes) -> None:
        """Let the session answer."""
        self.session.receive_data(octets)
        self._output += b"".join(octets for buffers in self.session.output() for octets in buffers)

    def receive(self, seconds: float) -> bytes:
        """Return what the session has said."""
        if not self._output and not self.session.is_closed:
            raise TimeoutError(f"nothing came, and nothing would in {seconds} seconds")
        return self._taken()

    def ask(self, *commands: str) -> bytes:
        """Send command lines together; return everything that the session has said and that was not yet taken."""
        self.send("".join(f"{command}\r\n" for command in commands).encode("utf-8", "surrogateescape"))
        return self._taken()

    def log_in(self, username: str, password: str) -> bytes:
        """Send USER and PASS; return the line that answers PASS, with its end."""
        return self.ask(f"USER {username}", f"PASS {password}").splitlines(keepends=True)[-1]

    def close(self) -> None:
        """Tell the session that its client is gone."""
        self.session.abort(Outcome.DISCONNECTED)

    def _taken(self) -> bytes:
        octets, self._output = self._output, b""
        return octets


class _TroubledMaildrop:
    """A maildrop in memory, and what of it does not work."""

    def __init__(self, maildrop: Maildrop, server: EngineServer) -> None:
        self._server = server
        self._maildrop = maildrop
        self.message_octets = maildrop.message_octets
        self.message_uids = maildrop.message_uids
        self.close = maildrop.close

    def read_message(self, index: int) -> Iterator[bytes]:
        """Yield a message in two pieces."""
        self._server.fail("read", index + 1)
        content = b"".join(self._maildrop.read_message(index))
        yield content[: len(content) // 2]
        self._server.fail("read-on", index + 1)
        yield content[len(content) // 2 :]

    def commit(self, deleted: AbstractSet[int], seen: AbstractSet[int]) -> None:
        """Remove messages."""
        self._server.fail("update")
        self._maildrop.commit(deleted, seen)
