"""One session, or one delivery, for the crash harness; ``run`` is called in a child that may die at any moment."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from popframe import Account, IncomingMessage, Refusal
from popframe_store_mbox import Settings, StoreMbox, indexed

ALICE = Account("alice")
REFUSED = 3
"""Exit status of a session that was told that something did not work."""


def run(argument: dict[str, Any]) -> int:
    """Open, let mail arrive, remove, close; or deliver one message."""
    indexed.SMALL_SPOOL_OCTETS = argument["small"]
    folder = Path(argument["folder"])
    state_dir = Path(argument["state_dir"]) if argument["state_dir"] else None
    settings = Settings(spool_dir=folder, state_dir=state_dir, lock_timeout_seconds=0, **argument["settings"])
    store = StoreMbox(settings)
    try:
        if argument["deliver"]:
            message = IncomingMessage("x@example.org", datetime(2026, 1, 5, tzinfo=UTC), argument["deliver"].encode())
            return 0 if store.popframe_deliver_message(ALICE, message) else 1
        maildrop = store.popframe_open_maildrop(ALICE)
        try:
            if argument["arrives"]:
                with suppress(OSError), (folder / "alice").open("ab") as spool:  # an agent whose disk fails tries later
                    spool.write(argument["arrives"].encode())
            there = set(range(len(maildrop.message_octets())))  # on a full disk perhaps only what was left over
            maildrop.commit(there & set(argument["deleted"]), there & set(argument["seen"]))
        finally:
            maildrop.close()
    except Refusal:
        return REFUSED
    return 0
