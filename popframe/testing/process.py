"""Processes that a test does not start itself: whether they are there, and waiting for their end."""

from __future__ import annotations

import time
from pathlib import Path

END_SECONDS = 30.0
"""How long a process may take to end; on a loaded machine it waits for its turn."""

POLL_SECONDS = 0.02
"""Nothing tells of the end of somebody else's child at once, without rights over it."""


def is_running(pid: int) -> bool:
    """Tell whether a process is there, and not only its entry in the table, which waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_end(pid: int) -> None:
    """Wait until a process has ended; whoever may be its parent learns of that later.

    Raises:
        AssertionError: It does not end.
    """
    deadline = time.monotonic() + END_SECONDS
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} does not end"
        time.sleep(POLL_SECONDS)
