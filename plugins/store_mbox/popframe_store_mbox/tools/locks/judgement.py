"""The locks of a spool as another user would find them, judged from outside.

Rule of this file: nothing is taken. What owner, groups and mode say is told, and who holds what at present; access
lists and security modules may decide otherwise.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from popframe_store_mbox.dotlock_helper import can_help
from popframe_store_mbox.lock import LockKind, LockPolicy
from popframe_store_mbox.place import DOTLOCK_SUFFIX, Place
from popframe_store_mbox.tools.locks.holder import dotlock_holder, kernel_holder
from popframe_store_mbox.tools.locks.trial import SESSION, Attempt, Outcome, Trial, left_out
from popframe_store_mbox.tools.locks.user import User


def judge(user: User, place: Place, policy: LockPolicy) -> Trial:
    """Say what the user may do, and what others do at present; nothing is taken.

    Args:
        user: Whose rights count.
        place: Where the spool is.
        policy: Which locks, first one first, and who makes the dot-lock where the user may not.
    """
    refusal = _why_refused(user, place.spool)
    attempts = [_judge_creating(user, SESSION, place.session_lock)]
    for kind in policy.kinds:
        if kind == "dotlock":
            attempts.append(_judge_dotlock(user, place.spool, policy.helper))
        elif refusal or not os.path.lexists(place.spool):
            attempts.append(left_out(kind, refusal))
        else:
            attempts.append(_look_at(kind, place.spool))
    return Trial(refusal, tuple(attempts))


def _why_refused(user: User, spool: str) -> str:
    """Return why the server would not open the spool as that user."""
    try:
        status = os.lstat(spool)
    except FileNotFoundError:
        return ""
    except OSError as exc:
        return f"{spool}: {exc.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return f"{spool} is not a regular file"
    if status.st_nlink != 1:
        return f"{spool} has {status.st_nlink} names (hard links)"
    if status.st_uid != user.uid and user.uid != 0:
        return f"{spool} belongs to user {status.st_uid}, not to {user.uid}"
    may_open = _may_reach(user, os.path.dirname(spool)) and user.may(status, os.R_OK | os.W_OK)
    return "" if may_open else f"{spool}: user {user.name} may not open it for writing"


def _may_reach(user: User, directory: str) -> bool:
    """Tell whether the user may be in a directory, and in each on the way to it.

    Raises:
        OSError: One of them cannot be looked at.
    """
    return all(user.may(os.stat(folder), os.X_OK) for folder in (Path(directory), *Path(directory).parents))


def _judge_dotlock(user: User, spool: str, helper: str) -> Attempt:
    """Say whether the dot-lock may be made; the helper makes it for whoever owns the spool."""
    path = spool + DOTLOCK_SUFFIX
    attempt = _judge_creating(user, "dotlock", path)
    try:
        is_helped = can_help(helper, spool) and os.lstat(spool).st_uid == user.uid
        is_helped = is_helped and _may_reach(user, os.path.dirname(spool))
    except OSError:
        return attempt
    if attempt.outcome is not Outcome.FORBIDDEN or not is_helped:
        return attempt
    if os.path.lexists(path):
        return Attempt("dotlock", Outcome.HELD, text=dotlock_holder(path))
    return Attempt("dotlock", Outcome.FREE, text=f"made by {helper}")


def _judge_creating(user: User, name: str, path: str) -> Attempt:
    """Say whether a file may be made there, or opened if there is one."""
    directory = os.path.dirname(path)
    try:
        if not (_may_reach(user, directory) and user.may(os.stat(directory), os.W_OK)):
            return Attempt(name, Outcome.FORBIDDEN, text=f"{directory}: no permission to create files there")
        if name == SESSION and os.path.lexists(path) and not user.may(os.lstat(path), os.R_OK | os.W_OK):
            return Attempt(name, Outcome.FORBIDDEN, text=f"{path}: {os.strerror(errno.EACCES)}")
    except OSError as exc:
        return Attempt(name, Outcome.FORBIDDEN, text=f"{directory}: {exc.strerror}")
    if name == "dotlock" and os.path.lexists(path):
        return Attempt(name, Outcome.HELD, text=dotlock_holder(path))
    if name == SESSION and (holder := _kernel_holder("flock", path)):
        return Attempt(name, Outcome.HELD, text=holder)
    return Attempt(name, Outcome.FREE)


def _look_at(kind: LockKind, spool: str) -> Attempt:
    """Say who holds a kernel's lock, without taking it."""
    holder = _kernel_holder(kind, spool)
    return Attempt(kind, Outcome.HELD, text=holder) if holder else Attempt(kind, Outcome.FREE)


def _kernel_holder(kind: LockKind, path: str) -> str | None:
    """Say who holds a kernel's lock on a file; None when nobody does, or when there is no such file."""
    try:
        return kernel_holder(kind, os.lstat(path))
    except OSError:
        return None
