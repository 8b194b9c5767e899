"""Sub-commands: rows of two words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from popframe import IN_BOTH, IN_TRANSACTION, Command, CommandContext, ConfigError, Reply, State
from popframe.engine import CommandTable, Policy
from popframe.testing.engine_server import PEER, EngineTransport

LogIn = Callable[..., EngineTransport]


def sub_command(
    verb: str, arity: range = range(1), states: frozenset[State] = IN_TRANSACTION
) -> Command[CommandContext]:
    """Return a row that repeats its verb and arguments."""
    return Command(verb, lambda _context, arguments: Reply(" ".join([verb, *arguments])), states, arity=arity)


ROWS = [sub_command("XTOP ONE"), sub_command("XTOP TWO", range(3)), sub_command("XTOP TWO-B", states=IN_BOTH)]


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("XTOP ONE", b"+OK XTOP ONE"),
        ("xtop one", b"+OK XTOP ONE"),
        ("XTOP   TWO  a   B ", b"+OK XTOP TWO a B"),
        ("XTOP TWO-B", b"+OK XTOP TWO-B"),
        ("XTOP", b"-ERR wrong number"),
        ("XTOP ", b"-ERR wrong number"),
        ("XTOP  ", b"-ERR command not understood"),
        ("XTOP ONE a", b"-ERR command not understood"),
        ("XTOP THREE", b"-ERR command not understood"),
        ("XTOP \u017fONE", b"-ERR command not understood"),
        ("ONE", b"-ERR unknown command"),
    ],
)
def test_sub_commands_of_any_number_of_plugins(log_in: LogIn, command: str, reply: bytes) -> None:
    """Two words find a row, without regard to case; number of arguments and all else are checked as for one."""
    assert log_in(commands=ROWS).ask(command).startswith(reply)


def test_a_sub_command_is_valid_in_its_own_states(connect: LogIn) -> None:
    """X-007: one that is not valid now is refused, whatever others of its keyword are."""
    client = connect(commands=ROWS)

    assert client.ask("XTOP ONE").startswith(b"-ERR")
    assert client.ask("XTOP TWO-B") == b"+OK XTOP TWO-B\r\n"
    assert connect(commands=ROWS[:2]).ask("XTOP ONE").startswith(b"-ERR ")


def test_a_sub_command_with_a_capability() -> None:
    """CAPA says what a row says."""
    row = Command("XTOP ONE", ROWS[0].handler, IN_TRANSACTION, capability="X-TOP-ONE")
    table = CommandTable(Policy(), [row])

    assert b"X-TOP-ONE\r\n" in table.capabilities(State.TRANSACTION, Policy().channel(PEER))


@pytest.mark.parametrize("verb", ["XTOP", "STAT"])
def test_a_command_has_no_sub_commands(verb: str) -> None:
    """What the word alone means would depend on what follows."""
    rows = [sub_command(f"{verb} ONE"), *([sub_command(verb)] if verb != "STAT" else [])]

    with pytest.raises(ConfigError, match=f"command {verb} ONE: {verb} is a command itself"):
        CommandTable(Policy(), rows)


@pytest.mark.parametrize("verb", ["XTOP one", "XTOP  ONE", " ONE", "XTOP ", "XTOP ONE TWO", "XTOP -B", "XTÖP ONE"])
def test_what_is_no_sub_command(verb: str) -> None:
    """Two words of upper-case ASCII, one space between them."""
    with pytest.raises(ValueError, match="a command's verb"):
        sub_command(verb)
