"""One session for each maildrop, or several that know of each other: a lock that ends with its holder, come what may.

Rule of this file: the lock is the kernel's flock on an open file description, so it excludes threads as well as
processes and is never stale. The file is only its handle, and stays: to make and remove one in every session would cost
more than all the rest of opening a small maildrop. What is in it is for people, and says whether the last holder ended
in good order.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from contextlib import suppress
from datetime import UTC, datetime
from typing import Self

from popframe import MaildropInUse, PermanentFailure, TemporaryFailure
from popframe_store_mbox.file import is_at

MAX_RACES = 5
"""How often somebody may remove the file between our opening and locking it; we never do."""

_RECORD_OCTETS = 40
_HOLDER = re.compile(rb"([1-9][0-9]{0,9}) since ([0-9T:+-]{1,25}) *\n")


class SessionLock:
    """A session's exclusive-access lock (RFC 1939 section 4).

    Attributes:
        dead_pid: The process that held it before and ended without letting go, or None; None also when it is shared.
    """

    def __init__(self, fd: int, *, is_shared: bool) -> None:
        self._fd = fd
        self.dead_pid = None if is_shared else _read_holder(fd)[0]
        # Of several holders none signs: one that ends could not tell whose signature it takes back.
        self._write("" if is_shared else f"{os.getpid()} since {datetime.now(UTC).isoformat(timespec='seconds')}")

    @classmethod
    def take(cls, path: str, *, is_shared: bool = False) -> Self:
        """Take the lock.

        Args:
            path: Its file.
            is_shared: Let others in that share it too.

        Raises:
            MaildropInUse: Another session has it and does not share it, or we do not.
            PermanentFailure: The file there is not one of ours.
            TemporaryFailure: Somebody removes it again and again.
            OSError: It cannot be created.
        """
        for _ in range(MAX_RACES):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
            try:
                _refuse_foreign(path, fd)
                fcntl.flock(fd, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                if is_at(path, fd):
                    return cls(fd, is_shared=is_shared)
            except BlockingIOError as exc:
                pid, since = _read_holder(fd)
                os.close(fd)
                holder = "by an unknown process" if pid is None else f"since {since} by process {pid}"
                raise MaildropInUse(f"{path}: locked {holder}") from exc
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
        raise TemporaryFailure(f"{path} is removed again and again")

    def release(self) -> None:
        """Let the next session in."""
        self._write("")
        with suppress(OSError):
            os.close(self._fd)

    def _write(self, holder: str) -> None:
        """Write a record of always the same length; that a disk is full is no reason to lock a user out."""
        with suppress(OSError):
            os.pwrite(self._fd, holder.encode().ljust(_RECORD_OCTETS - 1) + b"\n", 0)


def _refuse_foreign(path: str, fd: int) -> None:
    """Refuse a file that somebody else put there.

    Raises:
        PermanentFailure: It is not a regular file with one name at most, or belongs to another user.
    """
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or status.st_uid not in (0, os.geteuid()):
        raise PermanentFailure(f"{path} is in the way: a session lock is a regular file of user {os.geteuid()}")


def _read_holder(fd: int) -> tuple[int | None, str]:
    """Return the process that signed the lock, and when; None when nobody did, or the signature was taken back."""
    match = _HOLDER.fullmatch(os.pread(fd, _RECORD_OCTETS, 0))
    return (int(match[1]), match[2].decode()) if match else (None, "")
