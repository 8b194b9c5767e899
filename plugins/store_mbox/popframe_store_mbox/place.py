"""Where an account's mail is, and the files that belong to it.

Rule of this file: nothing is touched here, and a user name that is not plainly one file name never becomes part of a
path.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from popframe import Account, AuthenticationFailed, PermanentFailure

MAX_NAME_OCTETS = 200
"""Longest file name of a spool: what is put around it for locks and journals must fit into the 255 of Linux."""

DOTLOCK_SUFFIX = ".lock"
"""What every mail program on Unix appends to a spool's name for its dot-lock."""


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one maildrop.

    Attributes:
        spool: The mbox file.
        session_lock: What the session holds locked from login to the end.
        journal: What a removal writes before it touches the spool.
        move_record: What says that the spool is being moved into the private copy.
        private_copy: Where the Berkeley and Qualcomm popper keep the mail from login to QUIT; beside the spool always.
        index: What spares the next session a scan.
        uid: Who owns the spool; None when the account has no user id.
        gid: The group of a spool that is created; None when the account has no group id.
    """

    spool: str
    session_lock: str
    journal: str
    move_record: str
    private_copy: str
    index: str
    uid: int | None
    gid: int | None


def find_place(account: Account, spool_dir: Path, state_dir: Path | None) -> Place:
    """Say where an account's mail is.

    Raises:
        AuthenticationFailed: The user's name cannot be the name of a spool, so there is no such user.
        PermanentFailure: The account names a maildrop that is not a usable path.
    """
    if account.maildrop:
        spool = _named_spool(account.maildrop, spool_dir)
    elif is_file_name(account.username):
        spool = os.path.join(spool_dir, account.username)
    else:
        raise AuthenticationFailed(f"user name {account.username!r} cannot be the name of a spool file")
    directory, name = os.path.split(spool)
    if state_dir is None:
        prefix = os.path.join(directory, f".{name}")
    else:
        prefix = os.path.join(state_dir, f".{name}-{_directory_tag(directory)}")
    return Place(
        spool=spool,
        session_lock=f"{prefix}.popframe-lock",
        journal=f"{prefix}.popframe-redo",
        move_record=f"{prefix}.popframe-move",
        private_copy=os.path.join(directory, f".{name}.pop"),
        index=f"{prefix}.popframe-index",
        uid=account.uid,
        gid=account.gid,
    )


def is_file_name(name: str) -> bool:
    """Tell whether a name can be that of a spool: one component, printable, not hidden, no option, not a dot-lock."""
    return (
        name.isprintable()
        and name != ""
        and "/" not in name
        and name[0] not in ".-"
        and not name.endswith(DOTLOCK_SUFFIX)
        and len(name.encode()) <= MAX_NAME_OCTETS
    )


def _named_spool(maildrop: str, spool_dir: Path) -> str:
    """Return the path that an account names: as it is when absolute, else inside the spool directory."""
    parts = maildrop.removeprefix("/").split("/")
    if not (maildrop.isprintable() and all(part not in ("", ".", "..") for part in parts) and is_file_name(parts[-1])):
        raise PermanentFailure(f"maildrop {maildrop!r} is not a path that names a spool file")
    return os.path.join(spool_dir, maildrop)


@lru_cache(maxsize=256)
def _directory_tag(directory: str) -> str:
    """Return a short name for a directory: two spools of one name in two folders share nothing in the state directory.

    The links on the way are resolved, so that a spool with two paths has one lock.
    """
    return blake2b(os.fsencode(os.path.realpath(directory)), digest_size=8).hexdigest()
