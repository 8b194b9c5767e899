"""Dot-locks where only group ``mail`` may create files: through ``dotlockfile`` of liblockfile, which is setgid.

Rule of this file: the helper decides whether the user may have the lock: the spool has to be the user's own. It is
asked only when there is none, so that what it thinks of old ones does not matter.
"""

from __future__ import annotations

import os
import stat

from popframe import PermanentFailure, TemporaryFailure

DEFAULT_HELPER = "/usr/bin/dotlockfile"
"""Where Debian's package liblockfile-bin puts it."""

_HELD = 4  # L_MAXTRYS of lockfile_create(3)
_NO_ROOM = 3  # L_TMPWRITE


def make_by_helper(helper: str, path: str) -> int | None:
    """Create a dot-lock that names this process, and open it; None when somebody has one.

    Raises:
        PermanentFailure: The helper may not, or will not.
        TemporaryFailure: The disk is full.
    """
    status = _run(helper, "-l", "-p", "-q", "-r", "0", path)
    if status == _HELD:
        return None
    if status == _NO_ROOM:
        raise TemporaryFailure(f"{helper} cannot write the dot-lock {path}")
    if status != 0:
        raise PermanentFailure(f"{helper} does not create the dot-lock {path} (exit status {status})")
    try:
        return os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        remove_by_helper(helper, path)
        raise TemporaryFailure(f"the dot-lock {path} was made, and cannot be opened: {exc.strerror}") from exc


def remove_by_helper(helper: str, path: str) -> bool:
    """Remove a dot-lock; tell whether that was done."""
    return _run(helper, "-u", path) == 0


def can_help(helper: str, path: str) -> bool:
    """Tell whether there is a helper, and its group may create files beside a file."""
    if not helper or not os.access(helper, os.X_OK):
        return False
    program, directory = os.stat(helper), os.stat(os.path.dirname(path))
    is_setgid = bool(program.st_mode & stat.S_ISGID)
    return is_setgid and bool(directory.st_mode & stat.S_IWGRP) and program.st_gid == directory.st_gid


def _run(helper: str, *arguments: str) -> int:
    """Run the helper, which waits for nothing; return its exit status."""
    with open(os.devnull, "r+b") as nothing:
        where = [(os.POSIX_SPAWN_DUP2, nothing.fileno(), fd) for fd in (0, 1, 2)]
        pid = os.posix_spawn(helper, [helper, *arguments], {"PATH": "/usr/bin:/bin"}, file_actions=where)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
