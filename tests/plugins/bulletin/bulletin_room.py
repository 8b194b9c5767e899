"""A folder of bulletins, and users who log in."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Protocol

from popframe import Account, AccountMail, IncomingMessage, Maildrop
from popframe_bulletin import Bulletin, Settings
from popframe_store_mbox import Settings as MboxSettings
from popframe_store_mbox import StoreMbox

FROM_LINE = b"From staff@example.org Mon Jan  5 09:00:00 2026\n"


class Store(Protocol):
    """What both stores can do."""

    def popframe_open_maildrop(self, account: Account) -> Maildrop:
        """Open a maildrop."""
        ...

    def popframe_deliver_message(self, account: Account, message: IncomingMessage) -> bool:
        """Deliver a message."""
        ...


class DirectMail:
    """The way to one account's mail without hooks; a test may let a delivery fail."""

    def __init__(self, store: Store, account: Account) -> None:
        self.store = store
        self.account = account
        self.failures: dict[int, Exception] = {}
        self.calls: list[str] = []

    def deliver(self, message: IncomingMessage) -> None:
        """Deliver, or fail when it is this one's turn."""
        self.calls.append("deliver")
        failure = self.failures.pop(self.calls.count("deliver"), None)
        if failure is not None:
            raise failure
        assert self.store.popframe_deliver_message(self.account, message)

    def open(self) -> Maildrop:
        """Open."""
        self.calls.append("open")
        return self.store.popframe_open_maildrop(self.account)


class Room:
    """Bulletins, users, and their mail."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder / "bulletins"
        self.state = folder / "state"
        for made in (self.folder, self.state):
            made.mkdir()
        self.store = store
        self.settings: dict[str, object] = {"state_dir": self.state, "domain": "pop.example.org"}
        self._plugin: Bulletin | None = None

    def post(self, name: str, text: bytes = b"", *, header: bytes = b"", from_line: bytes = FROM_LINE) -> Path:
        """Put a file into the folder, as one that has been there for a while."""
        path = self.folder / name
        body = text or b"This is %b.\n" % name.encode()
        path.write_bytes(
            from_line + b"From: staff@example.org\nTo: all\nSubject: news\n" + header + b"\n" + body + b"\n"
        )
        return self.aged(path)

    def aged(self, path: Path) -> Path:
        """Let a file be old."""
        os.utime(path, (1_600_000_000, 1_600_000_000))
        os.utime(self.folder, (1_600_000_000, 1_600_000_000 + len(list(self.folder.iterdir()))))
        return path

    def plugin(self, **settings: object) -> Bulletin:
        """Return a new plugin, as after a start."""
        values = {"folder": self.folder, **self.settings, **settings}
        self._plugin = Bulletin(Settings.model_validate(values))
        return self._plugin

    def log_in(self, user: str | Account = "alice", mail: AccountMail | None = None) -> None:
        """Let bulletins be delivered."""
        account = Account(user) if isinstance(user, str) else user
        plugin = self._plugin or self.plugin()
        plugin.popframe_before_maildrop_opens(account, mail or DirectMail(self.store, account))

    def mail(self, user: str | Account = "alice") -> list[bytes]:
        """Return what is in a maildrop."""
        account = Account(user) if isinstance(user, str) else user
        with closing(self.store.popframe_open_maildrop(account)) as maildrop:
            return [b"".join(maildrop.read_message(index)) for index in range(len(maildrop.message_octets()))]

    def texts(self, user: str | Account = "alice") -> list[str]:
        """Return the texts of the messages, without their headers."""
        return [message.partition(b"\n\n")[2].decode().strip() for message in self.mail(user)]

    def got(self, user: str | Account = "alice", **settings: object) -> list[str]:
        """Log in, with a new plugin when there are settings, and return the texts."""
        if settings:
            self.plugin(**settings)
        self.log_in(user)
        return self.texts(user)

    def popbull(self, user: str = "alice") -> Path:
        """Return a user's file."""
        return self.state / f"{user}.popbull"


class WatchingMail(DirectMail):
    """The way to alice's mail, which keeps the record as it is while something is delivered."""

    def __init__(self, room: Room) -> None:
        super().__init__(room.store, Account("alice"))
        self.record = b""
        self._path = room.state / "alice.popbull.popframe"

    def deliver(self, message: IncomingMessage) -> None:
        """Deliver."""
        self.record = self._path.read_bytes()
        super().deliver(message)


def mbox_room(folder: Path) -> Room:
    """Return a room with mbox files."""
    (folder / "mail").mkdir()
    return Room(folder, StoreMbox(MboxSettings(spool_dir=folder / "mail", lock_timeout_seconds=1)))
