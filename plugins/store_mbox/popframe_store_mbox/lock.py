"""The locks that mail transfer agents take: dot-lock, fcntl, flock.

Rules of this file: every wait is bounded; what was taken is given back in reverse order on every path; a dot-lock is
broken only when nobody can be holding it, and removed only while it is ours. The order is that of the agents, so that
no two programs wait for each other: Debian's take the dot-lock first and fcntl after it; the one that uses flock uses
nothing else.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from popframe import PermanentFailure, TemporaryFailure
from popframe_store_mbox.dotlock_helper import can_help, make_by_helper, remove_by_helper
from popframe_store_mbox.file import is_at, refusal_for
from popframe_store_mbox.place import DOTLOCK_SUFFIX

LockKind = Literal["dotlock", "fcntl", "flock"]

FIRST_PAUSE_SECONDS = 0.005
"""Most deliveries hold a lock for some milliseconds."""

MAX_PAUSE_SECONDS = 0.1
"""A waiting session wakes up ten times a second at most."""

MAX_PID = 2**31 - 1
"""Largest number that can be a process id; a larger one in a dot-lock is nobody's."""

MAX_HOLDER_OCTETS = 300
"""A process id, and the longest host name that Linux has (64) several times over."""

_HOLDER = re.compile(rb"\s*([1-9][0-9]{0,9})(?:[\s:]+([^\s:]+))?\s*")
_WHOLE_FILE = "hhqqi"  # struct flock with 64-bit offsets: type, whence, start, length, pid
_logger = logging.getLogger("popframe.store_mbox")


class LockTimeout(TemporaryFailure):
    """Another program kept its lock on the spool for longer than we wait."""


@dataclass(frozen=True, slots=True)
class LockPolicy:
    """Which locks are taken, in which order, and how patiently.

    Attributes:
        kinds: The locks, first one first.
        timeout_seconds: Longest wait for each.
        stale_dotlock_seconds: Age from which a dot-lock without a living holder is broken.
        helper: Program that makes dot-locks where this process may not; empty for none.
    """

    kinds: tuple[LockKind, ...]
    timeout_seconds: float
    stale_dotlock_seconds: float
    helper: str = ""

    def at_once_without_dotlock(self) -> LockPolicy:
        """Return the policy that takes only the kernel's locks, and waits for none."""
        kinds = tuple(kind for kind in self.kinds if kind != "dotlock")
        return replace(self, kinds=kinds, timeout_seconds=0)

    def dotlock_alone(self) -> LockPolicy:
        """Return the policy that takes only the dot-lock, for which no spool is needed."""
        return replace(self, kinds=("dotlock",))

    def can_make_dotlock(self, spool: str) -> bool:
        """Tell whether this process may make the dot-lock of a spool, or have it made."""
        return os.access(os.path.dirname(spool), os.W_OK, effective_ids=True) or can_help(self.helper, spool)


@contextmanager
def held_locks(spool: str, fd: int, policy: LockPolicy, dead_pid: int | None = None) -> Iterator[None]:
    """Hold all the locks of the policy on a spool.

    Args:
        spool: Its path, for the dot-lock.
        fd: The open spool, for the others.
        policy: Which locks.
        dead_pid: Process whose session on this maildrop is known to have ended without letting go; its dot-lock need
            not grow old.

    Raises:
        LockTimeout: One of them could not be had in time.
        PermanentFailure: The dot-lock may not be created, or the file system has no such lock.
    """
    with ExitStack() as held:
        for kind in policy.kinds:
            if kind == "dotlock":
                held.callback(_take_dotlock(spool, policy, dead_pid))
            else:
                held.callback(_take_kernel_lock(kind, spool, fd, policy.timeout_seconds))
        yield


def _attempts(timeout_seconds: float) -> Iterator[None]:
    """Yield at once, and again after growing pauses, until the time is over."""
    deadline = time.monotonic() + timeout_seconds
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield
        left = deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(pause, left))
        pause = min(2 * pause, MAX_PAUSE_SECONDS)


# --- fcntl and flock ----------------------------------------------------------------------------------------------


def _take_kernel_lock(kind: LockKind, spool: str, fd: int, timeout_seconds: float) -> Callable[[], None]:
    """Take an exclusive lock on the whole open file; return what releases it."""
    lock, unlock = (_fcntl_lock, _fcntl_unlock) if kind == "fcntl" else (_flock_lock, _flock_unlock)
    for _ in _attempts(timeout_seconds):
        try:
            lock(fd)
        except (BlockingIOError, PermissionError):  # POSIX allows EAGAIN and EACCES for a lock that is held
            continue
        except OSError as exc:
            raise refusal_for(exc, f"{kind} lock on {spool}") from exc
        return partial(unlock, fd)
    raise LockTimeout(f"{spool}: another program held its {kind} lock for {timeout_seconds:g} s")


def _flock_lock(fd: int) -> None:
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _flock_unlock(fd: int) -> None:
    fcntl.flock(fd, fcntl.LOCK_UN)


if hasattr(fcntl, "F_OFD_SETLK"):
    # Locks of the open file description: threads exclude each other, and closing another descriptor drops nothing.
    def _fcntl_lock(fd: int) -> None:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(_WHOLE_FILE, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))

    def _fcntl_unlock(fd: int) -> None:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(_WHOLE_FILE, fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0))

else:  # the classic locks belong to the process: between threads, the session lock has to do

    def _fcntl_lock(fd: int) -> None:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _fcntl_unlock(fd: int) -> None:
        fcntl.lockf(fd, fcntl.LOCK_UN)


# --- dot-lock -----------------------------------------------------------------------------------------------------


def _take_dotlock(spool: str, policy: LockPolicy, dead_pid: int | None) -> Callable[[], None]:
    """Create the dot-lock; return what removes it."""
    path = spool + DOTLOCK_SUFFIX
    for _ in _attempts(policy.timeout_seconds):
        fd, helper = _create_dotlock(path, policy.helper)
        if fd is None and _break_if_stale(path, policy, dead_pid):
            _logger.warning("broke the stale dot-lock %s", path)
            fd, helper = _create_dotlock(path, policy.helper)  # at once: there may be no patience for a second attempt
        if fd is not None:
            _sign(fd, is_named=bool(helper))
            return partial(_remove_dotlock, path, fd, helper)
    raise LockTimeout(f"{path}: dot-lock held for {policy.timeout_seconds:g} s by {_holder_for_log(path)}")


def _create_dotlock(path: str, helper: str) -> tuple[int | None, str]:
    """Create the file; return it, or None when there is one, and the helper if that was needed."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644), ""
    except FileExistsError:
        return None, ""
    except PermissionError as exc:
        if can_help(helper, path):
            return make_by_helper(helper, path), helper
        raise PermanentFailure(
            f"no permission to create the dot-lock {path}, neither directly nor by {helper or 'a helper'}"
        ) from exc
    except OSError as exc:
        raise refusal_for(exc, f"creating the dot-lock {path}") from exc


def _sign(fd: int, *, is_named: bool) -> None:
    """Say who holds the dot-lock, in dovecot's form, which the others can read too; the helper has said it already.

    The flock on it is for other sessions of ours: it tells a living holder from a dead one at once. Without either, as
    on a full disk, the lock is as good as that of the agents that write nothing into theirs.
    """
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if not is_named:
        with suppress(OSError):
            os.write(fd, f"{os.getpid()}:{os.uname().nodename}".encode())


def _remove_dotlock(path: str, fd: int, helper: str) -> None:
    """Remove the dot-lock unless somebody else's is there by now."""
    try:
        if not is_at(path, fd):
            _logger.warning("the dot-lock %s was broken by another program while it was held", path)
        elif not helper:
            os.unlink(path)
        elif not remove_by_helper(helper, path):
            _logger.warning("the dot-lock %s cannot be removed by %s", path, helper)
    except OSError as exc:
        _logger.warning("the dot-lock %s cannot be removed: %s", path, exc.strerror)
    finally:
        os.close(fd)


def _break_if_stale(path: str, policy: LockPolicy, dead_pid: int | None) -> bool:
    """Remove a dot-lock that nobody can be holding; tell whether it was removed."""
    with suppress(OSError), ExitStack() as opened:  # an error means that it is gone, or not ours to remove
        status = os.stat(path, follow_symlinks=False)
        pid, host = None, ""
        with suppress(PermissionError):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            opened.callback(os.close, fd)
            # Held until the lock is removed: one breaker at a time, and never that of a living session.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            pid, host = _read_holder(fd)
        if _is_stale(pid, host, time.time() - status.st_mtime, policy.stale_dotlock_seconds, dead_pid) and (
            os.path.samestat(status, os.stat(path, follow_symlinks=False))
        ):
            return _unlinked(path, policy.helper)
    return False


def _unlinked(path: str, helper: str) -> bool:
    """Remove a dot-lock that is not ours; tell whether it was removed."""
    try:
        os.unlink(path)
    except PermissionError:
        return can_help(helper, path) and remove_by_helper(helper, path)
    return True


def _is_stale(pid: int | None, host: str, age_seconds: float, stale_seconds: float, dead_pid: int | None) -> bool:
    """Judge a dot-lock on which no session of ours holds a flock."""
    # A process of our own number that holds no flock on it is one from before a restart: in a container every
    # server is process 1.
    is_dead = pid is not None and host in ("", os.uname().nodename) and (pid == os.getpid() or not _is_running(pid))
    if is_dead and pid == dead_pid:
        return True
    return age_seconds > stale_seconds and (pid is None or is_dead)


def _read_holder(fd: int) -> tuple[int | None, str]:
    """Return process id and host written in a dot-lock; None and an empty text where there are none."""
    match = _HOLDER.fullmatch(os.pread(fd, MAX_HOLDER_OCTETS, 0))
    if match is None or int(match[1]) > MAX_PID:
        return None, ""
    return int(match[1]), (match[2] or b"").decode(errors="replace")


def _holder_for_log(path: str) -> str:
    """Say who holds a dot-lock."""
    pid, host = None, ""
    with suppress(OSError), ExitStack() as opened:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        opened.callback(os.close, fd)
        pid, host = _read_holder(fd)
    return "an unknown process" if pid is None else f"process {pid}" + (f" on {host}" if host else "")


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
