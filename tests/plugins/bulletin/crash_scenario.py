"""One login with bulletins, for the crash harness; ``run`` is called in a child that may die at any moment."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

from popframe import Account, IncomingMessage, Maildrop, Refusal
from popframe_bulletin import Bulletin, Settings
from popframe_store_mbox import Settings as MboxSettings
from popframe_store_mbox import StoreMbox

ALICE = Account("alice")
REFUSED = 3
"""Exit status when the maildrop could not be opened, or not be emptied."""


class Mail:
    """The way to alice's mail."""

    def __init__(self, store: StoreMbox) -> None:
        self._store = store

    def deliver(self, message: IncomingMessage) -> None:
        """Deliver."""
        assert self._store.popframe_deliver_message(ALICE, message)

    def open(self) -> Maildrop:
        """Open."""
        return self._store.popframe_open_maildrop(ALICE)


def run(argument: dict[str, Any]) -> int:
    """Let bulletins be delivered; then perhaps read all mail into a folder and remove it, as a client does."""
    folder = Path(argument["folder"])
    store = StoreMbox(MboxSettings(spool_dir=folder / "mail", lock_timeout_seconds=0))
    settings = Settings(folder=folder / "bulletins", state_dir=folder / "state", max_old_bulletins=argument["old"])
    Bulletin(settings).popframe_before_maildrop_opens(ALICE, Mail(store))
    if argument["session"]:
        try:
            with closing(store.popframe_open_maildrop(ALICE)) as maildrop:
                count = len(maildrop.message_octets())
                messages = [b"".join(maildrop.read_message(index)) for index in range(count)]
                maildrop.commit(set(range(count)), set())
        except Refusal:
            return REFUSED
        received = Path(argument["session"])
        for message in messages:
            (received / f"{len(os.listdir(received)):04}").write_bytes(message)
    return 0
