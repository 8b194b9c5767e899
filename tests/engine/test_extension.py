"""Command extensions: a plugin's row is checked, called and rendered as the engine's own are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import pytest

from popframe import (
    IN_AUTHORIZATION,
    IN_BOTH,
    Account,
    AuthenticationFailed,
    Command,
    CommandContext,
    CommandSyntaxError,
    HookContractError,
    NoSuchMessage,
    Outcome,
    PermanentFailure,
    Refusal,
    Reply,
    State,
    TemporaryFailure,
)
from popframe.engine import Policy
from popframe.extension import IN_TRANSACTION
from popframe.testing.engine_server import PEER, EngineTransport

Connect = Callable[..., EngineTransport]
Handler = Callable[[CommandContext, Sequence[str]], Reply]

MESSAGES = [b"Subject: a\n\nhi\n", b"Subject: b\n\n.dot\n"]


def command(
    handler: Handler, states: frozenset[State] = IN_TRANSACTION, *, arity: range = range(3), takes_rest: bool = False
) -> Command[CommandContext]:
    """Return the row of ``XFOO``."""
    return Command("XFOO", handler, states, arity=arity, capability="XFOO", takes_rest=takes_rest)


def replying(reply: Reply) -> Command[CommandContext]:
    """Return a row that always gives this reply."""
    return command(lambda _context, _arguments: reply)


def raising(error: Exception, states: frozenset[State] = IN_BOTH) -> Command[CommandContext]:
    """Return a row that always fails."""

    def fail(_context: CommandContext, _arguments: Sequence[str]) -> Reply:
        raise error

    return command(fail, states)


def broken(*pieces: bytes, error: Exception) -> Iterator[bytes]:
    """Yield pieces, then fail."""
    yield from pieces
    raise error


# --- how it is called


def test_state_and_number_of_arguments_are_checked_before_the_call(connect: Connect) -> None:
    """P-011, P-012, P-013: a handler cannot be called wrongly."""
    calls: list[Sequence[str]] = []

    def handler(_context: CommandContext, arguments: Sequence[str]) -> Reply:
        calls.append(arguments)
        return Reply("done")

    client = connect(MESSAGES, commands=[command(handler, arity=range(1, 3))])
    before = client.ask("XFOO 1")
    client.log_in("alice", "secret")
    after = client.ask("XFOO", "xfoo 1", "XFOO 1  2 ", "XFOO 1 2 3")

    assert before == b"-ERR command not valid in this state\r\n"
    assert after.count(b"-ERR wrong number of arguments\r\n") == 2
    assert calls == [["1"], ["1", "2"]]


def test_a_handler_gets_every_octet_of_its_arguments(log_in: Connect) -> None:
    """Octets that are not UTF-8 become lone surrogates, which can be turned back."""
    calls: list[Sequence[str]] = []

    def handler(_context: CommandContext, arguments: Sequence[str]) -> Reply:
        calls.append(arguments)
        return Reply("done")

    log_in(commands=[command(handler, arity=range(2), takes_rest=True)]).send(
        b"XFOO  a\xff \xc3\xa9 \r\nXFOO\r\nXFOO \r\n"
    )

    assert calls == [[" a\udcff é "], [], []]
    assert calls[0][0].encode("utf-8", "surrogateescape") == b" a\xff \xc3\xa9 "


def test_the_context_tells_about_the_session(log_in: Connect) -> None:
    """Everything that CommandContext promises."""
    told: list[object] = []

    def handler(context: CommandContext, arguments: Sequence[str]) -> Reply:
        index = context.message_index(arguments[0])
        told.append(
            (
                context.peer,
                context.account,
                context.message_count,
                context.last_accessed,
                index,
                context.is_deleted(0),
                context.is_deleted(1),
                context.message_octets(index),
                context.message_uid(index),
                b"".join(context.read_message(index)),
            )
        )
        return Reply("done")

    client = log_in(MESSAGES, commands=[command(handler)])
    said = client.ask("DELE 1", "XFOO 2", "XFOO 1", "XFOO 0", "XFOO x")

    assert told == [(PEER, Account("alice"), 2, 1, 1, True, False, 20, "2", MESSAGES[1])]
    assert said.endswith(b"-ERR no such message\r\n" * 3)
    assert client.session.transaction.seen == set()


def test_an_extension_before_login_cannot_ask_for_the_maildrop(connect: Connect) -> None:
    """A row in the wrong state is the plugin's fault, and the session goes on."""
    row = command(lambda context, _arguments: Reply(str(context.message_count)), IN_AUTHORIZATION)
    client = connect(MESSAGES, commands=[row])

    assert client.ask("XFOO").startswith(b"-ERR [SYS/PERM] ")
    assert client.log_in("alice", "secret").startswith(b"+OK")


def test_a_command_between_user_and_pass_makes_pass_come_too_late(connect: Connect) -> None:
    """A-002: an extension is a command like any other (RFC 1939 section 7)."""
    client = connect(MESSAGES, commands=[command(lambda _context, _arguments: Reply("done"), IN_BOTH)])

    assert client.ask("USER alice", "XFOO", "PASS secret").endswith(b"+OK done\r\n-ERR command not understood\r\n")


def test_it_is_announced_in_both_states(connect: Connect) -> None:
    """C-006: CAPA has its capability before login too (RFC 2449 section 5)."""
    client = connect(MESSAGES, commands=[replying(Reply("done"))])
    before = client.ask("CAPA")
    client.log_in("alice", "secret")

    assert b"\r\nXFOO\r\n" in before
    assert b"\r\nXFOO\r\n" in client.ask("CAPA")


# --- what it says


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply("1 2"), b"+OK 1 2\r\n"),
        (Reply("no", is_ok=False, code="SYS/TEMP"), b"-ERR [SYS/TEMP] no\r\n"),
        (Reply("a\r\n+OK b\r\n.\r\n"), b"+OK a??+OK b??.??\r\n"),
        (Reply("[IN-USE] no", is_ok=False), b"-ERR (IN-USE] no\r\n"),
        (Reply("x" * 1000), b"+OK " + b"x" * 506 + b"\r\n"),
        (Reply("list", body=[]), b"+OK list\r\n.\r\n"),
        (Reply("list", body=[b""]), b"+OK list\r\n.\r\n"),
        (Reply("list", body=[b"a\n.b\n", b".", b"\n..\n"]), b"+OK list\r\na\r\n..b\r\n..\r\n...\r\n.\r\n"),
        (Reply("list", body=[b"a\r", b"\nb"]), b"+OK list\r\na\r\nb\r\n.\r\n"),
        (Reply("list", body=[b"..b\r\n"], body_is_wire=True), b"+OK list\r\n..b\r\n.\r\n"),
        (Reply("no", is_ok=False, body=[b"a\n"]), b"-ERR no\r\n"),
    ],
)
def test_a_reply_cannot_break_the_framing(log_in: Connect, reply: Reply, said: bytes) -> None:
    """P-003, P-004, P-015, P-019, C-017: lines, dots and brackets of a plugin are the engine's to tame."""
    client = log_in(commands=[replying(reply)])

    assert client.ask("XFOO", "NOOP") == said + b"+OK done\r\n"


def test_one_reply_object_may_be_given_twice(log_in: Connect) -> None:
    """A plugin may keep a reply as a constant; the engine does not use it up."""
    client = log_in(commands=[replying(Reply("list", body=(b"a\n", b"b\n")))])

    assert client.ask("XFOO") == client.ask("XFOO") == b"+OK list\r\na\r\nb\r\n.\r\n"


def test_a_reply_may_close_the_connection_after_its_body(log_in: Connect) -> None:
    """The maildrop is open while its body is read, nothing is removed, and nothing more is answered."""

    def handler(context: CommandContext, _arguments: Sequence[str]) -> Reply:
        def body() -> Iterator[bytes]:
            yield b"first\n"
            yield from context.read_message(1)
            told.append(client.session.is_closed)

        return Reply("list", body=body(), close=True)

    told: list[bool] = []
    client = log_in(MESSAGES, commands=[command(handler)])
    said = client.ask("DELE 1", "XFOO", "NOOP")

    assert said.endswith(b"+OK list\r\nfirst\r\nSubject: b\r\n\r\n..dot\r\n.\r\n")
    assert told == [False]
    assert client.session.outcome is Outcome.DISCONNECTED
    assert client.server.connect().log_in("alice", "secret").startswith(b"+OK maildrop has 2 ")


# --- how it fails


@pytest.mark.parametrize(
    ("error", "said", "is_reported"),
    [
        (NoSuchMessage("why"), b"-ERR no such message\r\n", False),
        (CommandSyntaxError("why"), b"-ERR command not understood\r\n", False),
        (Refusal("why"), b"-ERR refused\r\n", False),
        (TemporaryFailure("why"), b"-ERR [SYS/TEMP] temporary problem on the server, try again later\r\n", True),
        (PermanentFailure("why"), b"-ERR [SYS/PERM] problem on the server, ask its operator for help\r\n", True),
        (HookContractError("why"), b"-ERR [SYS/PERM] problem on the server, ask its operator for help\r\n", True),
        (AuthenticationFailed("why"), b"-ERR [SYS/TEMP] temporary problem on the server, try again later\r\n", True),
    ],
)
def test_a_refusal_is_the_reply_and_the_session_goes_on(
    log_in: Connect, error: Exception, said: bytes, *, is_reported: bool
) -> None:
    """C-034, C-036, C-037, C-038: what needs an operator is reported, and login's codes stay with the login."""
    client = log_in(MESSAGES, commands=[raising(error)])

    assert client.ask("XFOO", "NOOP") == said + b"+OK done\r\n"
    assert client.server.errors == ([("XFOO", error)] if is_reported else [])


def test_an_unforeseen_failure_ends_the_session_after_login(log_in: Connect) -> None:
    """C-036: who knows what it has left half done; nothing is removed."""
    error = ZeroDivisionError("why")
    client = log_in(MESSAGES, commands=[raising(error)])
    said = client.ask("DELE 1", "XFOO", "NOOP")

    assert said.endswith(b"-ERR [SYS/TEMP] temporary problem on the server, try again later\r\n")
    assert client.session.outcome is Outcome.STORAGE_FAILED
    assert client.server.errors == [("XFOO", error)]
    assert client.server.connect().log_in("alice", "secret").startswith(b"+OK maildrop has 2 ")


def test_an_unforeseen_failure_before_login_leaves_the_session(connect: Connect) -> None:
    """C-036: there is no maildrop yet that could be half read."""
    client = connect(MESSAGES, commands=[raising(ZeroDivisionError("why"))])

    assert client.ask("XFOO").startswith(b"-ERR [SYS/TEMP] ")
    assert client.log_in("alice", "secret").startswith(b"+OK")


@pytest.mark.parametrize("answer", [None, "done", b"done", 0, True, ("done", True), Reply(cast(str, None))])
def test_what_is_no_reply_is_the_plugins_fault(log_in: Connect, answer: object) -> None:
    """C-037: a handler that returns something else is named in the log, and the session goes on."""
    client = log_in(commands=[command(lambda _context, _arguments: cast(Reply, answer))])

    assert client.ask("XFOO", "NOOP") == (
        b"-ERR [SYS/PERM] problem on the server, ask its operator for help\r\n+OK done\r\n"
    )
    assert [type(error) for _, error in client.server.errors] == [HookContractError]


@pytest.mark.parametrize(
    ("error", "is_closed"),
    [(TemporaryFailure("why"), False), (HookContractError("why"), False), (OSError("why"), True)],
)
def test_a_body_that_cannot_begin_is_refused_before_ok(log_in: Connect, error: Exception, *, is_closed: bool) -> None:
    """C-036: as long as nothing was said, there is a true answer (RFC 3206 section 4)."""
    client = log_in(commands=[command(lambda _context, _arguments: Reply("list", body=broken(error=error)))])

    assert client.ask("XFOO").startswith(b"-ERR [SYS/")
    assert client.session.is_closed is is_closed


@pytest.mark.parametrize("error", [TemporaryFailure("why"), HookContractError("why"), OSError("why")])
def test_a_body_that_breaks_off_ends_the_session_without_a_dot(log_in: Connect, error: Exception) -> None:
    """Half a list never looks whole (RFC 1939 section 3)."""
    row = command(lambda _context, _arguments: Reply("list", body=broken(b"a\n", b"b\n", error=error)))
    client = log_in(commands=[row])

    assert client.ask("XFOO", "NOOP") == b"+OK list\r\na\r\nb\r\n"
    assert client.session.outcome is Outcome.STORAGE_FAILED
    assert [doing for doing, _ in client.server.errors] == ["sending a reply"]


@pytest.mark.parametrize("body", [5, "text", ["text"], b"octets"])
def test_a_body_of_something_else_than_pieces_ends_the_session(log_in: Connect, body: object) -> None:
    """A body that is not made of octets cannot be told from a broken one; no termination octet is sent."""
    client = log_in(commands=[replying(Reply("list", body=cast("Iterable[bytes]", body)))])
    said = client.ask("XFOO", "NOOP")

    assert client.session.is_closed
    assert not said.endswith(b".\r\n")
    assert b"+OK done" not in said
    assert len(client.server.errors) == 1


def test_refused_extensions_count_as_bad_commands_when_they_are_malformed(log_in: Connect) -> None:
    """H-016: a handler's CommandSyntaxError is a bad command as any; NoSuchMessage is none."""
    policy = Policy(max_bad_commands=3)
    malformed = log_in(commands=[raising(CommandSyntaxError("why"))], policy=policy)
    malformed.ask(*["XFOO"] * 3)
    missing = log_in(commands=[raising(NoSuchMessage("why"))], policy=policy)
    missing.ask(*["XFOO"] * 9)

    assert malformed.session.outcome is Outcome.TOO_MANY_ERRORS
    assert not missing.session.is_closed
