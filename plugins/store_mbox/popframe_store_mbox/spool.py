"""The spool file: opened only when it is what it should be, and locked only while it is read through or written.

Rules of this file: no link is followed, nothing is waited for on opening, and whoever gets the locks first finishes
what a killed process has begun.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from popframe import PermanentFailure, TemporaryFailure
from popframe_store_mbox.file import FileState, is_at, sync_directory
from popframe_store_mbox.journal import finish_journals, has_journal
from popframe_store_mbox.lock import LockPolicy, LockTimeout, held_locks
from popframe_store_mbox.ownership import refuse_foreign
from popframe_store_mbox.place import DOTLOCK_SUFFIX, Place
from popframe_store_mbox.private_copy import undo_move

T = TypeVar("T")

MAX_REOPENS = 5
"""How often the spool may be replaced by another program between our opening and locking it."""

_NO_SPOOL = -1  # a descriptor for the dot-lock, which needs none
_logger = logging.getLogger("popframe.store_mbox")


@contextmanager
def locked_spool(
    place: Place, policy: LockPolicy, *, dead_pid: int | None = None, create: bool = False
) -> Iterator[int | None]:
    """Open the spool and hold its locks; both end with the context.

    Args:
        place: Where it is.
        policy: Which locks.
        dead_pid: Process whose session on this maildrop is known to have ended without letting go.
        create: Make an empty one when there is none.

    Yields:
        Its descriptor; None when there is no spool, and nothing is locked then.

    Raises:
        LockTimeout: Another program kept its lock too long.
        TemporaryFailure: Other programs replace the spool again and again.
        PermanentFailure: The spool is not a file to be trusted, or a lock is not permitted.
        OSError: It cannot be opened or read.
    """
    for _ in range(MAX_REOPENS):
        fd = _open_spool(place, create=create)
        if fd is None and not _is_missing_for_certain(place, policy, dead_pid):
            continue
        if fd is None:
            yield None
            return
        try:
            with held_locks(place.spool, fd, policy, dead_pid):
                if is_at(place.spool, fd):
                    finish_journals(place, fd)
                    undo_move(place)
                    yield fd
                    return
        finally:
            os.close(fd)
    raise TemporaryFailure(f"{place.spool} is replaced again and again")


def finish_interrupted(place: Place, policy: LockPolicy, dead_pid: int | None = None) -> None:
    """Bring to its end what a killed process has begun, if there is anything; see :func:`locked_spool` for errors.

    Whoever opens the private copy has to do so first, because this may remove it.
    """
    if _is_interrupted(place):
        with locked_spool(place, policy, dead_pid=dead_pid):
            pass


def _is_interrupted(place: Place) -> bool:
    return has_journal(place) or os.path.lexists(place.move_record)


def _is_missing_for_certain(place: Place, policy: LockPolicy, dead_pid: int | None) -> bool:
    """Tell whether there is no spool while nobody has a dot-lock.

    Agents that replace a spool under their dot-lock (mailutils does) leave the directory without one for a moment;
    whoever took that for an empty maildrop would tell a client that all its mail is gone.

    Raises:
        LockTimeout: Another program kept its dot-lock too long.
    """
    if "dotlock" not in policy.kinds:
        return True
    dotlock = place.spool + DOTLOCK_SUFFIX
    if os.path.lexists(dotlock):
        with held_locks(place.spool, _NO_SPOOL, policy.dotlock_alone(), dead_pid):
            return False  # whoever had it is through
    return not os.path.lexists(place.spool) and not os.path.lexists(dotlock)


def read_without_dotlock(place: Place, policy: LockPolicy, read: Callable[[int], T]) -> tuple[int, T] | None:
    """Open and read a spool that nobody can be writing to, without a dot-lock of our own.

    Making a dot-lock costs more than all the rest of opening a small maildrop. For reading it is enough to have seen,
    while the file was at rest, that there was none, and afterwards that there is none and the file is the same: then
    nobody was in the middle of a write, and nobody has begun one.

    Args:
        place: Where it is.
        policy: Which locks; all but the dot-lock are held, if they are free.
        read: Reads the spool.

    Returns:
        The spool, still open, and what was read; None when this cannot be done without the dot-lock.

    Raises:
        PermanentFailure: The spool is not a file to be trusted.
        OSError: It cannot be opened or read.
    """
    fd = _open_spool(place, create=False)
    if fd is None:
        return None
    is_done = False
    try:
        with held_locks(place.spool, fd, policy.at_once_without_dotlock()):
            state = FileState.of(fd)
            if state.is_settled and _is_quiet(place, policy, fd, state):
                result = read(fd)
                is_done = _is_quiet(place, policy, fd, state)
                return (fd, result) if is_done else None
    except LockTimeout:
        return None
    finally:
        if not is_done:
            os.close(fd)
    return None


def _is_quiet(place: Place, policy: LockPolicy, fd: int, state: FileState) -> bool:
    """Tell whether nobody has a dot-lock, nothing has to be finished, and the spool is as it was.

    A dot-lock that we could not make is a mistake that an operator should hear of at every login, not at some.
    """
    return (
        not os.path.lexists(place.spool + DOTLOCK_SUFFIX)
        and not _is_interrupted(place)
        and policy.can_make_dotlock(place.spool)
        and FileState.of(fd) == state
        and is_at(place.spool, fd)
    )


def _open_spool(place: Place, *, create: bool) -> int | None:
    """Open the spool, or return None when there is none and none is to be made.

    Raises:
        PermanentFailure: It is not to be trusted, or its directory is missing.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(place.spool, flags)
    except FileNotFoundError:
        if not os.path.isdir(os.path.dirname(place.spool)):
            raise PermanentFailure(f"no directory for {place.spool}") from None
        return _create_spool(place, flags) if create else None
    try:
        status = os.fstat(fd)
        refuse_foreign(place, place.spool, status)
        if status.st_mode & stat.S_IWOTH:
            _logger.warning("%s can be written to by everybody", place.spool)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _create_spool(place: Place, flags: int) -> int:
    """Make an empty spool, owned by the account, or open the one that was made meanwhile."""
    try:
        fd = os.open(place.spool, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(place.spool, flags)
    try:
        if place.uid is not None and os.geteuid() == 0:
            os.fchown(fd, place.uid, -1 if place.gid is None else place.gid)
        sync_directory(place.spool)
    except BaseException:
        os.close(fd)
        raise
    return fd
