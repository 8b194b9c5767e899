"""popper's ``.popbull``: up to which number a user has the bulletins.

The file begins with that number in decimal, and a line end, as popper writes it. A second line ``later 10 12`` names
bulletins with lower numbers that are still to come; popper does not read it, and it is there only when there are some.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from popframe import Account

MAX_OCTETS = 64 * 1024
"""Longest file that is read: thousands of numbers; popper's has some ten octets."""

MAX_NAME_OCTETS = 220
"""Longest name of a user in a file name: what is put behind it must fit into the 255 of Linux."""

_CONTENT = re.compile(rb"([0-9]{1,15})(?![0-9])[^\n]*\n?(?:later((?: [0-9]{1,15})+)\n)?")
_OPEN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NoState(Exception):
    """What a user has cannot be read or kept; the text says why, for the log."""


@dataclass(frozen=True, slots=True)
class Received:
    """What a user has.

    Attributes:
        last: The highest number.
        later: Numbers up to it that are still to come.
    """

    last: int
    later: frozenset[int] = frozenset()

    def lacks(self, number: int) -> bool:
        """Tell whether a bulletin is still to come."""
        return number > self.last or number in self.later

    def content(self) -> bytes:
        """Return the file."""
        later = b"later %b\n" % " ".join(map(str, sorted(self.later))).encode() if self.later else b""
        return b"%d\n%b" % (self.last, later)


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one user.

    Attributes:
        popbull: What the user has.
        uid: Whose it may be besides root's and the process's own; None when the account has no user id.
    """

    popbull: str
    uid: int | None = None

    @property
    def delivery(self) -> str:
        """Lock and record of a delivery."""
        return f"{self.popbull}.popframe"

    @property
    def next_popbull(self) -> str:
        """What the next ``.popbull`` is written to."""
        return f"{self.popbull}.new"


def find_place(account: Account, state_dir: Path | None) -> Place:
    """Say where the files of an account are; nothing is touched.

    Raises:
        NoState: The account has no home directory, or a name that is too long.
    """
    if state_dir is None:
        if not os.path.isabs(account.home):
            raise NoState("the account has no home directory: set plugin.bulletin.state_dir")
        return Place(os.path.join(account.home, ".popbull"), account.uid)
    # Every octet that could mean something to a file system is written as a number, a slash above all.
    name = quote(account.username, safe="@+=,")
    if len(name) > MAX_NAME_OCTETS:
        raise NoState("the name is too long for a file")
    return Place(os.path.join(state_dir, f"{name}.popbull"), account.uid)


def read(place: Place) -> Received | None:
    """Return what a user has; None for a new one: no file, an empty one, or one that does not begin with a digit.

    Raises:
        NoState: It is not a plain file, or cannot be read.
    """
    try:
        descriptor = os.open(place.popbull, os.O_RDONLY | _OPEN)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise NoState(f"{place.popbull}: {exc.strerror}") from exc
    try:
        refuse_foreign(place, place.popbull, os.fstat(descriptor))
        return parse(os.read(descriptor, MAX_OCTETS))
    except OSError as exc:
        raise NoState(f"{place.popbull}: {exc.strerror}") from exc
    finally:
        os.close(descriptor)


def refuse_foreign(place: Place, path: str, status: os.stat_result) -> None:
    """Refuse what somebody else could have put there to keep a user from getting bulletins.

    Raises:
        NoState: It is not a plain file, or of another user.
    """
    if not stat.S_ISREG(status.st_mode):
        raise NoState(f"{path} is not a regular file")
    if status.st_uid not in (0, os.geteuid(), place.uid) and os.geteuid() != 0:
        raise NoState(f"{path} belongs to user {status.st_uid}")


def parse(content: bytes) -> Received | None:
    """Return what a file says; None when popper would take its user for a new one."""
    match = _CONTENT.match(content)
    if match is None:
        return None
    last = int(match[1])
    return Received(last, frozenset(number for number in map(int, (match[2] or b"").split()) if number <= last))


def write_next(place: Place, received: Received) -> None:
    """Write what the user will have beside the file, onto the disk: :func:`take_next` then needs no room.

    Raises:
        OSError: There is no room, or no permission.
    """
    # Removed first: what lies there may be a link, or somebody else's.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(place.next_popbull)
    descriptor = os.open(place.next_popbull, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600)
    try:
        write_all(descriptor, received.content())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def has_next(place: Place, received: Received) -> bool:
    """Tell whether this is written beside the file already, as it is when a login has died in the middle."""
    return _content(place.next_popbull) == received.content()


def take_next(place: Place) -> None:
    """Put it in place of the file, in one instant.

    Raises:
        OSError: It cannot be; the old file stays.
    """
    os.rename(place.next_popbull, place.popbull)


def _content(path: str) -> bytes | None:
    """Return what is in a plain file; None when there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _OPEN)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        return os.read(descriptor, MAX_OCTETS) if stat.S_ISREG(status.st_mode) else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def write_all(descriptor: int, octets: bytes) -> None:
    """Write at the beginning of a file, whatever the system takes at once.

    Raises:
        OSError: It cannot be written.
    """
    done = 0
    while done < len(octets):
        done += os.pwrite(descriptor, octets[done:], done)


def sync_folder(path: str) -> None:
    """Bring the names in the folder of a file onto the disk.

    Raises:
        OSError: It cannot be done.
    """
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
