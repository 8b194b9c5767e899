"""Who has which bulletins: the files of all users."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from popframe import Account, PluginConfiguration
from popframe_bulletin import popbull
from popframe_bulletin.popbull import NoState, Place, Received
from popframe_bulletin.record import is_begun
from popframe_bulletin.settings import Settings

SUFFIX = ".popbull"


@dataclass(frozen=True, slots=True)
class Receiver:
    """One user.

    Attributes:
        username: The name.
        received: What the user has; None for a new one.
        problem: Why that cannot be told; empty when it can.
        is_delivering: A delivery is under way, or was interrupted and ends with the next login.
    """

    username: str
    received: Received | None
    problem: str = ""
    is_delivering: bool = False


def receivers(configuration: PluginConfiguration[Settings]) -> Iterator[Receiver]:
    """Yield every user of whom there is something to tell, by name.

    Raises:
        OSError: The folder of the states cannot be read.
    """
    state_dir = configuration.settings.state_dir
    places = _in_homes(configuration.min_uid) if state_dir is None else _in_folder(state_dir)
    for username, place in sorted(places):
        try:
            yield Receiver(username, popbull.read(place), is_delivering=is_begun(place))
        except NoState as exc:
            yield Receiver(username, None, str(exc))


def _in_folder(state_dir: Path) -> list[tuple[str, Place]]:
    """Return all who have logged in since the plugin is there."""
    found = []
    for name in os.listdir(state_dir):
        if name.endswith(SUFFIX):
            path = os.path.join(state_dir, name)
            # Whose file it is, is for a session to judge; an operator wants to see it.
            found.append((unquote(name.removesuffix(SUFFIX)), Place(path, os.lstat(path).st_uid)))
    return found


def _in_homes(min_uid: int) -> list[tuple[str, Place]]:
    """Return the people of the machine."""
    found = []
    for user in pwd.getpwall():
        if user.pw_uid >= min_uid and os.path.isabs(user.pw_dir):
            account = Account(user.pw_name, uid=user.pw_uid, gid=user.pw_gid, home=user.pw_dir)
            found.append((user.pw_name, popbull.find_place(account, None)))
    return found
