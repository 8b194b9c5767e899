"""A body from the client: a command takes it whole or not at all, and nothing of it is ever a command."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import (
    IN_TRANSACTION,
    Command,
    CommandContext,
    HookContractError,
    Outcome,
    PermanentFailure,
    Reply,
    TemporaryFailure,
)
from popframe.engine import Policy
from popframe.engine.body import Unstuffing
from popframe.engine.policy import BODY_PROGRESS_OCTETS, MAX_UNWANTED_OCTETS
from popframe.server.connection import Connection, Timers
from popframe.server.transport import Transport
from popframe.testing import EngineServer, Transcript
from popframe.testing.engine_server import EngineTransport
from popframe.testing.transcript import User

LogIn = Callable[..., EngineTransport]

SEND_IT = b"+OK send it\r\n"
END = b"\r\n.\r\n"


class Kept:
    """Takes a body; what happened to it is kept."""

    def __init__(self, *, limit: int = 1 << 30, error: Exception | None = None) -> None:
        self.pieces: list[bytes] = []
        self.events: list[str] = []
        self._limit = limit
        self._error = error or PermanentFailure("too large")

    @property
    def octets(self) -> bytes:
        """What came."""
        return b"".join(self.pieces)

    def take(self, octets: bytes) -> None:
        """Keep a piece."""
        self.pieces.append(octets)
        if len(self.octets) > self._limit:
            raise self._error

    def finish(self) -> Reply:
        """Say how much came."""
        self.events.append("finish")
        return Reply(f"{len(self.octets)} octets")

    def abort(self) -> None:
        """Take note."""
        self.events.append("abort")


def taking(kept: Kept, **changes: object) -> Command[CommandContext]:
    """Return the row of a command that takes a body."""

    def handler(_context: CommandContext, _arguments: Sequence[str]) -> Reply:
        reply = Reply("send it", receive=kept)
        for name, value in changes.items():
            setattr(reply, name, value)
        return reply

    return Command("XPUT", handler, IN_TRANSACTION)


def test_a_body_comes_without_its_stuffing_and_its_end(log_in: LogIn) -> None:
    """What stands behind the lone dot is a command again; line ends stay as they are."""
    kept = Kept()
    client = log_in(commands=[taking(kept)])

    assert client.ask("XPUT") == SEND_IT
    client.send(b"..x\r\n...\r\n.y\r\n\r\na\nb\r\n.\r\nNOOP\r\n")

    assert client.receive(0) == b"+OK %d octets\r\n+OK done\r\n" % len(kept.octets)
    assert kept.octets == b".x\r\n..\r\ny\r\n\r\na\nb\r\n"
    assert kept.events == ["finish"]


def test_an_empty_body(log_in: LogIn) -> None:
    """The lone dot may come first."""
    kept = Kept()

    assert log_in(commands=[taking(kept)]).ask("XPUT", ".", "STAT") == SEND_IT + b"+OK 0 octets\r\n+OK 0 0\r\n"
    assert (kept.pieces, kept.events) == ([], ["finish"])


@pytest.mark.parametrize("line_end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r", b"\r\n.\r\r\n"])
def test_a_dot_between_other_line_ends_is_no_end(log_in: LogIn, line_end: bytes) -> None:
    """A client looks for dots between CRLFs; a message with another kind in it must not turn into commands."""
    kept = Kept()
    client = log_in([b"Subject: a\n\n"], commands=[taking(kept)])
    client.ask("XPUT")
    client.send(b"a" + line_end + b"DELE 1\r\n.\r\nSTAT\r\n")

    assert client.receive(0).endswith(b"+OK 1 14\r\n")
    assert b"DELE 1" in kept.octets


def test_a_line_of_a_body_may_have_any_length(log_in: LogIn) -> None:
    """The limit of a command line is not that of a body, and NUL and 8-bit octets are passed."""
    kept = Kept()
    content = bytes(range(256)).replace(b"\r", b"").replace(b"\n", b"") * 4096 + b"\r\n"
    client = log_in(commands=[taking(kept)])
    client.ask("XPUT")
    client.send(content + b".\r\n")

    assert client.receive(0) == b"+OK %d octets\r\n" % len(content)
    assert kept.octets == content


def test_no_piece_waits_for_the_end_of_its_line(log_in: LogIn) -> None:
    """Memory is bounded: four octets at most are held back."""
    kept = Kept()
    client = log_in(commands=[taking(kept)])
    client.ask("XPUT")
    for _ in range(64):
        client.send(b"x" * 65_536)

    assert len(kept.octets) == 64 * 65_536
    assert max(map(len, kept.pieces)) <= 65_536 + 4


def test_the_word_to_send_leaves_before_the_body_is_dealt_with(log_in: LogIn) -> None:
    """A client that has sent everything ahead sees the first reply while the second is being found."""
    client = log_in(commands=[taking(Kept())])
    client.session.receive_data(b"NOOP\r\nXPUT\r\nhello\r\n.\r\nNOOP\r\n")

    sent = [b"".join(buffers) for buffers in client.session.output()]

    assert sent == [b"+OK done\r\n" + SEND_IT, b"+OK 7 octets\r\n+OK done\r\n"]


@pytest.mark.parametrize("cut", range(len(b"XPUT\r\nab\r\n.")))
def test_a_client_that_breaks_off_in_the_middle(log_in: LogIn, cut: int) -> None:
    """The body is forgotten, once, wherever it stops."""
    kept = Kept()
    client = log_in(commands=[taking(kept)])
    client.send(b"XPUT\r\nab\r\n."[: cut + 1])
    client.close()
    client.close()

    assert kept.events == (["abort"] if cut >= 5 else [])


@pytest.mark.parametrize("outcome", [Outcome.TIMED_OUT, Outcome.SHUT_DOWN])
def test_a_session_that_is_ended_in_the_middle(log_in: LogIn, outcome: Outcome) -> None:
    """The same for the server's own reasons; also where marks count then."""
    kept = Kept()
    client = log_in(commands=[taking(kept)], policy=Policy(update_on_abort=True))
    client.ask("XPUT", "a")
    client.session.abort(outcome)

    assert kept.events == ["abort"]


def test_what_is_refused_is_read_to_its_end(log_in: LogIn) -> None:
    """The reply comes behind the body, which is not taken any further, and the session goes on."""
    kept = Kept(limit=10)
    client = log_in(commands=[taking(kept)])
    client.ask("XPUT", "0123456789", "more")
    assert kept.events == ["abort"]
    client.send(b"DELE 1\r\n" * 1000 + b".\r\nNOOP\r\n")

    assert client.receive(0) == b"-ERR [SYS/PERM] problem on the server, ask its operator for help\r\n+OK done\r\n"
    assert (len(kept.pieces), kept.events) == (1, ["abort"])
    assert [doing for doing, _ in client.server.errors] == ["XPUT"]


def test_a_refused_body_that_does_not_end(log_in: LogIn) -> None:
    """There is a limit to what is thrown away."""
    kept = Kept(limit=0)
    client = log_in(commands=[taking(kept)])
    client.ask("XPUT")
    piece = b"x" * (1 << 20)
    for _ in range(MAX_UNWANTED_OCTETS // len(piece) + 1):
        assert not client.session.is_closed
        client.send(piece)
    client.send(piece)

    assert client.session.is_closed
    assert client.session.outcome is Outcome.TOO_MANY_ERRORS
    assert kept.events == ["abort"]


def test_a_defect_in_what_takes_a_body(log_in: LogIn) -> None:
    """It is reported, and ends the session like a defect in any command, when the body is over."""
    kept = Kept(limit=0, error=ZeroDivisionError("oh"))
    client = log_in(commands=[taking(kept)])
    client.ask("XPUT")
    client.send(b"a\r\n.\r\nNOOP\r\n")

    assert client.receive(0).startswith(b"-ERR [SYS/TEMP]")
    assert (client.session.outcome, kept.events) == (Outcome.STORAGE_FAILED, ["abort"])


def test_a_refusal_at_the_end(log_in: LogIn) -> None:
    """``finish`` may refuse; ``abort`` is not called behind it."""

    class Refusing(Kept):
        def finish(self) -> Reply:
            """Refuse."""
            super().finish()
            raise TemporaryFailure("not now")

    kept = Refusing()
    client = log_in(commands=[taking(kept)])
    client.ask("XPUT")
    client.send(b"a\r\n.\r\nQUIT\r\n")

    assert client.receive(0).splitlines()[1].startswith(b"+OK")
    assert kept.events == ["finish"]


@pytest.mark.parametrize("changes", [{"is_ok": False}, {"body": [b"x"]}, {"close": True}])
def test_a_body_is_wanted_behind_a_plain_reply_only(log_in: LogIn, changes: dict[str, object]) -> None:
    """Anything else is a broken contract, and what follows is commands."""
    kept = Kept()
    client = log_in(commands=[taking(kept, **changes)])

    assert client.ask("XPUT", "NOOP").splitlines()[0].startswith(b"-ERR [SYS/PERM]")
    assert isinstance(client.server.errors[0][1], HookContractError)
    assert kept.events == ["abort"]


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"x", b"\r\n.", b"\r\n.\r"])), st.data())
def test_however_the_stream_is_cut_the_body_is_the_same(words: list[bytes], data: st.DataObject) -> None:
    """What a client stuffs is what arrives, whatever is in it, and what stands behind it is left over."""
    body = b"".join(words)
    body += b"" if not body or body.endswith(b"\r\n") else b"\r\n"
    stuffed = (b"\r\n" + body).replace(b"\r\n.", b"\r\n..")[2:]
    stream = stuffed + b".\r\nNOOP\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    unstuffing = Unstuffing()
    found = b""
    behind = b""
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        if unstuffing.is_over:
            behind += stream[start:end]
        else:
            piece, rest = unstuffing.feed(stream[start:end])
            found += piece
            behind += rest

    assert (found, behind, unstuffing.is_over) == (body, b"NOOP\r\n", True)


# --- the autologout timer


def driven(kept: Kept, idle: float) -> tuple[socket.socket, threading.Thread, EngineServer]:
    """Return the client's end of a driven session that has sent XPUT after its login."""
    scene = Transcript(name="test", users=(User("alice", b"secret"),), steps=())
    server = EngineServer(scene, [taking(kept)])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), 20)
        accepted, _ = listener.accept()
    connection = Connection(Transport(accepted), server.session(), Timers(20, idle))
    thread = threading.Thread(target=connection.run)
    thread.start()
    client.sendall(b"USER alice\r\nPASS secret\r\nXPUT\r\n")
    heard = b""
    while not heard.endswith(SEND_IT):
        heard += client.recv(4096)
    return client, thread, server


def test_a_client_that_trickles_a_body_is_timed_out() -> None:
    """H-053: octets alone do not reset the timer (RFC 1939 section 3)."""
    kept = Kept()
    client, thread, _ = driven(kept, idle=1.5)
    with client:
        started = time.monotonic()
        while thread.is_alive() and time.monotonic() < started + 20:
            try:
                client.sendall(b"x")
            except OSError:
                break
            time.sleep(0.05)
        thread.join(20)

    assert kept.events == ["abort"]
    assert time.monotonic() - started < 15


def test_a_body_that_makes_progress_may_take_longer_than_the_timer() -> None:
    """Each good part of it starts the timer anew."""
    kept = Kept()
    client, thread, _ = driven(kept, idle=2.5)
    with client:
        for _ in range(8):
            client.sendall(b"x" * BODY_PROGRESS_OCTETS)
            time.sleep(0.5)
        client.sendall(END + b"QUIT\r\n")
        heard = b""
        while data := client.recv(4096):
            heard += data
    thread.join(20)

    assert heard.startswith(b"+OK %d octets\r\n" % (8 * BODY_PROGRESS_OCTETS + 2))
    assert kept.events == ["finish"]
