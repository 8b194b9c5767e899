"""Playing a transcript: against the engine in memory, or against a server on a socket.

What the server says is compared line by line, and held against the rules that no dialogue may break
(:func:`check_framing`). The form of a transcript is described in :mod:`popframe.testing.transcript`.

::

    transcript = read_transcript(Path("dele.txt"))
    play(transcript, EngineServer(transcript).connect)
    play(transcript, EngineServer(transcript).connect, cut=octet_by_octet)
    play(transcript, lambda: SocketTransport(("127.0.0.1", 1110)))
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Protocol

from popframe.testing.transcript import ClientReconnects, ClientSays, ServerCloses, ServerSays, Step, Transcript

PATIENCE_SECONDS = 10.0
"""How long a line that a server has to say may take."""

QUIET_SECONDS = 0.05
"""How long it is waited for something that a server must not say."""

READ_OCTETS = 65_536
"""Most that is read from a socket at once."""

SHOWN_OCTETS = 300
"""How much of a line that is wrong is shown."""

MAX_STATUS_OCTETS = 512
"""Longest status line, CRLF included (RFC 1939 section 3, RFC 2449 section 4)."""

_STATUS_LINE = re.compile(rb"(\+OK|-ERR)[ \r]")
_CHALLENGE = re.compile(rb"\+ (?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\r\n")
_MULTI_LINE = frozenset({b"AUTH", b"CAPA", b"LANG", b"LIST", b"RETR", b"TOP", b"UIDL"})
WITH_BODY = frozenset({b"XTND XMIT"})
"""Commands behind whose positive reply a body follows."""

_MULTI_LINE_ALONE = frozenset({b"AUTH", b"LANG", b"LIST", b"UIDL"})
"""With an argument these have a reply of one line."""


class DialogueError(AssertionError):
    """A server did not say what it had to; the message shows where in the transcript, what was due, and what came."""


class Transport(Protocol):
    """A connection to a server: what :func:`play` needs of it."""

    def send(self, octets: bytes) -> None:
        """Send octets. A connection that the server has closed takes them without complaint."""
        ...

    def receive(self, seconds: float) -> bytes:
        """Return what has come, at least one octet; empty when the server has closed the connection.

        Raises:
            TimeoutError: Nothing has come in that time.
        """
        ...

    def close(self) -> None:
        """Drop the connection without a word."""
        ...


Cut = Callable[[bytes], Iterable[bytes]]
"""A way to cut the octets that a client sends on one connection into pieces."""


def in_one_piece(octets: bytes) -> Iterable[bytes]:
    """Send all that the client has to say at once, without waiting for a reply."""
    yield octets


def octet_by_octet(octets: bytes) -> Iterable[bytes]:
    """Send every octet by itself."""
    return (octets[position : position + 1] for position in range(len(octets)))


def cut_at(position: int) -> Cut:
    """Return the way to send everything in two pieces."""
    return lambda octets: (octets[:position], octets[position:])


def play(transcript: Transcript, connect: Callable[[], Transport], *, cut: Cut | None = None) -> None:
    """Play a transcript.

    Args:
        transcript: What is said.
        connect: Makes a connection to a server that has the users, messages and choices of the transcript.
        cut: Send everything without waiting for replies, in these pieces; by default the client lines that stand
            together are sent together, and then their replies are awaited.

    Raises:
        DialogueError: The server said something else.
    """
    for steps in _connections(transcript.steps):
        transport = connect()
        try:
            _Conversation(transcript, transport).go_through(steps if cut is None else _sent_ahead(steps, cut))
        finally:
            transport.close()


def client_octets(transcript: Transcript) -> list[bytes]:
    """Return what the client says on each connection, to find out where it can be cut."""
    return [
        b"".join(step.octets for step in steps if isinstance(step, ClientSays))
        for steps in _connections(transcript.steps)
    ]


def check_framing(
    sent: bytes, received: bytes, *, is_closed: bool, multi_line: AbstractSet[bytes] = _MULTI_LINE
) -> None:
    """Check what holds for every dialogue, whatever is said in it.

    Every line ends with CRLF. A status line is ``+OK`` or ``-ERR``, a space and printable text, in at most 512 octets:
    ASCII, or UTF-8 once UTF8 or LANG was answered with ``+OK`` (RFC 6856).
    What answers AUTH, or a response, may be a challenge instead: ``+``, a space and base64 (RFC 5034 section 4).
    After the greeting there is one reply for each command line, in their order, and one for each body that a command
    takes, which ends with a lone dot; a reply of several lines ends with a dot. A line that has not ended may have its
    reply already: it is too long. A server that has closed the connection may have said less.

    Args:
        sent: Everything that the client said on one connection.
        received: Everything that the server said.
        is_closed: The server has closed the connection.
        multi_line: Verbs whose positive replies have several lines; AUTH, LANG, LIST and UIDL only without an argument.

    Raises:
        DialogueError: The server broke a rule.
    """
    *whole, rest = received.split(b"\n")
    for line in whole:
        _demand(line.endswith(b"\r"), "every line ends with CRLF", line)
    _demand(not rest or is_closed, "every line has an end", rest)
    lines = deque(line + b"\n" for line in whole)
    _demand(bool(lines), "the server speaks first", received)
    _check_status(lines.popleft())
    *commands, unended = sent.split(b"\n")
    is_utf8 = False
    is_challenged = False
    before: bytes | None = None
    for command in commands:
        if before is not None:  # in a body, which is over at a dot between CRLFs
            is_over = command == b".\r" and before.endswith(b"\r")
            before = None if is_over else command
            if not is_over:
                continue
        if not lines:
            _demand(is_closed, "every command has a reply", command)
            return
        was_challenged = is_challenged
        is_challenged = _take_challenge(lines, command, is_challenged=was_challenged)
        if is_challenged:
            continue
        command = b"" if was_challenged else command  # a response may look like any command
        is_utf8 = is_utf8 or (lines[0].startswith(b"+OK") and command.upper().startswith((b"UTF8", b"LANG ")))
        _check_status(lines[0], is_utf8=is_utf8)
        if lines[0].startswith(b"+OK") and command.upper().removesuffix(b"\r") in WITH_BODY:
            before = command
        _take_reply(lines, command.removesuffix(b"\r"), multi_line, is_closed=is_closed)
    if lines and unended:
        _check_status(lines.popleft(), is_utf8=is_utf8)
    _demand(not lines, "nothing is said unasked", b"".join(lines))


def _take_challenge(lines: deque[bytes], command: bytes, *, is_challenged: bool) -> bool:
    """Take a challenge off the front, if the next line is one and may be."""
    if not lines[0].startswith(b"+ ") or not (is_challenged or command.upper().startswith(b"AUTH ")):
        return False
    _demand(_CHALLENGE.fullmatch(lines[0]) is not None, "a challenge is a plus sign, a space and base64", lines[0])
    lines.popleft()
    return True


def _take_reply(lines: deque[bytes], command: bytes, multi_line: AbstractSet[bytes], *, is_closed: bool) -> None:
    """Take the lines that answer one command off the front."""
    status = lines.popleft()
    verb, _, argument = command.upper().partition(b" ")
    if not status.startswith(b"+OK") or verb not in multi_line or (verb in _MULTI_LINE_ALONE and argument.strip()):
        return
    while lines and lines[0] != b".\r\n":
        lines.popleft()
    _demand(bool(lines) or is_closed, "a multi-line response ends with a dot", command)
    if lines:
        lines.popleft()


def _check_status(line: bytes, *, is_utf8: bool = False) -> None:
    text = line.decode("utf-8" if is_utf8 else "ascii", "replace")
    is_printable = "\N{REPLACEMENT CHARACTER}" not in text and text.removesuffix("\r\n").isprintable()
    is_whole = _STATUS_LINE.match(line) is not None and text.endswith("\r\n")
    _demand(is_printable and is_whole, "a reply begins with +OK or -ERR and printable text", line)
    _demand(len(line) <= MAX_STATUS_OCTETS, f"a status line has at most {MAX_STATUS_OCTETS} octets", line)


def _demand(is_kept: bool, rule: str, octets: bytes) -> None:
    if not is_kept:
        raise DialogueError(f"{rule}, but: {octets[:200]!r}")


def _connections(steps: Iterable[Step]) -> Iterator[list[Step]]:
    """Yield the steps of each connection."""
    connection: list[Step] = []
    for step in steps:
        if isinstance(step, ClientReconnects):
            yield connection
            connection = []
        else:
            connection.append(step)
    yield connection


def _sent_ahead(steps: Iterable[Step], cut: Cut) -> list[Step]:
    """Put everything that the client says in front, in pieces."""
    steps = list(steps)
    said = [step for step in steps if isinstance(step, ClientSays)]
    pieces = cut(b"".join(step.octets for step in said))
    ahead = [ClientSays(said[0].line_number, piece) for piece in pieces if piece]
    return [*ahead, *(step for step in steps if not isinstance(step, ClientSays))]


class _Conversation:
    """One connection, and everything that was said on it."""

    def __init__(self, transcript: Transcript, transport: Transport) -> None:
        self._transcript = transcript
        self._transport = transport
        self._sent = bytearray()
        self._received = bytearray()
        self._taken = 0
        self._is_closed = False

    def go_through(self, steps: Iterable[Step]) -> None:
        """Take one step after the other, and make sure that nothing is left over."""
        line_number = 0
        for step in steps:
            line_number = step.line_number
            if isinstance(step, ClientSays):
                self._sent += step.octets
                self._transport.send(step.octets)
            elif isinstance(step, ServerSays):
                self._expect_line(step)
            elif isinstance(step, ServerCloses):
                self._expect_end(line_number)
        if not self._is_closed:
            self._expect_silence(line_number)
        more = {verb.upper().encode() for verb in self._transcript.multi_line}
        check_framing(
            bytes(self._sent), bytes(self._received), is_closed=self._is_closed, multi_line=_MULTI_LINE | more
        )

    def _expect_line(self, step: ServerSays) -> None:
        while (end := self._received.find(b"\n", self._taken)) < 0 and self._more(PATIENCE_SECONDS):
            pass
        line = bytes(self._received[self._taken : end + 1 if end >= 0 else len(self._received)])
        self._taken += len(line)
        if not step.matches(line):
            due = _shown(step.octets + (b"" if step.is_beginning else b"\r\n")) + ("*" if step.is_beginning else "")
            raise self._error(step.line_number, due, self._described(line))

    def _expect_end(self, line_number: int) -> None:
        while self._more(PATIENCE_SECONDS):
            pass
        if not self._is_closed or self._taken < len(self._received):
            raise self._error(line_number, "connection closed", self._described(bytes(self._received[self._taken :])))

    def _expect_silence(self, line_number: int) -> None:
        while self._more(QUIET_SECONDS):
            pass
        if self._is_closed or self._taken < len(self._received):
            came = self._described(bytes(self._received[self._taken :]))
            raise self._error(line_number, "nothing more, on an open connection", came)

    def _more(self, seconds: float) -> bool:
        """Wait for more; tell whether it came."""
        if self._is_closed:
            return False
        try:
            octets = self._transport.receive(seconds)
        except TimeoutError:
            return False
        self._received += octets
        self._is_closed = not octets
        return not self._is_closed

    def _described(self, octets: bytes) -> str:
        if octets:
            return _shown(octets)
        return "connection closed" if self._is_closed else "nothing"

    def _error(self, line_number: int, due: str, came: str) -> DialogueError:
        where = f"{self._transcript.name}:{line_number}"
        before = _shown(bytes(self._sent[-80:])) or "nothing"
        return DialogueError(f"{where}:\n  expected  {due}\n  got       {came}\n  the client had said  {before}")


def _shown(octets: bytes) -> str:
    """Return octets as a transcript would have them, without a final CRLF; not more than a few hundred."""
    text = octets.removesuffix(b"\r\n")[:SHOWN_OCTETS].decode("utf-8", "surrogateescape")
    shown = "".join(map(_escaped, text))
    return shown if len(octets) <= SHOWN_OCTETS else f"{shown}… ({len(octets)} octets)"


def _escaped(character: str) -> str:
    if character.isprintable() and character != "\\":
        return character
    named = {"\\": "\\\\", "\r": "\\r", "\n": "\\n", "\t": "\\t"}.get(character)
    return named or "".join(f"\\x{octet:02x}" for octet in character.encode("utf-8", "surrogateescape"))


class SocketTransport:
    """A connection to a server that listens somewhere."""

    def __init__(self, address: tuple[str, int]) -> None:
        """Connect.

        Args:
            address: Host and port.
        """
        self._socket = socket.create_connection(address, PATIENCE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, octets: bytes) -> None:
        """Send octets."""
        self._socket.settimeout(PATIENCE_SECONDS)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(octets)

    def receive(self, seconds: float) -> bytes:
        """Return what has come."""
        self._socket.settimeout(seconds)
        try:
            return self._socket.recv(READ_OCTETS)
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
