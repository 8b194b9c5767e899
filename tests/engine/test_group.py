"""A command that goes on in the maildrop of a group: an update of the user's own, and then a read-only one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet

import pytest

from popframe import (
    IN_TRANSACTION,
    Command,
    CommandContext,
    HookContractError,
    Outcome,
    Reply,
    TemporaryFailure,
)
from popframe.engine import Policy
from popframe.testing.engine_server import EngineTransport

LogIn = Callable[..., EngineTransport]


class Drop:
    """A maildrop of messages in CRLF form; what happens to it is kept."""

    def __init__(self, *messages: bytes, error: Exception | None = None) -> None:
        self.messages = messages
        self.events: list[object] = []
        self._error = error

    def message_octets(self) -> Sequence[int]:
        """Return the sizes."""
        return [len(message) for message in self.messages]

    def message_uids(self) -> Sequence[str]:
        """Return unique-ids."""
        return [f"{id(self)}-{index}" for index in range(len(self.messages))]

    def read_message(self, index: int) -> Iterator[bytes]:
        """Yield a message."""
        yield self.messages[index]

    def commit(self, deleted: AbstractSet[int], seen: AbstractSet[int]) -> None:
        """Keep what is removed."""
        if self._error is not None:
            raise self._error
        self.events.append(("commit", set(deleted), set(seen)))

    def close(self) -> None:
        """Keep that it was closed."""
        self.events.append("close")


class Failing(Drop):
    """A maildrop that cannot be closed."""

    def close(self) -> None:
        """Fail."""
        super().close()
        raise OSError("cannot be closed")


def entering(*groups: Drop, maxima: Sequence[int] | None = None) -> Command[CommandContext]:
    """Return a row that goes to the group of a number."""

    def handler(context: CommandContext, arguments: Sequence[str]) -> Reply:
        group = groups[int(arguments[0])]
        context.enter_group(group, range(9, 9 + len(group.messages)) if maxima is None else maxima)
        return Reply("entered")

    return Command("XGO", handler, IN_TRANSACTION, arity=range(1, 2))


def test_the_own_maildrop_is_updated_and_closed_first(log_in: LogIn) -> None:
    """X-016, X-019, X-020, X-023: QUIT's update, then new numbers, three columns, and no second update."""
    own, group = Drop(b"a\r\n", b"b\r\n", b"c\r\n"), Drop(b"one\r\n", b"three\r\n")
    client = log_in(maildrop=own, commands=[entering(group)])
    client.ask("DELE 1", "RETR 2")

    assert client.ask("LIST 2") == b"+OK 2 3\r\n"
    assert client.ask("XGO 0") == b"+OK entered\r\n"
    assert own.events == [("commit", {0}, {1}), "close"]
    assert client.ask("STAT") == b"+OK 2 12\r\n"
    assert client.ask("LIST").splitlines()[1:] == [b"1 5 9", b"2 7 10", b"."]
    assert client.ask("LIST 2") == b"+OK 2 7 10\r\n"
    assert client.ask("RETR 3").startswith(b"-ERR")
    assert client.ask("RETR 2") == b"+OK 7 octets\r\nthree\r\n.\r\n"
    assert client.ask("QUIT").startswith(b"+OK")
    assert own.events[2:] == []
    assert group.events == ["close"]
    assert client.session.outcome is Outcome.QUIT


def test_nothing_can_be_removed_from_a_group(log_in: LogIn) -> None:
    """X-012: DELE is refused, the message stays listed."""
    group = Drop(b"one\r\n")
    client = log_in(maildrop=Drop(), commands=[entering(group)])
    client.ask("XGO 0")

    assert client.ask("DELE 1") == b"-ERR maildrop is read-only\r\n"
    assert client.ask("DELE 2") == b"-ERR no such message\r\n"
    assert client.ask("RSET", "LIST 1") == b"+OK 1 messages (5 octets)\r\n+OK 1 5 9\r\n"


def test_an_update_that_fails_changes_nothing(log_in: LogIn) -> None:
    """X-017: the client stays where it is, with its marks, and the group is closed."""
    own = Drop(b"a\r\n", b"b\r\n", error=TemporaryFailure("disk full"))
    group = Drop(b"one\r\n")
    client = log_in(maildrop=own, commands=[entering(group)])
    client.ask("DELE 1")

    assert client.ask("XGO 0").startswith(b"-ERR [SYS/TEMP]")
    assert client.ask("LIST").splitlines()[1:] == [b"2 3", b"."]
    assert client.ask("RSET", "STAT").splitlines()[1] == b"+OK 2 6"
    assert (own.events, group.events) == ([], ["close"])


@pytest.mark.parametrize("maxima", [[1], [1, 1], [2, 1], [1, 2, 3]])
def test_a_group_that_contradicts_itself(log_in: LogIn, maxima: list[int]) -> None:
    """One rising number for each message; else all is as before."""
    own, group = Drop(b"a\r\n"), Drop(b"one\r\n", b"two\r\n")
    client = log_in(maildrop=own, commands=[entering(group, maxima=maxima)])
    client.ask("DELE 1")

    assert client.ask("XGO 0", "STAT").splitlines()[1] == b"+OK 0 0"
    assert isinstance(client.server.errors[0][1], HookContractError)
    assert (own.events, group.events) == ([], ["close"])


def test_from_one_group_to_the_next(log_in: LogIn) -> None:
    """X-021: the first is closed, and nothing is committed."""
    own, first, second = Drop(b"a\r\n"), Drop(b"one\r\n"), Drop(b"one\r\n", b"two\r\n")
    client = log_in(maildrop=own, commands=[entering(first, second)])
    client.ask("XGO 0", "RETR 1", "XGO 1", "RETR 2")

    assert own.events == [("commit", set(), set()), "close"]
    assert (first.events, second.events) == (["close"], [])
    client.close()
    assert second.events == ["close"]


@pytest.mark.parametrize("update_on_abort", [False, True])
def test_a_client_that_is_gone_in_a_group(log_in: LogIn, update_on_abort: bool) -> None:
    """The user's own mail was updated by the switch, once."""
    own, group = Drop(b"a\r\n"), Drop(b"one\r\n")
    client = log_in(maildrop=own, commands=[entering(group)], policy=Policy(update_on_abort=update_on_abort))
    client.ask("DELE 1", "XGO 0")
    client.close()

    assert own.events == [("commit", {0}, set()), "close"]
    assert group.events == ["close"]


def test_the_summary_has_both(log_in: LogIn) -> None:
    """What was read anywhere; what was removed and left of the user's own."""
    own, group = Drop(b"aa\r\n", b"b\r\n", b"c\r\n"), Drop(b"one\r\n")
    client = log_in(maildrop=own, commands=[entering(group)])
    client.ask("RETR 2", "DELE 1", "XGO 0", "RETR 1", "TOP 1 0", "QUIT")
    summary = client.session.summary("s", 1.0)

    assert (summary.retr_count, summary.retr_octets, summary.top_count) == (2, 8, 1)
    assert (summary.deleted_count, summary.deleted_octets, summary.left_count, summary.left_octets) == (1, 4, 2, 6)


def test_a_maildrop_that_cannot_be_closed_is_reported(log_in: LogIn) -> None:
    """The switch has happened all the same."""
    own, group = Failing(b"a\r\n"), Drop(b"one\r\n")
    client = log_in(maildrop=own, commands=[entering(group)])

    assert client.ask("XGO 0") == b"+OK entered\r\n"
    assert [doing for doing, _ in client.server.errors] == ["closing the maildrop"]
    assert client.ask("STAT") == b"+OK 1 5\r\n"
