"""What of a line that a client has sent may be written down.

Rule of this file: what is not known to be harmless is masked. Before login that is all but the names of commands and
users; and a line that is no command might be a password that went astray.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from popframe.engine import Session
from popframe.engine.verbs import Table
from popframe.extension import Command, State

MASK = "****"

AUTH = "AUTH"
"""Of its arguments the name of a mechanism that is offered is shown; any other might be a password that went astray."""

SHOWN_BEFORE_LOGIN = frozenset({"USER", "QUIT", "CAPA", "STLS", "LANG", "UTF8"})
"""Commands of the AUTHORIZATION state whose arguments hold nothing secret, if there are as many as there may be."""


def masked(line: bytes, commands: Mapping[bytes, Command[Session]], table: Table, mechanisms: Collection[str]) -> str:
    """Return what is shown of a line.

    Args:
        line: What the client has sent.
        commands: The commands that are valid now.
        table: All commands.
        mechanisms: Names of the SASL mechanisms that are offered.
    """
    verb, blank, rest = line.partition(b" ")
    command = commands.get(verb.upper())
    if command is None:
        return _joined(verb, MASK if rest.strip() else "") if table.knows(verb.upper()) else MASK
    words = rest.split()
    is_harmless = State.AUTHORIZATION not in command.states and not command.reveals_password
    is_plain = is_harmless or (command.verb in SHOWN_BEFORE_LOGIN and len(words) in command.arity)
    if command.verb == AUTH and words and words[0].decode("ascii", "replace").upper() in mechanisms:
        return _joined(verb, " ".join([words[0].decode("ascii").upper(), *[MASK] * (len(words) > 1)]))
    if not is_plain and words:
        return _joined(verb, MASK)
    return _joined(verb, rest.decode("utf-8", "backslashreplace") if blank else "")


def _joined(verb: bytes, arguments: str) -> str:
    return f"{verb.decode('ascii').upper()} {arguments}".rstrip()
