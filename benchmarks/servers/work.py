"""Kinds of work: what a session does, and how it is told that it was done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.servers.client import Client, Failure
from benchmarks.servers.spool import Spool

Talk = Callable[[Client, int], list[bytes]]
"""What a session does between login and QUIT, given the number of messages; the replies are checked afterwards."""

Check = Callable[[list[bytes], Spool, int], None]
"""Raises :class:`Failure` if the replies are not what this many messages of the spool give."""


def all_of(messages: int) -> list[int]:
    """Every message is left."""
    return list(range(1, messages + 1))


@dataclass(frozen=True, slots=True)
class Work:
    """A kind of work.

    Attributes:
        number: Those with the same number belong together.
        name: What it is called on the command line.
        title: The heading of its table.
        spool: The mail that is there.
        talk: What a session does.
        check: Whether it was done.
        sessions: How many sessions, one after the other, are measured in a round; fewer if they take long.
        fresh: A new copy of the spool in each round, not only at the beginning.
        warm: Sessions with LIST and UIDL on each copy that are not measured: the server knows the spool.
        new_mail: A message arrives before each round.
        holds_memory: The memory of a waiting session is measured, not the time.
        left: Which messages of so many are in the spool afterwards.
    """

    number: int
    name: str
    title: str
    spool: Spool
    talk: Talk
    check: Check
    sessions: int = 1
    fresh: bool = False
    warm: int = 1
    new_mail: bool = False
    holds_memory: bool = False
    left: Callable[[int], list[int]] = all_of


# --- what sessions do ---


def stat(client: Client, _: int) -> list[bytes]:
    """Ask for the drop listing."""
    return [client.ask("STAT")]


def listings(client: Client, _: int) -> list[bytes]:
    """Ask for both listings, as a client does that wants to know what is new."""
    return [client.read("LIST"), client.read("UIDL")]


def retr_all(client: Client, messages: int) -> list[bytes]:
    """Read every message, and remove none."""
    return [client.read(f"RETR {number}") for number in range(1, messages + 1)]


def dele(chosen: Callable[[int], range]) -> Talk:
    """Return a session that marks some messages."""

    def talk(client: Client, messages: int) -> list[bytes]:
        return [client.ask(f"DELE {number}") for number in chosen(messages)]

    return talk


# --- whether they did it ---


def check_stat(replies: list[bytes], _: Spool, messages: int) -> None:
    """The count is right."""
    if int(replies[0].split()[1]) != messages:
        raise Failure(f"STAT: {replies[0]!r} for {messages} messages")


def check_listings(replies: list[bytes], spool: Spool, messages: int) -> None:
    """Every message is in both listings, with a size that can be and a unique-id of its own."""
    sizes, uids = (reply.splitlines()[1:-1] for reply in replies)
    least = len(spool.body)
    if [int(line.split()[0]) for line in sizes] != list(range(1, messages + 1)):
        raise Failure(f"LIST: {len(sizes)} lines for {messages} messages")
    if min(int(line.split()[1]) for line in sizes[: spool.messages]) < least:
        raise Failure("LIST: a message is smaller than its text")
    if len({line.split()[1] for line in uids}) != messages:
        raise Failure(f"UIDL: not {messages} different unique-ids")


def check_retr(replies: list[bytes], spool: Spool, messages: int) -> None:
    """Every message is the right one and complete."""
    for number, reply in enumerate(replies, 1):
        if not spool.is_sent_right(number, reply):
            raise Failure(f"RETR {number} of {messages}: another text, {len(reply)} octets")


def check_nothing(_: list[bytes], __: Spool, ___: int) -> None:
    """What DELE did is seen in the spool."""
