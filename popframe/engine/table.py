"""The command table: which verb is valid where, and what CAPA says of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from popframe.engine import internationalization
from popframe.engine.commands import BUILT_IN, RESPONSE
from popframe.engine.family import check_families, with_families
from popframe.engine.mechanisms import Mechanisms, OfferedMechanism
from popframe.engine.policy import Channel, ImplementationShown, Policy
from popframe.engine.session import Session
from popframe.errors import ConfigError, EncryptionRequired
from popframe.extension import Command, CommandContext, Reply, State

STLS = "STLS"
"""The one command that is valid on some connections only, and announced before login only (RFC 2595 section 4)."""

SASL = "SASL"
"""The capability that depends on the connection, and so stands in no row (RFC 5034 section 3)."""

GENERAL_CAPABILITIES = ("RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER")
"""What holds for the server as a whole (RFC 2449 section 6, RFC 3206 section 6): nothing ever deletes mail by age."""

MAX_CAPABILITY_OCTETS = 512
"""Longest line of the CAPA response, CRLF included (RFC 2449 section 5)."""

_CAPABILITY = re.compile(r"[!-\-/-~]+( [!-~]+)*")
"""A tag without a dot, then arguments with one space before each (RFC 2449 section 3)."""


def reserved_verbs() -> frozenset[str]:
    """Return the verbs that no plugin can take."""
    return frozenset(command.verb for command in BUILT_IN).union(internationalization.VERBS)


class CommandTable:
    """The commands of one server and its capabilities, put together once and shared by all sessions."""

    response = RESPONSE
    """The row that takes the lines of a SASL exchange."""

    def __init__(
        self,
        policy: Policy,
        extensions: Iterable[Command[CommandContext]] = (),
        mechanisms: Iterable[OfferedMechanism] = (),
    ) -> None:
        """Add a server's extensions to the built-in commands.

        Args:
            policy: What the site chose.
            extensions: Rows from plugins; their verbs are distinct and none is reserved.
            mechanisms: SASL mechanisms; their names are distinct.

        Raises:
            ConfigError: A capability cannot be a line of the CAPA response, or two share a tag; or a command has
                sub-commands.
        """
        self.mechanisms = Mechanisms(mechanisms)
        rows: list[Command[Session]] = [*BUILT_IN, *internationalization.commands(policy), *extensions]
        check_families(rows)
        unused = {verb for verb, is_used in (("APOP", policy.offers_apop), ("AUTH", self.mechanisms)) if not is_used}
        rows = [row for row in rows if row.verb not in unused]
        self._rows: dict[tuple[State, Channel], Mapping[bytes, Command[Session]]] = {}
        self._capabilities: dict[tuple[State, Channel], bytes] = {}
        for channel in Channel:
            offered = [row for row in rows if _is_offered(row, channel, policy)]
            for state in State:
                valid = [row for row in rows if state in row.states and not _is_pointless(row, channel, policy)]
                taken = [row if row in offered else replace(row, handler=_refuse_clear_text) for row in valid]
                self._rows[state, channel] = {row.verb.encode("ascii"): row for row in with_families(taken)}
                self._capabilities[state, channel] = _lines(_announced(offered, state, policy))
        self._verbs = frozenset(verb for valid_rows in self._rows.values() for verb in valid_rows)

    def commands(self, state: State, channel: Channel) -> Mapping[bytes, Command[Session]]:
        """Return the rows that are valid in a state, by upper-case verb; those that need TLS refuse without it."""
        return self._rows[state, channel]

    def knows(self, verb: bytes) -> bool:
        """Tell whether the verb is valid in some state."""
        return verb in self._verbs

    def capabilities(self, state: State, channel: Channel) -> bytes:
        """Return the lines of CAPA in a state, on a channel (RFC 2449 section 5)."""
        return self._capabilities[state, channel]


def _is_pointless(row: Command[Session], channel: Channel, policy: Policy) -> bool:
    """Tell whether a row is STLS where there is no TLS to start (RFC 2595 section 4)."""
    return row.verb == STLS and (channel is Channel.PROTECTED or not policy.offers_tls)


def _is_offered(row: Command[Session], channel: Channel, policy: Policy) -> bool:
    return not (row.reveals_password and channel is Channel.CLEAR) and not _is_pointless(row, channel, policy)


def _refuse_clear_text(_session: Session, _arguments: Sequence[str]) -> Reply:
    """Refuse, whatever the arguments are, before anything looks at them."""
    raise EncryptionRequired("a password in clear text")


def _announced(offered: Iterable[Command[Session]], state: State, policy: Policy) -> list[str]:
    """Return the lines of CAPA in a state.

    What is valid before login is announced after it too, but for STLS (RFC 2449 section 5, RFC 2595 section 8).

    Raises:
        ConfigError: One cannot be sent.
    """
    rows = [row for row in offered if row.verb != STLS or state is State.AUTHORIZATION]
    lines = [*dict.fromkeys(row.capability for row in rows if row.capability), *GENERAL_CAPABILITIES]
    lines += [f"LOGIN-DELAY {policy.login_delay_seconds}"] * bool(policy.login_delay_seconds)
    implementation = f"IMPLEMENTATION {policy.implementation}"
    _check([*lines, implementation])
    shown = policy.implementation_shown
    is_shown = shown is ImplementationShown.ALWAYS or (
        shown is ImplementationShown.AFTER_LOGIN and state is not State.AUTHORIZATION
    )
    return [*lines, implementation] if is_shown else lines


def _check(capabilities: Sequence[str]) -> None:
    """Make sure that CAPA can be sent as it is (RFC 2449 section 5)."""
    tags = {SASL}
    for capability in capabilities:
        if not _CAPABILITY.fullmatch(capability) or len(capability) > MAX_CAPABILITY_OCTETS - 2:
            raise ConfigError(f"capability {capability!r}: not a tag with arguments, in printable ASCII and one line")
        tag = capability.partition(" ")[0].upper()
        if tag in tags:
            raise ConfigError(f"capability {tag} is announced twice, with different arguments")
        tags.add(tag)


def _lines(capabilities: Iterable[str]) -> bytes:
    return "".join(f"{capability}\r\n" for capability in capabilities).encode("ascii")
