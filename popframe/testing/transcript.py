r"""Transcripts of POP3 dialogues: what a client says and what a server has to answer, read from a text file.

A ``#`` at the start of a line begins a comment; empty lines mean nothing. Directives come first and set the scene::

    @ user bob two words          somebody who can log in; everything after the name is the password
    @ message Subject: a\n\nhi\n  a message in the maildrop of the last user, as it is stored
    @ messages 3 Subject: b\n\n    the same message three times
    @ policy replace_nul true     a choice of the site: a field of popframe.engine.Policy
    @ failure read 2 TemporaryFailure     what does not work; see FAILURES
    @ mechanisms PLAIN CRAM-MD5   the SASL mechanisms on offer; unless said, PLAIN and LOGIN
    @ multi-line XLIST            a further command whose positive reply has several lines
    @ log in                      the dialogue begins after the login, of the first user or of the one named here

Without ``@ user`` there is alice, whose password is ``secret``. Then the dialogue, in the order in which it happens::

    C: STAT                       what the client says, CRLF added
    C> STAT                       the same without a line end
    S: +OK 2 320                  the line that the server says, exactly
    S: -ERR*                      a line that begins so
    connection closed             the server has nothing more to say and closes
    new connection                the client has gone, whether it was closed or not, and connects anew

A dialogue without ``@ log in`` begins with the greeting, and so does every new connection. Client lines that follow one
another are sent together.

In messages and in client and server lines ``\r \n \t \0 \\ \*`` and ``\xHH`` stand for octets, and ``\{300 ab}`` for
``ab`` 300 times; other characters are sent as UTF-8. A blank at the end of a line, which nobody sees, is written
``\x20``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from popframe import errors
from popframe.engine import Policy
from popframe.sasl import BUILT_IN

FAILURES: Mapping[str, str] = {
    "login": "nobody can log in",
    "open": "a maildrop cannot be opened, though name and password are right",
    "read": "the message of that number cannot be read",
    "read-on": "the message of that number breaks off in the middle",
    "update": "nothing can be removed at QUIT",
}
"""What ``@ failure`` can break. The last word is the exception: a class of popframe.errors, or ``defect``."""

MECHANISMS: tuple[str, ...] = ("PLAIN", "LOGIN")
"""What a server offers whose users have hashed passwords."""

NUMBERED_FAILURES = frozenset({"read", "read-on"})
"""Those that befall one message."""

_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|\{([0-9]{1,7}) ([^}]+)\}|(.)|$)", re.DOTALL)
_ESCAPED = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\", "*": b"*"}


class TranscriptError(ValueError):
    """A transcript cannot be understood; the message says where and why."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who can log in, and the messages of the maildrop as stored."""

    name: str
    password: bytes
    messages: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """What does not work: a word of FAILURES, the number of a message or 0, and what is raised."""

    place: str
    number: int
    error: type[Exception]


@dataclass(frozen=True, slots=True)
class ClientSays:
    """Octets from the client."""

    line_number: int
    octets: bytes


@dataclass(frozen=True, slots=True)
class ServerSays:
    """A line that the server has to say; without its line end when only its beginning is known."""

    line_number: int
    octets: bytes
    is_beginning: bool = False

    def matches(self, line: bytes) -> bool:
        """Tell whether this line, with its end, will do."""
        if self.is_beginning:
            return line.startswith(self.octets) and line.endswith(b"\r\n")
        return line == self.octets + b"\r\n"


@dataclass(frozen=True, slots=True)
class ServerCloses:
    """The server has to close the connection."""

    line_number: int


@dataclass(frozen=True, slots=True)
class ClientReconnects:
    """The client drops the connection, if there still is one, and makes a new one."""

    line_number: int


Step = ClientSays | ServerSays | ServerCloses | ClientReconnects


@dataclass(frozen=True, slots=True)
class Transcript:
    """A transcript, understood.

    Attributes:
        name: Where it comes from, for messages: the path of its file.
        users: Who can log in.
        policy: The choices of the site that it applies to.
        failures: What does not work.
        mechanisms: The SASL mechanisms on offer.
        multi_line: Verbs of further commands whose positive replies have several lines.
        steps: The dialogue; a login that ``@ log in`` asked for is part of it.
    """

    name: str
    users: tuple[User, ...]
    steps: tuple[Step, ...]
    policy: Policy = field(default_factory=Policy)
    failures: tuple[Failure, ...] = ()
    multi_line: frozenset[str] = frozenset()
    mechanisms: tuple[str, ...] = MECHANISMS


def read_transcript(path: Path) -> Transcript:
    """Read a transcript from a file.

    Raises:
        TranscriptError: It cannot be understood.
    """
    return parse_transcript(path.read_text("utf-8"), str(path))


def parse_transcript(text: str, name: str = "transcript") -> Transcript:
    """Understand the text of a transcript.

    Args:
        text: Its lines.
        name: Where it comes from, for messages.

    Raises:
        TranscriptError: It cannot be understood.
    """
    parser = _Parser()
    for number, line in enumerate(text.split("\n"), start=1):
        if not line or line.startswith("#"):
            continue
        try:
            parser.take(number, line)
        except TranscriptError as error:
            raise TranscriptError(f"{name}:{number}: {error}") from None
    if not parser.steps:
        raise TranscriptError(f"{name}: nobody says anything")
    return parser.transcript(name)


def unescape(text: str) -> bytes:
    """Return the octets that a piece of a transcript stands for.

    Raises:
        TranscriptError: It has an escape that means nothing.
    """
    octets = b""
    position = 0
    for match in _ESCAPE.finditer(text):
        octets += text[position : match.start()].encode("utf-8")
        position = match.end()
        code, count, repeated, letter = match.groups()
        if code:
            octets += bytes.fromhex(code)
        elif count:
            octets += unescape(repeated) * int(count)
        elif letter in _ESCAPED:
            octets += _ESCAPED[letter]
        else:
            raise TranscriptError(f"{match.group()} means nothing; write \\\\ for a backslash")
    return octets + text[position:].encode("utf-8")


class _Parser:
    """Takes line after line."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._users: list[User] = []
        self._policy = Policy()
        self._policy_values: dict[str, str] = {}
        self._failures: list[Failure] = []
        self._multi_line: set[str] = set()
        self._mechanisms = MECHANISMS
        self._login: tuple[int, str] | None = None

    def take(self, number: int, line: str) -> None:
        """Take a line that says something."""
        if line != line.rstrip():
            raise TranscriptError("a blank at the end of a line cannot be seen; write \\x20")
        if line.startswith("@ "):
            self._take_directive(number, line[2:])
        elif line.startswith(("C: ", "C> ")) or line == "C:":
            end = b"" if line[1] == ">" else b"\r\n"
            self._add(number, ClientSays(number, unescape(line[3:]) + end))
        elif line.startswith("S: ") or line == "S:":
            is_beginning = line.endswith("*") and not line.endswith("\\*")
            self._add(number, ServerSays(number, unescape(line[3 : len(line) - is_beginning]), is_beginning))
        elif line == "connection closed":
            self._add(number, ServerCloses(number))
        elif line == "new connection":
            self._add(number, ClientReconnects(number))
        else:
            raise TranscriptError(
                "a line begins with '#', '@ ', 'C: ', 'C> ' or 'S: ', or is 'connection closed' or 'new connection'"
            )

    def transcript(self, name: str) -> Transcript:
        """Return what was taken."""
        return Transcript(
            name=name,
            users=tuple(self._users or [_ALICE]),
            steps=tuple(self.steps),
            policy=self._policy,
            failures=tuple(self._failures),
            multi_line=frozenset(self._multi_line),
            mechanisms=self._mechanisms,
        )

    def _add(self, number: int, step: Step) -> None:
        if not self.steps and self._login is not None:
            self._log_in(*self._login)
        self.steps.append(step)

    def _log_in(self, number: int, name: str) -> None:
        """Put the login that the directive asked for at the start of the dialogue."""
        users = [user for user in self._users or [_ALICE] if name in ("", user.name)]
        if not users:
            raise TranscriptError(f"'@ log in' names {name}, whom no '@ user' names")
        positive = ServerSays(number, b"+OK", is_beginning=True)
        self.steps += [
            positive,
            ClientSays(number, b"USER " + users[0].name.encode() + b"\r\n"),
            positive,
            ClientSays(number, b"PASS " + users[0].password + b"\r\n"),
            positive,
        ]

    def _take_directive(self, number: int, line: str) -> None:
        if self.steps:
            raise TranscriptError("directives stand before the first line of the dialogue")
        verb, _, rest = line.partition(" ")
        directives: dict[str, Callable[[str], None]] = {
            "user": self._user,
            "message": self._message,
            "messages": self._messages,
            "policy": self._set_policy,
            "failure": self._failure,
            "mechanisms": self._set_mechanisms,
            "multi-line": self._multi_line.add,
        }
        if verb == "log" and rest.partition(" ")[0] == "in":
            self._login = number, rest.partition(" ")[2]
        elif verb in directives and (rest or verb == "message"):
            directives[verb](rest)
        else:
            known = ", ".join(f"'@ {name} …'" for name in directives)
            raise TranscriptError(f"no such directive; there are {known} and '@ log in'")

    def _user(self, rest: str) -> None:
        name, _, password = rest.partition(" ")
        if not password:
            raise TranscriptError("'@ user' takes a name and a password")
        self._users.append(User(name, unescape(password)))

    def _message(self, rest: str) -> None:
        self._put(unescape(rest), 1)

    def _messages(self, rest: str) -> None:
        count, _, content = rest.partition(" ")
        self._put(unescape(content), _number(count))

    def _put(self, message: bytes, count: int) -> None:
        self._users = self._users or [_ALICE]
        owner = self._users[-1]
        self._users[-1] = replace(owner, messages=owner.messages + (message,) * count)

    def _set_policy(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        names = [choice.name for choice in fields(Policy)]
        if name not in names:
            raise TranscriptError(f"no such policy; there are {', '.join(names)}")
        self._policy_values[name] = value
        try:
            self._policy = TypeAdapter(Policy).validate_python(self._policy_values)
        except ValidationError:
            raise TranscriptError(f"{value!r} is no value of {name}") from None

    def _set_mechanisms(self, rest: str) -> None:
        names = tuple(rest.split())
        for name in names:
            if name not in BUILT_IN:
                raise TranscriptError(f"no such mechanism; there are {', '.join(BUILT_IN)}")
        self._mechanisms = names

    def _failure(self, rest: str) -> None:
        place, _, rest = rest.partition(" ")
        number = 0
        if place in NUMBERED_FAILURES:
            digits, _, rest = rest.partition(" ")
            number = _number(digits)
        if place not in FAILURES or not rest:
            places = [f"{name} NUMBER" if name in NUMBERED_FAILURES else name for name in FAILURES]
            raise TranscriptError(f"'@ failure' takes one of {', '.join(places)}, and an exception")
        self._failures.append(Failure(place, number, _exception(rest)))


def _number(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit()):
        raise TranscriptError(f"{digits!r} is no number")
    return int(digits)


def _exception(name: str) -> type[Exception]:
    found = RuntimeError if name == "defect" else getattr(errors, name, None)
    if not (isinstance(found, type) and issubclass(found, Exception)):
        raise TranscriptError(f"{name} is neither 'defect' nor an exception of popframe.errors")
    return found


_ALICE = User("alice", b"secret")
