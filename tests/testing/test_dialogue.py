"""Playing transcripts: what is taken for right, and how what is wrong is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Sequence

import pytest

from popframe import IN_TRANSACTION, Account, Command, CommandContext, IncomingMessage, PermanentFailure, Reply
from popframe.testing import (
    DialogueError,
    EngineServer,
    MemoryStore,
    SocketTransport,
    check_framing,
    client_octets,
    cut_at,
    in_one_piece,
    octet_by_octet,
    parse_transcript,
    play,
)


class ScriptedTransport:
    """A server that says what a test wants, whatever it hears."""

    def __init__(self, answers: Iterable[bytes], *, closes: bool = False) -> None:
        self.heard: list[bytes] = []
        self.is_dropped = False
        self._answers = list(answers)
        self._closes = closes

    def send(self, octets: bytes) -> None:
        """Keep what was sent."""
        self.heard.append(octets)

    def receive(self, seconds: float) -> bytes:
        """Say the next piece, then nothing more, or close."""
        if self._answers:
            return self._answers.pop(0)
        if self._closes:
            return b""
        raise TimeoutError(seconds)

    def close(self) -> None:
        """Note that the client has gone."""
        self.is_dropped = True


def played(text: str, answers: Iterable[bytes], *, closes: bool = False) -> ScriptedTransport:
    """Play a transcript against what a server says."""
    transport = ScriptedTransport(answers, closes=closes)
    play(parse_transcript(text, "t"), lambda: transport)
    return transport


def test_what_the_server_should_say_is_accepted_in_any_pieces() -> None:
    """A line may come in pieces, and several lines in one piece."""
    transport = played("S: +OK*\nC: NOOP\nC: STAT\nS: +OK\nS: +OK 0 0\n", [b"+O", b"K hi\r", b"\n+OK\r\n+OK 0 0\r\n"])

    assert transport.heard == [b"NOOP\r\n", b"STAT\r\n"]
    assert transport.is_dropped


@pytest.mark.parametrize(
    ("text", "answers", "closes", "message"),
    [
        ("S: +OK a\n", [b"+OK b\r\n"], False, "t:1:\n  expected  +OK a\n  got       +OK b\n"),
        ("S: +OK*\nC: NOOP\nS: +OK*\n", [b"+OK\r\n-ERR\r\n"], False, "t:3:\n  expected  +OK*\n  got       -ERR\n"),
        ("S: +OK*\n\nC: A\nS: +OK\n", [b"+OK\r\n"], False, "t:4:\n  expected  +OK\n  got       nothing\n"),
        ("S: +OK*\nC: A\nS: +OK\n", [b"+OK\r\n"], True, "t:3:\n  expected  +OK\n  got       connection closed\n"),
        (
            "S: +OK*\n",
            [b"+OK\r\n+OK\r\n"],
            False,
            "t:1:\n  expected  nothing more, on an open connection\n  got       +OK",
        ),
        (
            "S: +OK*\n",
            [b"+OK\r\n"],
            True,
            "t:1:\n  expected  nothing more, on an open connection\n  got       connection",
        ),
        (
            "S: +OK*\nconnection closed\n",
            [b"+OK\r\n"],
            False,
            "t:2:\n  expected  connection closed\n  got       nothing",
        ),
        (
            "S: +OK*\nconnection closed\n",
            [b"+OK\r\n", b"x"],
            True,
            "t:2:\n  expected  connection closed\n  got       x",
        ),
        ("S: +OK\n", [b"+OK\n"], False, "t:1:\n  expected  +OK\n  got       +OK\\n\n"),
        ("S: +OK\n", [b"\xff\x1b\\\r\n"], False, "t:1:\n  expected  +OK\n  got       \\xff\\x1b\\\\\n"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_both_texts(
    text: str, answers: Sequence[bytes], message: str, *, closes: bool
) -> None:
    """A failed dialogue shows where it failed, what was due and what came."""
    with pytest.raises(DialogueError) as caught:
        played(text, answers, closes=closes)

    assert str(caught.value).startswith(message)


def test_the_message_shows_what_the_client_had_said() -> None:
    """The command that was answered wrongly is in sight."""
    with pytest.raises(DialogueError, match=r"the client had said  DELE 1\\r\\nSTAT$"):
        played("S: +OK*\nC: DELE 1\nC: STAT\nS: +OK 0 0\n", [b"+OK\r\n-ERR\r\n"])


def test_a_very_long_line_is_shown_short() -> None:
    """A wrong line of a megabyte does not fill the screen."""
    with pytest.raises(DialogueError) as caught:
        played("S: +OK\n", [b"x" * 1_000_000 + b"\r\n"])

    assert len(str(caught.value)) < 1000


def test_framing_is_checked_where_the_transcript_is_vague() -> None:
    """A line that only its beginning is known of must still be a status line."""
    with pytest.raises(DialogueError, match="printable text"):
        played("S: +OK*\n", [b"+OK \x1b[2J\r\n"])


GOOD = [
    (b"", b"+OK\r\n"),
    (b"NOOP\r\n", b"+OK hi\r\n+OK \r\n"),
    (b"NOOP\nNOOP\r\n", b"+OK hi\r\n+OK\r\n-ERR no\r\n"),
    (b"retr 1\r\nNOOP\r\n", b"+OK\r\n+OK\r\n..\r\n\r\n.\r\n+OK\r\n"),
    (b"RETR 1\r\nNOOP\r\n", b"+OK\r\n-ERR\r\n+OK\r\n"),
    (b"LIST\r\nLIST 1\r\nLIST \r\n", b"+OK\r\n+OK\r\n1 1\r\n.\r\n+OK 1 1\r\n+OK\r\n.\r\n"),
    (b"A" * 513, b"+OK\r\n-ERR\r\n"),
    (b"NOO", b"+OK\r\n"),
    (b"xtnd xmit\r\na\n.\nb\r\n..\r\n.\r\nNOOP\r\n", b"+OK\r\n+OK send\r\n+OK sent\r\n+OK\r\n"),
    (b"XTND XMIT\r\na\r\nhalf", b"+OK\r\n+OK send\r\n"),
]


@pytest.mark.parametrize(("sent", "received"), GOOD)
def test_good_framing_passes(sent: bytes, received: bytes) -> None:
    """One reply for each command, of one line or of several (RFC 1939 section 3)."""
    check_framing(sent, received, is_closed=False)


@pytest.mark.parametrize(
    ("sent", "received", "is_closed", "rule"),
    [
        (b"", b"", False, "the server speaks first"),
        (b"", b"hello\r\n", False, "a reply begins with"),
        (b"", b"+OKAY\r\n", False, "a reply begins with"),
        (b"", b"+ok\r\n", False, "a reply begins with"),
        (b"", b"+OK a\rb\r\n", False, "a reply begins with"),
        (b"", b"+OK caf\xe9\r\n", False, "a reply begins with"),
        (b"", b"+OK\n", False, "every line ends with CRLF"),
        (b"", b"+OK\r\n+O", False, "every line has an end"),
        (b"", b"+OK " + b"x" * 507 + b"\r\n", False, "a status line has at most 512 octets"),
        (b"NOOP\r\n", b"+OK\r\n", False, "every command has a reply"),
        (b"NOOP\r\n", b"+OK\r\n+OK\r\n+OK\r\n", False, "nothing is said unasked"),
        (b"NOOP\r\n", b"+OK\r\n+OK\r\n+OK\r\n", True, "nothing is said unasked"),
        (b"RETR 1\r\n", b"+OK\r\n+OK\r\nx\r\n", False, "a multi-line response ends with a dot"),
        (b"RETR 1\r\n", b"+OK\r\n+OK\r\nx\n.\r\n", False, "every line ends with CRLF"),
        (b"RETR 1\r\n", b"+OK\r\n-ERR\r\n.\r\n", False, "nothing is said unasked"),
        (b"LIST 1\r\n", b"+OK\r\n+OK 1 1\r\n.\r\n", False, "nothing is said unasked"),
        (b"XLIST\r\n", b"+OK\r\n+OK\r\nx\r\n.\r\n", False, "nothing is said unasked"),
        (b"XTND XMIT\r\na\r\n.\r\n", b"+OK\r\n+OK\r\n", False, "every command has a reply"),
        (b"XTND XMIT\r\na\r\n.\r\n", b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n", False, "nothing is said unasked"),
        (b"XTND XMIT\r\na\r\n.\r\n", b"+OK\r\n-ERR\r\n-ERR\r\n", False, "every command has a reply"),
    ],
)
def test_bad_framing_is_found(sent: bytes, received: bytes, rule: str, *, is_closed: bool) -> None:
    """Whatever puts a client out of step is an error, though no line of the transcript names it."""
    with pytest.raises(DialogueError, match=rule):
        check_framing(sent, received, is_closed=is_closed)


@pytest.mark.parametrize("received", [b"+OK\r\n", b"+OK\r\n+OK\r\n", b"+OK\r\n+OK\r\nx\r\n", b"+OK\r\n+OK\r\nx"])
def test_a_closed_connection_may_have_said_less(received: bytes) -> None:
    """A server that had to give up in the middle of a message says nothing more (RFC 1939 section 3)."""
    check_framing(b"RETR 1\r\nNOOP\r\n", received, is_closed=True)


@pytest.mark.parametrize(
    ("cut", "pieces"),
    [
        (in_one_piece, [b"NOOP\r\nQUIT\r\n"]),
        (octet_by_octet, [bytes([octet]) for octet in b"NOOP\r\nQUIT\r\n"]),
        (cut_at(5), [b"NOOP\r", b"\nQUIT\r\n"]),
        (cut_at(12), [b"NOOP\r\nQUIT\r\n"]),
    ],
)
def test_the_client_may_send_everything_ahead(cut: Callable[[bytes], Iterable[bytes]], pieces: list[bytes]) -> None:
    """The same dialogue, cut differently."""
    transcript = parse_transcript("S: +OK*\nC: NOOP\nS: +OK*\nC: QUIT\nS: +OK*\nconnection closed\n")
    transport = ScriptedTransport([b"+OK\r\n+OK\r\n+OK\r\n"], closes=True)
    play(transcript, lambda: transport, cut=cut)

    assert transport.heard == pieces
    assert client_octets(transcript) == [b"NOOP\r\nQUIT\r\n"]


def test_a_command_extension_can_be_played() -> None:
    """A plugin's author tests a command with a transcript."""

    def xlist(_context: CommandContext, _arguments: Sequence[str]) -> Reply:
        return Reply("list follows", body=[b".one\ntwo"])

    command: Command[CommandContext] = Command("XLIST", xlist, IN_TRANSACTION)
    transcript = parse_transcript(
        "@ multi-line XLIST\n@ log in\nC: XLIST\nC: NOOP\nS: +OK list follows\nS: ..one\nS: two\nS: .\nS: +OK*\n"
    )

    play(transcript, EngineServer(transcript, [command]).connect)


class Nowhere:
    """A store that wants no mail."""

    def popframe_open_maildrop(self, account: Account) -> None:
        """Leave the account to other plugins."""

    def popframe_deliver_message(self, account: Account, message: IncomingMessage) -> None:
        """Leave the message to other plugins."""


def test_a_storage_plugin_can_be_played_with() -> None:
    """The mail of the transcript goes into the store that is to be tested."""
    store = MemoryStore()
    transcript = parse_transcript(
        "@ messages 2 Subject: a\\n\\nhi\\n\n@ log in\nC: DELE 1\nC: QUIT\nS: +OK*\nS: +OK*\nconnection closed\n"
    )
    play(transcript, EngineServer(transcript, store=store).connect)

    assert store.popframe_open_maildrop(Account("alice")).message_uids() == ["2"]


def test_a_store_that_does_not_want_the_mail_is_told_of() -> None:
    """What a transcript supposes must be so."""
    with pytest.raises(PermanentFailure, match="does not want this message"):
        EngineServer(parse_transcript("@ message x\nC: x\n"), store=Nowhere())
    client = EngineServer(parse_transcript("C: x\n"), store=Nowhere()).connect()

    assert client.log_in("alice", "secret").startswith(b"-ERR [SYS/PERM]")


def test_failures_are_reported_to_the_operator_too() -> None:
    """What a transcript breaks can be found in the server's report."""
    transcript = parse_transcript(
        "@ failure read 1 defect\n@ message x\n@ log in\nC: RETR 1\nS: -ERR*\nconnection closed\n"
    )
    server = EngineServer(transcript)
    play(transcript, server.connect)

    assert [(doing, type(error)) for doing, error in server.errors] == [("RETR", RuntimeError)]


def test_a_server_on_a_socket_can_be_played_with() -> None:
    """The same dialogue through TCP."""
    transcript = parse_transcript("S: +OK*\nC: QUIT\nS: +OK*\nconnection closed\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"+OK hi\r\n")
                assert accepted.recv(100) == b"QUIT\r\n"
                accepted.sendall(b"+OK bye\r\n")

        server = threading.Thread(target=serve)
        server.start()
        play(transcript, lambda: SocketTransport(listener.getsockname()))
        server.join()


def test_silence_on_a_socket_is_a_timeout() -> None:
    """A server that says nothing is not taken for one that has closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = SocketTransport(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted, pytest.raises(TimeoutError):
            transport.receive(0.01)
        transport.close()
