"""The first word of a line: what a session needs to know of it, and where it looks it up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from popframe.engine.mechanisms import Mechanisms
from popframe.engine.policy import Channel
from popframe.extension import Command, State

if TYPE_CHECKING:
    from popframe.engine.session import Session

KEEPS_USERNAME = frozenset({b"PASS", b"CAPA"})
"""PASS counts only immediately after USER (RFC 1939 section 7); a look at the capabilities in between is harmless."""

HTTP_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE"})
"""First words of a browser that was led here. It is sent away at once, before the body of its request is read, since
that may hold POP3 commands."""


def words(row: Command[Session], text: str) -> list[str]:
    """Split what stands behind a verb into arguments, as its row wants them."""
    return [text] if row.takes_rest and text else [word for word in text.split(" ") if word]


class Table(Protocol):
    """What a session needs of the command table."""

    @property
    def mechanisms(self) -> Mechanisms:
        """The SASL mechanisms."""
        ...

    @property
    def response(self) -> Command[Session]:
        """The row that takes the lines of a SASL exchange; it has no verb that a client could send."""
        ...

    def commands(self, state: State, channel: Channel) -> Mapping[bytes, Command[Session]]:
        """Return the rows that are valid in a state, by upper-case verb."""
        ...

    def knows(self, verb: bytes) -> bool:
        """Tell whether the verb is valid in some state."""
        ...

    def capabilities(self, state: State, channel: Channel) -> bytes:
        """Return the lines of CAPA in a state, on a channel."""
        ...
