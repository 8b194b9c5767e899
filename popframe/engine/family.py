"""Sub-commands: rows whose verb has two words, such as ``XTND XLST``, from however many plugins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from popframe.engine.verbs import words
from popframe.errors import CommandSyntaxError, ConfigError
from popframe.extension import Command, Reply, State

if TYPE_CHECKING:
    from popframe.engine.session import Session


def check_families(rows: Sequence[Command[Session]]) -> None:
    """Make sure that no keyword is a command and has sub-commands.

    Raises:
        ConfigError: One is both.
    """
    verbs = {row.verb for row in rows}
    for row in rows:
        first, _, second = row.verb.partition(" ")
        if second and first in verbs:
            raise ConfigError(f"command {row.verb}: {first} is a command itself, and can have no sub-commands")


def with_families(rows: Iterable[Command[Session]]) -> list[Command[Session]]:
    """Return the rows with one in the place of all whose verbs have the same first word of two.

    Args:
        rows: What is valid in one state, on one channel.
    """
    whole: list[Command[Session]] = []
    families: dict[str, dict[str, Command[Session]]] = {}
    for row in rows:
        first, _, second = row.verb.partition(" ")
        if second:
            families.setdefault(first, {})[second] = row
        else:
            whole.append(row)
    return whole + [_head(verb, members) for verb, members in families.items()]


def _head(verb: str, members: Mapping[str, Command[Session]]) -> Command[Session]:
    def handler(session: Session, arguments: Sequence[str]) -> Reply:
        word, _, rest = arguments[0].lstrip(" ").partition(" ")
        row = members.get(word.upper()) if word.isascii() else None
        if row is None:
            raise CommandSyntaxError(f"no sub-command of {verb}")
        given = words(row, rest)
        if len(given) not in row.arity:
            raise CommandSyntaxError(f"wrong number of arguments to {row.verb}")
        return row.handler(session, given)

    states = frozenset[State]().union(*(row.states for row in members.values()))
    return Command(verb, handler, states, arity=range(1, 2), takes_rest=True)
