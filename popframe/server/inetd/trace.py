"""A trace of a session: each command and the line that answers it, in the log.

Rule of this file: no password, and no word of a message. What a command says before login is left out but for the names
of commands and users; of a reply only its first line is kept; and a line that is no command, which might be a password
that went astray, is not shown.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from popframe.engine import Channel, Session
from popframe.engine.mechanisms import Mechanisms
from popframe.engine.verbs import Table
from popframe.errors import Refusal
from popframe.extension import Command, Reply, State
from popframe.server.log import log_event

MASK = "****"

AUTH = "AUTH"
"""Of its arguments the name of the mechanism is shown; a response, here or in a line of its own, is not."""

SHOWN_BEFORE_LOGIN = frozenset({"USER", "QUIT", "CAPA", "STLS"})
"""Commands of the AUTHORIZATION state whose arguments hold nothing secret."""


class TracedTable:
    """A command table that tells the log what is asked of it."""

    def __init__(self, table: Table, session_id: str) -> None:
        """Wrap the table of one session."""
        self._table = table
        self._session_id = session_id
        self._response = self._traced(table.response)
        self._rows = {
            (state, channel): {verb: self._traced(row) for verb, row in table.commands(state, channel).items()}
            for state in State
            for channel in Channel
        }

    @property
    def mechanisms(self) -> Mechanisms:
        """The SASL mechanisms."""
        return self._table.mechanisms

    @property
    def response(self) -> Command[Session]:
        """The row that takes the lines of a SASL exchange."""
        return self._response

    def commands(self, state: State, channel: Channel) -> Mapping[bytes, Command[Session]]:
        """Return the rows that are valid in a state, by upper-case verb."""
        return self._rows[state, channel]

    def knows(self, verb: bytes) -> bool:
        """Tell whether the verb is valid in some state; it is asked for a verb that is not valid now."""
        is_known = self._table.knows(verb)
        self._tell(verb.decode("ascii", "replace") if is_known else MASK, "-ERR (not a command in this state)")
        return is_known

    def capabilities(self, state: State, channel: Channel) -> bytes:
        """Return the lines of CAPA in a state, on a channel."""
        return self._table.capabilities(state, channel)

    def _traced(self, row: Command[Session]) -> Command[Session]:
        is_shown = State.AUTHORIZATION not in row.states or row.verb in SHOWN_BEFORE_LOGIN

        def handler(session: Session, arguments: Sequence[str]) -> Reply:
            shown = arguments if is_shown else arguments[: row.verb == AUTH and _names_mechanism(session, arguments)]
            words = [row.verb, *shown, *[MASK] * (len(arguments) > len(shown))]
            try:
                reply = row.handler(session, arguments)
            except Exception as error:
                text = error.wire_text if isinstance(error, Refusal) else type(error).__name__
                self._tell(" ".join(words), f"-ERR {text}")
                raise
            is_elsewhere = session.handover is not None
            self._tell(" ".join(words), "+OK (the process of the user answers)" if is_elsewhere else _first_line(reply))
            return reply

        return replace(row, handler=handler)

    def _tell(self, command: str, reply: str) -> None:
        log_event("command", {"session": self._session_id, "command": command, "reply": reply}, logging.DEBUG)


def _names_mechanism(session: Session, arguments: Sequence[str]) -> bool:
    """Tell whether the argument of AUTH is a mechanism of ours, and not a password that went astray."""
    return bool(arguments) and arguments[0].upper() in session.mechanisms()


def _first_line(reply: Reply) -> str:
    return f"{'+OK' if reply.is_ok else '-ERR'} {f'[{reply.code}] ' if reply.code else ''}{reply.text}"
