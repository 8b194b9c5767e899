"""The command table: which verb is valid where, and what CAPA says of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from popframe.engine.commands import BUILT_IN
from popframe.engine.policy import ImplementationShown, Policy
from popframe.engine.session import Session
from popframe.errors import ConfigError
from popframe.extension import Command, CommandContext, State

GENERAL_CAPABILITIES = ("RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER")
"""What holds for the server as a whole (RFC 2449 section 6, RFC 3206 section 6): nothing ever deletes mail by age."""

MAX_CAPABILITY_OCTETS = 512
"""Longest line of the CAPA response, CRLF included (RFC 2449 section 5)."""

_CAPABILITY = re.compile(r"[!-\-/-~]+( [!-~]+)*")
"""A tag without a dot, then arguments with one space before each (RFC 2449 section 3)."""


def reserved_verbs() -> frozenset[str]:
    """Return the verbs that no plugin can take."""
    return frozenset(command.verb for command in BUILT_IN)


class CommandTable:
    """The commands of one server and its capabilities, put together once and shared by all sessions."""

    def __init__(self, policy: Policy, extensions: Iterable[Command[CommandContext]] = ()) -> None:
        """Add a server's extensions to the built-in commands.

        Args:
            policy: What the site chose.
            extensions: Rows from plugins; their verbs are distinct and none is reserved.

        Raises:
            ConfigError: A capability cannot be a line of the CAPA response, or two share a tag.
        """
        rows: list[Command[Session]] = [*BUILT_IN, *extensions]
        self._rows: dict[State, dict[bytes, Command[Session]]] = {
            state: {row.verb.encode("ascii"): row for row in rows if state in row.states} for state in State
        }
        self._verbs = frozenset(row.verb.encode("ascii") for row in rows)
        tags = [*dict.fromkeys(row.capability for row in rows if row.capability), *GENERAL_CAPABILITIES]
        implementation = [f"IMPLEMENTATION {policy.implementation}"]
        _check([*tags, *implementation])
        shown = policy.implementation_shown
        self._capabilities: Mapping[State, bytes] = {
            State.AUTHORIZATION: _lines(tags + (implementation if shown is ImplementationShown.ALWAYS else [])),
            State.TRANSACTION: _lines(tags + (implementation if shown is not ImplementationShown.NEVER else [])),
        }

    def commands(self, state: State) -> Mapping[bytes, Command[Session]]:
        """Return the rows that are valid in a state, by upper-case verb."""
        return self._rows[state]

    def knows(self, verb: bytes) -> bool:
        """Tell whether the verb is valid in some state."""
        return verb in self._verbs

    def capabilities(self, state: State) -> bytes:
        """Return the lines of CAPA in a state (RFC 2449 section 5)."""
        return self._capabilities[state]


def _check(capabilities: Sequence[str]) -> None:
    """Make sure that CAPA can be sent as it is (RFC 2449 section 5)."""
    tags: set[str] = set()
    for capability in capabilities:
        if not _CAPABILITY.fullmatch(capability) or len(capability) > MAX_CAPABILITY_OCTETS - 2:
            raise ConfigError(f"capability {capability!r}: not a tag with arguments, in printable ASCII and one line")
        tag = capability.partition(" ")[0].upper()
        if tag in tags:
            raise ConfigError(f"capability {tag} is announced twice, with different arguments")
        tags.add(tag)


def _lines(capabilities: Iterable[str]) -> bytes:
    return "".join(f"{capability}\r\n" for capability in capabilities).encode("ascii")
