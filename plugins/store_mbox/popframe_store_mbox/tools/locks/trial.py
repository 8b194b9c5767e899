"""The locks of a spool, taken and given back to see whether they can be had.

Rule of this file: it takes what the server takes, by the server's own code, in the same order and each while those
before it are held; and it leaves everything as it was: no spool is made, no session lock is signed, no stale dot-lock
is broken.
"""

from __future__ import annotations

import errno
import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from enum import Enum

from popframe import Refusal
from popframe_store_mbox.lock import LockKind, LockPolicy, LockTimeout, held_locks
from popframe_store_mbox.place import DOTLOCK_SUFFIX, Place
from popframe_store_mbox.spool import read_without_dotlock
from popframe_store_mbox.tools.locks.holder import dotlock_holder, kernel_holder, session_holder

PAUSE_SECONDS = 0.02
"""Between two tries for a lock that is held."""

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a user, or the system, ends a command with."""

SESSION = "session"
"""The name, in this place, of the lock that a session holds from login to the end."""

_UNSUPPORTED = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
"""What a file system answers that has no such lock."""


class Outcome(Enum):
    """What came of one lock."""

    TAKEN = "taken"
    """It was taken, and given back."""
    FREE = "free"
    """Nobody holds it; it was not taken."""
    HELD = "held"
    """Somebody holds it."""
    FORBIDDEN = "forbidden"
    """The user may not take it."""
    UNSUPPORTED = "unsupported"
    """The file system has no such lock."""
    FAILED = "failed"
    """The system refused it for another reason."""
    LEFT_OUT = "left out"
    """It cannot be tried: there is no spool, or it may not be opened."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one lock.

    Attributes:
        name: ``dotlock``, ``fcntl``, ``flock``, or that of the session's lock.
        outcome: Whether it could be had.
        seconds: How long that took.
        text: Who holds it, or why it could not be had; empty for nothing to say.
    """

    name: str
    outcome: Outcome
    seconds: float = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of all of them.

    Attributes:
        refusal: Why the server would not open the spool; empty when it would, or when there is none.
        attempts: One for the session's lock, then one for each lock on the spool, in order.
    """

    refusal: str
    attempts: tuple[Attempt, ...]


def left_out(kind: LockKind, refusal: str) -> Attempt:
    """Return what is said of a lock on a spool that is not there, or that the server refuses."""
    return Attempt(kind, Outcome.LEFT_OUT, text="the spool may not be opened" if refusal else "there is no spool yet")


def try_locks(place: Place, policy: LockPolicy) -> Trial:
    """Take the locks of a spool, as the user that this process is, and give them back.

    Args:
        place: Where it is.
        policy: Which locks, how long to wait for each, and who makes the dot-lock where the user may not.
    """
    attempts = [_try_session_lock(place.session_lock)]
    held = ExitStack()
    try:
        fd, refusal = _open_spool(place, policy)
        if fd >= 0:
            held.callback(os.close, fd)
        for kind in policy.kinds:
            if fd < 0 and kind != "dotlock":
                attempts.append(left_out(kind, refusal))
            else:
                attempts.append(_try(held, place.spool, fd, kind, policy))
    finally:
        with signals_held_back():
            held.close()
    return Trial(refusal, tuple(attempts))


def _open_spool(place: Place, policy: LockPolicy) -> tuple[int, str]:
    """Open the spool if the server would: the descriptor, or -1 with the reason; without one when there is no spool."""
    try:
        # This judges the file as a login does; with no lock to take and nothing to read it does no more.
        opened = read_without_dotlock(place, replace(policy, kinds=(), timeout_seconds=0), lambda spool: None)
        if opened:
            os.close(opened[0])
        return os.open(place.spool, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), ""
    except FileNotFoundError:
        return -1, ""
    except OSError as exc:
        return -1, f"{place.spool}: {exc.strerror}"
    except Refusal as exc:
        return -1, str(exc)


def _try(held: ExitStack, spool: str, fd: int, kind: LockKind, policy: LockPolicy) -> Attempt:
    """Take one lock, which is given back with those taken before it."""
    at_once = replace(policy, kinds=(kind,), timeout_seconds=0, stale_dotlock_seconds=math.inf)
    start = time.monotonic()
    try:
        while not _take(held, spool, fd, at_once, is_last=time.monotonic() - start >= policy.timeout_seconds):
            time.sleep(PAUSE_SECONDS)
    except LockTimeout:
        holder = dotlock_holder(spool + DOTLOCK_SUFFIX) if kind == "dotlock" else kernel_holder(kind, os.fstat(fd))
        return Attempt(kind, Outcome.HELD, time.monotonic() - start, holder or "by an unknown process")
    except Refusal as exc:
        return Attempt(kind, _outcome_of(exc), time.monotonic() - start, str(exc))
    return Attempt(kind, Outcome.TAKEN, time.monotonic() - start)


def _take(held: ExitStack, spool: str, fd: int, policy: LockPolicy, *, is_last: bool) -> bool:
    """Take the locks of a policy if they are free; tell whether they were.

    Raises:
        LockTimeout: They are not, and this was the last try.
    """
    with signals_held_back():
        try:
            held.enter_context(held_locks(spool, fd, policy))
        except LockTimeout:
            if is_last:
                raise
            return False
    return True


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Let Ctrl-C and its like wait, so that no dot-lock is made that nobody knows of, or forgotten."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _outcome_of(refusal: Refusal) -> Outcome:
    """Tell a missing permission and a missing kind of lock from other failures."""
    cause = refusal.__cause__
    number = cause.errno if isinstance(cause, OSError) else None
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Outcome.FORBIDDEN
    return Outcome.UNSUPPORTED if number in _UNSUPPORTED else Outcome.FAILED


def _try_session_lock(path: str) -> Attempt:
    """Tell whether a session could begin; its lock's file is not made, and not signed, for that."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        directory = os.path.dirname(path)
        if os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
            return Attempt(SESSION, Outcome.FREE)
        reason = "no permission to create files there" if os.path.isdir(directory) else "there is no such directory"
        return Attempt(SESSION, Outcome.FORBIDDEN, text=f"{directory}: {reason}")
    except OSError as exc:
        return Attempt(SESSION, Outcome.FORBIDDEN, text=f"{path}: {exc.strerror}")
    try:
        with held_locks(path, fd, LockPolicy(("flock",), 0, math.inf)):
            return Attempt(SESSION, Outcome.FREE)
    except LockTimeout:
        return Attempt(SESSION, Outcome.HELD, text=session_holder(path))
    except Refusal as exc:
        return Attempt(SESSION, _outcome_of(exc), text=str(exc))
    finally:
        os.close(fd)
