"""What is wrong with the locks of a spool, and what an operator can do about it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from popframe_store_mbox.place import Place
from popframe_store_mbox.tools.locks.trial import SESSION, Attempt, Outcome, Trial
from popframe_store_mbox.tools.locks.user import User, group_name, user_name

MOUNTS = "/proc/self/mountinfo"

_ONE_LOCK_FOR_BOTH = frozenset({"nfs", "nfs4", "cifs", "smb3"})
"""File systems on which Linux carries out flock as a lock of fcntl's kind (flock(2), section NFS details)."""


def warnings_about_trial(trial: Trial, place: Place, user: User, file_system: str) -> Iterator[str]:
    """Yield what has to be done before the server can take these locks.

    Args:
        trial: What came of them.
        place: Where the spool is.
        user: Who tried.
        file_system: Type of the spool's file system.
    """
    if trial.refusal:
        yield f"The server refuses this spool: {trial.refusal}."
    kinds = {attempt.name for attempt in trial.attempts}
    if {"fcntl", "flock"} <= kinds and file_system in _ONE_LOCK_FOR_BOTH:
        yield (
            f"On {file_system} the system carries out flock as a lock of fcntl's kind (flock(2)), so that one may wait "
            'for the other: leave "flock" out of the setting locks.'
        )
    for attempt in trial.attempts:
        yield from _warnings_about(attempt, place, user, file_system)


def _warnings_about(attempt: Attempt, place: Place, user: User, file_system: str) -> Iterator[str]:
    """Yield what is wrong with one lock."""
    name, outcome = attempt.name, attempt.outcome
    if outcome is Outcome.FORBIDDEN and name == SESSION:
        yield (
            f"No session of user {user.name} can begin, because its lock cannot be made: {attempt.text}. Set state_dir "
            "to a directory in which that user may create files."
        )
    elif outcome is Outcome.FORBIDDEN and name == "dotlock":
        yield _dotlock_advice(os.path.dirname(place.spool), user)
    elif outcome is Outcome.UNSUPPORTED:
        yield (
            f'The file system ({file_system}) has no {name} lock ({attempt.text}): leave "{name}" out of the setting '
            "locks, if no program relies on it alone."
        )
    elif outcome is Outcome.HELD and name == SESSION:
        yield f"A login is refused as in use at present: another session is open, held {attempt.text}."
    elif outcome is Outcome.HELD:
        what, more = f"{name} lock", ""
        if name == "dotlock":
            what = "dot-lock"
            more = " One that no living process has signed is removed by the server in time (stale_dotlock_seconds)."
        yield (
            f"The {what} is not to be had at present: held {attempt.text}. While it is, a login ends with [IN-USE] "
            f"after the wait, and QUIT removes nothing.{more}"
        )
    elif outcome in (Outcome.FORBIDDEN, Outcome.FAILED):
        yield f"The {name} lock cannot be taken: {attempt.text}."


def _dotlock_advice(directory: str, user: User) -> str:
    """Say why a dot-lock cannot be made in a directory, and how it could be."""
    try:
        status = os.stat(directory)
    except OSError as exc:
        return f"The dot-lock cannot be made: {directory}: {exc.strerror}."
    group = group_name(status.st_gid)
    mode = f"{stat.S_IMODE(status.st_mode):04o} {user_name(status.st_uid)}:{group}"
    by_group = ""
    if status.st_mode & stat.S_IWGRP and status.st_gid not in user.groups:
        by_group = (
            f" Or let user {user.name} be in group {group} (adduser {user.name} {group}), if it is the server's own: "
            "it may then read every spool that this group may."
        )
    return (
        f"The dot-lock cannot be made: {directory} has mode {mode}, so user {user.name} may not create files there. "
        "Install liblockfile-bin, whose dotlockfile makes dot-locks for the owner of a spool (setting dotlock_helper); "
        f"let everybody create files there, and remove only his own (chmod 1777 {directory}); or use a directory of "
        f'the server\'s own, to which the agents deliver.{by_group} Or leave "dotlock" out of the setting locks, if '
        "every agent takes another lock of the set."
    )


def file_system_type(directory: str) -> str:
    """Return the type of the file system that a directory is on: ``ext4``, ``nfs4``; empty when it cannot be seen."""
    try:
        lines = Path(MOUNTS).read_text("utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    real = os.path.join(os.path.realpath(directory), "")
    best, found = "", ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        mount = os.path.join(_unescaped(fields.split(" ")[4]), "")
        if real.startswith(mount) and len(mount) >= len(best):  # of two on one place the later covers the other
            best, found = mount, rest.split(" ")[0]
    return found


def _unescaped(text: str) -> str:
    """Undo the octal escapes of the kernel for blanks and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), text)
