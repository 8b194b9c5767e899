"""What the server and the verifier say to each other: one datagram for a question, one for its answer.

Fields are separated by NUL. No field can hold one, so none can be taken for two, and no NUL ever reaches libpam. Both
sides check what they receive: the verifier may be root, and a server that was broken into may send it anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

MAX_FIELD_OCTETS = 511
"""PAM_MAX_RESP_SIZE, less the NUL at its end: what libpam takes as a user name or password (pam_conv(3))."""

MAX_ADDRESS_OCTETS = 64
"""More than the longest numeric address has, with its zone (INET6_ADDRSTRLEN and IF_NAMESIZE)."""

MAX_MESSAGE_OCTETS = 16_384
"""Longest datagram: a question is 1,100 octets at most, an answer has two paths (PATH_MAX is 4,096 octets)."""

SESSIONS = "sessions"
"""The verifier's last argument, where PAM sessions are to be opened."""

OPEN, OPENED = b"open", b"opened"
"""Once a password was accepted: the wish for a PAM session, and that there is one. Any other answer is an
:class:`Unavailable`. The session is closed when the socket of the answer is."""

READY = b"ready"
"""What the verifier says first, when it can work; anything else says why not."""

MAX_REASON_OCTETS = 1_000
"""Longest reason for the log; modules may be talkative."""


MAX_ATTEMPTS = 512
"""Attempts at once. Each is a process that has some 2.2 MiB of its own: 1.1 GiB when all of them hang. Of the clients
of a busy server, fewer log in at the same moment, and hundreds of hung ones still leave room for others."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the verifier is told when it starts.

    Attributes:
        timeout_seconds: How long an attempt may take.
        at_once: How many there may be at the same time.
        opens_sessions: Whoever was accepted may have a PAM session.
    """

    timeout_seconds: float
    at_once: int = MAX_ATTEMPTS
    opens_sessions: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """Whose password is this, and may the user log in? Or, without a password, the latter alone.

    Attributes:
        username: The name as octets.
        password: The octets of the password; None where the identity is proven already.
        address: The client's numeric address; empty when it has none.
    """

    username: bytes
    password: bytes | None = field(repr=False)
    address: bytes

    def __post_init__(self) -> None:
        """Refuse what must not reach libpam.

        Raises:
            ValueError: A field is empty that must not be, too long, or holds a NUL; the text tells no password.
        """
        for name, value in (("user name", self.username), ("password", self.password)):
            if value is None:
                continue
            if not 0 < len(value) <= MAX_FIELD_OCTETS:
                raise ValueError(f"a {name} of {len(value)} octets: PAM takes 1 to {MAX_FIELD_OCTETS}")
            if b"\0" in value:
                raise ValueError(f"a {name} with a NUL")
        if len(self.address) > MAX_ADDRESS_OCTETS or b"\0" in self.address:
            raise ValueError("not an address")

    def encode(self) -> bytes:
        """Return the datagram."""
        fields = (
            (self.username, self.address) if self.password is None else (self.username, self.password, self.address)
        )
        return b"\0".join(fields)

    @classmethod
    def decode(cls, datagram: bytes) -> Question:
        """Return the question of a datagram.

        Raises:
            ValueError: It holds none that may reach libpam.
        """
        match datagram.split(b"\0"):
            case [username, password, address]:
                return cls(username, password, address)
            case [username, address]:
                return cls(username, None, address)
            case fields:
                raise ValueError(f"{len(fields)} fields instead of 2 or 3")


@dataclass(frozen=True, slots=True)
class Accepted:
    """The password is right, the account open, and passwd knows the user.

    Attributes:
        username: The user's name in passwd, which need not be spelt as the question had it.
        uid: User id.
        gid: Group id.
        home: Home directory.
        shell: Login shell.
    """

    username: str
    uid: int
    gid: int
    home: str
    shell: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The password is wrong, or the account must not log in.

    Attributes:
        reason: Why, for the log.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Nobody can tell now.

    Attributes:
        reason: Why, for the log.
    """

    reason: str


Answer: TypeAlias = Accepted | Refused | Unavailable


def encode_answer(answer: Answer) -> bytes:
    """Return the datagram of an answer."""
    match answer:
        case Accepted():
            fields = ["accepted", answer.username, str(answer.uid), str(answer.gid), answer.home, answer.shell]
        case Refused():
            fields = ["refused", answer.reason]
        case Unavailable():
            fields = ["unavailable", answer.reason]
    return b"\0".join(text.encode("utf-8", "surrogateescape") for text in fields)


def decode_answer(datagram: bytes) -> Answer:
    """Return the answer of a datagram.

    Raises:
        ValueError: It is none.
    """
    match [octets.decode("utf-8", "surrogateescape") for octets in datagram.split(b"\0")]:
        case ["accepted", username, uid, gid, home, shell]:
            return Accepted(username, int(uid), int(gid), home, shell)
        case ["refused", reason]:
            return Refused(reason)
        case ["unavailable", reason]:
            return Unavailable(reason)
        case _:
            raise ValueError("not an answer")
