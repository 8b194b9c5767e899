"""The groups of RFC 1082: files of one folder, each the maildrop or the archive of a group.

Rule of this file: a name that a client has sent is compared with names that were found; it never becomes part of a
path.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from popframe import CommandSyntaxError, PermanentFailure, TemporaryFailure
from popframe_xtnd.mbox import Found, GroupMaildrop, scan, settled_length

ARCHIVE = ".archive"
"""What the name of an archive ends with."""

DESCRIPTION = ".toml"
"""What the name of the file ends with that describes a group."""

MAX_DESCRIPTION_OCTETS = 65_536

NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}")
"""A group's name (RFC 1082, Definition of Terms)."""

_TEXT = r"^[ -~]{0,400}$"
_ALIAS = r"^[A-Za-z][A-Za-z0-9-]{0,62}$"


class NoSuchGroup(CommandSyntaxError):
    """There is no such group, or this user cannot read it: nobody learns which."""

    wire_text = "no such bboard"


class Description(BaseModel):
    """What the file ``NAME.toml`` may say of a group."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    aliases: list[Annotated[str, Field(pattern=_ALIAS)]] = Field(default=[], max_length=20, description="Other names.")
    address: str = Field(default="", pattern=_TEXT, description="Where to write to.")
    request: str = Field(default="", pattern=_TEXT, description="Where to write to about the group.")
    leaders: str = Field(default="", pattern=_TEXT, description="Who looks after it.")
    removed: int = Field(default=0, ge=0, description="How many messages were removed from the front of the file.")


@dataclass(frozen=True, slots=True)
class Group:
    """A group that the user may read.

    Attributes:
        name: Its name as it is written.
        description: What the operator says of it.
    """

    name: str
    description: Description = field(default_factory=Description)


@dataclass(frozen=True, slots=True)
class Opened:
    """A file of a group, open.

    Attributes:
        maildrop: What is in it.
        maxima: The number of each message.
        last: The number of the last one; as many as were removed when there is none.
        changed: When the file changed, in seconds since 1970.
    """

    maildrop: GroupMaildrop
    maxima: range
    last: int
    changed: float


class Folder:
    """The folder with the groups of a site."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scans: dict[str, tuple[tuple[int, ...], list[Found]]] = {}

    def groups(self, uid: int | None, kind: str = "") -> Iterator[Group]:
        """Yield the groups that a user may read, in order of their names.

        Args:
            uid: Who reads; None for a virtual user.
            kind: Empty for maildrops, or ``ARCHIVE``.

        Raises:
            PermanentFailure: The folder cannot be read, or a description is wrong.
        """
        try:
            names = sorted(os.listdir(self._path))
        except OSError as error:
            raise PermanentFailure(f"groups_dir {self._path}: {error.strerror}") from error
        for file in names:
            name = file.removesuffix(kind) if kind and file.endswith(kind) else file
            if NAME.fullmatch(name) and file == name + kind:
                descriptor = self._open(file, uid)
                if descriptor is not None:
                    os.close(descriptor)
                    yield Group(name, self._description(name))

    def find(self, wanted: str, uid: int | None, kind: str = "") -> Group:
        """Return the group of a name or alias, in upper or lower case.

        Raises:
            NoSuchGroup: There is none for this user.
            PermanentFailure: The folder cannot be read.
        """
        folded = wanted.lower()
        for group in self.groups(uid, kind):
            if folded in (group.name.lower(), *(alias.lower() for alias in group.description.aliases)):
                return group
        raise NoSuchGroup(f"XTND: no group {wanted[:80]!r} that user {uid} may read")

    def open(self, group: Group, uid: int | None, kind: str = "") -> Opened:
        """Open the file of a group as it is now.

        Raises:
            NoSuchGroup: It has just gone.
            TemporaryFailure: It cannot be read now.
        """
        file = group.name + kind
        descriptor = self._open(file, uid)
        if descriptor is None:
            raise NoSuchGroup(f"XTND: {file} has just gone")
        try:
            length = settled_length(descriptor)
            status = os.fstat(descriptor)
            stamp = status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, length
            known = self._scans.get(file)
            if known is None or known[0] != stamp:
                known = stamp, scan(descriptor, length)
                self._scans[file] = known
            removed = 0 if kind else group.description.removed
            last = removed + len(known[1])
            maildrop = GroupMaildrop(descriptor, known[1], file)
        except OSError as error:
            os.close(descriptor)
            raise TemporaryFailure(f"XTND: {file}: {error}") from error
        except BaseException:
            os.close(descriptor)
            raise
        return Opened(maildrop, range(removed + 1, last + 1), last, status.st_mtime)

    def _open(self, file: str, uid: int | None) -> int | None:
        """Open a plain file that this user may read; None when it is not one.

        Where the process is not the user itself, only what all users may read is.
        """
        try:
            descriptor = os.open(self._path / file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode) and (mode & stat.S_IROTH or (uid is not None and uid == os.geteuid())):
            return descriptor
        os.close(descriptor)
        return None

    def _description(self, name: str) -> Description:
        path = self._path / (name + DESCRIPTION)
        try:
            with path.open("rb") as file:
                return Description.model_validate(tomllib.loads(file.read(MAX_DESCRIPTION_OCTETS).decode()))
        except FileNotFoundError:
            return Description()
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
            raise PermanentFailure(f"XTND: {path}: {error}") from error
