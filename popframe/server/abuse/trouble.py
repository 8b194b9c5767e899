"""What is done when the tables cannot be used: nothing is counted, and nobody is refused for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from popframe.server.log import log_event

TELL_SECONDS = 60.0
"""How often the log is told: each login would have a line otherwise."""


class Troubles:
    """Tells the log of one process that nothing can be counted."""

    def __init__(self) -> None:
        self._told = -TELL_SECONDS

    @contextmanager
    def told(self) -> Iterator[None]:
        """Leave the block at an error of the system; the log hears of it now and then."""
        try:
            yield
        except OSError as error:
            now = time.monotonic()
            if now - self._told >= TELL_SECONDS:
                self._told = now
                log_event("attempts-not-counted", {"reason": error.strerror or str(error)}, logging.ERROR)
