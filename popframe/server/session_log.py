"""What a session tells the log, in whichever process it is."""

from __future__ import annotations

import logging
import traceback

from popframe.errors import Refusal
from popframe.model import Peer
from popframe.server.log import log_event


class SessionLog:
    """The lines of one session, each of which begins with its name and the client's address."""

    def __init__(self, session_id: str, peer: Peer) -> None:
        self._start_of_line = {"session": session_id, "address": peer.address or "-"}

    def tell(self, name: str, fields: dict[str, object], level: int = logging.INFO) -> None:
        """Write one event."""
        log_event(name, {**self._start_of_line, **fields}, level)

    def report_error(self, doing: str, error: Exception) -> None:
        """Write what the client is not told."""
        fields: dict[str, object] = {"doing": doing, "error": type(error).__name__, "reason": str(error)}
        if isinstance(error, Refusal):
            self.tell("refused", fields, logging.WARNING)
        else:
            fields["trace"] = "".join(traceback.format_exception(error))
            self.tell("error", fields, logging.ERROR)
