"""Which sessions are traced, and where their lines go."""

from __future__ import annotations

import enum
import ipaddress
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from popframe.config.trace import TraceSettings
from popframe.model import Peer
from popframe.server.log import MAX_VALUE_CHARACTERS, log_event
from popframe.server.observation.trace_file import TraceFile
from popframe.server.session_log import SessionLog

MOST_KEPT_BACK = 32
"""Lines of a session that are kept until its user is known; more than a client needs before it says its name."""

Write = Callable[[str, Mapping[str, object]], None]
"""Takes the name of an event and its fields."""


class TraceScope(enum.Enum):
    """How much of a session is written."""

    NOTHING = "nothing"
    COMMANDS = "commands"
    BODIES = "bodies"


class Trace(Protocol):
    """What is written of one session, as far as it is to be traced."""

    def scope(self, username: str = "") -> TraceScope:
        """Tell how much is written, once the session is also known to be this user's."""
        ...

    def write(self, name: str, fields: Mapping[str, object]) -> None:
        """Take one event."""
        ...


class Tracer:
    """The table ``[trace]``, in effect."""

    def __init__(self, settings: TraceSettings, line_format: Literal["text", "json"]) -> None:
        self._settings = settings
        self._users = frozenset(settings.users)
        self._networks = tuple(ipaddress.ip_network(text) for text in settings.networks)
        self.file = None if settings.file is None else TraceFile(settings.file, line_format)

    def begin(self, session_id: str, peer: Peer) -> SessionTrace | None:
        """Return the trace of a session; None when it will not be traced, whoever its user is."""
        is_selected = self._settings.all_sessions or self._is_in_networks(peer)
        if not is_selected and not self._users:
            return None
        scope = TraceScope.BODIES if self._settings.bodies else TraceScope.COMMANDS
        head = {"session": session_id, "address": peer.address or "-"}
        return SessionTrace(head, _to_log if self.file is None else self.file.write, scope, self._users, is_selected)

    def _is_in_networks(self, peer: Peer) -> bool:
        try:
            address = ipaddress.ip_address(peer.address)
        except ValueError:  # a pipe, or an address of another kind
            return False
        if isinstance(address, ipaddress.IPv6Address):
            address = address.ipv4_mapped or address
        return any(address in network for network in self._networks)


def _to_log(name: str, fields: Mapping[str, object]) -> None:
    log_event(name, fields, logging.INFO)


class SessionTrace:
    """The trace of a session in the process that talks to its client.

    As long as nobody knows whose session it is, its last lines are kept; they come first when it is to be traced.
    """

    def __init__(
        self, head: Mapping[str, object], write: Write, scope: TraceScope, users: frozenset[str], is_selected: bool
    ) -> None:
        """Begin.

        Args:
            head: The fields with which every line begins.
            write: Where lines go.
            scope: How much is written of a session that is traced.
            users: Whose sessions are.
            is_selected: This one is, whosever it is.
        """
        self._head = head
        self._write = write
        self._scope = scope
        self._users = users
        self._is_selected = is_selected
        self._kept_back: deque[tuple[str, Mapping[str, object]]] = deque(maxlen=MOST_KEPT_BACK)

    def scope(self, username: str = "") -> TraceScope:
        """Tell how much is written, once the session is also known to be this user's."""
        if not self._is_selected and username in self._users:
            self._is_selected = True
            while self._kept_back:
                self._write(*self._kept_back.popleft())
        return self._scope if self._is_selected else TraceScope.NOTHING

    def write(self, name: str, fields: Mapping[str, object]) -> None:
        """Take one event."""
        event = (name, {**self._head, **fields})
        if self._is_selected:
            self._write(*event)
        else:
            self._kept_back.append(event)


class DistantTrace:
    """The trace of a session in the process of its user, which leaves the writing to the one that has sent it here."""

    def __init__(self, scope: TraceScope, send: Write) -> None:
        self._scope = scope
        self._send = send

    def scope(self, username: str = "") -> TraceScope:
        """Tell how much is written; it was found out elsewhere whose session it is."""
        return self._scope

    def write(self, name: str, fields: Mapping[str, object]) -> None:
        """Take one event."""
        self._send(name, {key: str(value)[: MAX_VALUE_CHARACTERS + 1] for key, value in fields.items()})


class TracedLog(SessionLog):
    """The log of a session that may be traced: its lines stand in the trace too, since they say why."""

    def __init__(self, session_id: str, peer: Peer, trace: Trace, *, is_elsewhere: bool) -> None:
        """Write to the log, and to a trace.

        Args:
            session_id: The session's name in the log.
            peer: Where the client connects from.
            trace: What is written of it.
            is_elsewhere: The trace is not in the log, where these lines are in any case.
        """
        super().__init__(session_id, peer)
        self._trace = trace
        self._is_elsewhere = is_elsewhere

    def tell(self, name: str, fields: dict[str, object], level: int = logging.INFO) -> None:
        """Write one event."""
        super().tell(name, fields, level)
        self._trace.scope(str(fields.get("user", "")))
        if self._is_elsewhere:
            self._trace.write(name, fields)
