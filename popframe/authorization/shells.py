"""The login shells of the machine: shells(5), as getusershell(3) reads it."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from popframe.errors import TemporaryFailure
from popframe.model import Account, Peer

SHELLS_OF_A_MISSING_FILE = frozenset({"/bin/sh", "/bin/csh"})
"""What the C library takes when there is no file (getusershell(3))."""

SHELL_OF_AN_EMPTY_FIELD = "/bin/sh"
"""What an empty field means (passwd(5))."""

EVERY_SHELL = "/POPPER/ANY/SHELL/"
"""A line of the file that lets every shell through. It is the Berkeley popper's, for machines where people read mail
and have no login; no other program takes it for a shell that exists."""

MAX_FILE_OCTETS = 1 << 20
"""A mebibyte: a larger file is not a list of shells but a slip."""

SETTLED_NANOSECONDS = 2_000_000_000
"""A file that was changed less than this before it was read may change again and look the same: on some file systems
the clock ticks every second or two."""

Fingerprint = tuple[int, int, int, int, int]


class ShellsFile:
    """``require_shell`` and ``shells_file``; an account without a user id and without a shell is not concerned."""

    def __init__(self, path: Path) -> None:
        """Take the path; the file is read at the first login, and again when it has changed."""
        self._path = path
        self._known: tuple[Fingerprint | None, frozenset[str]] = (None, frozenset())

    def objection(self, peer: Peer, account: Account) -> str | None:
        """Refuse an account whose shell is not listed, such as ``/usr/sbin/nologin``.

        Raises:
            TemporaryFailure: The file is there and cannot be read.
        """
        if account.uid is None and not account.shell:
            return None
        shells = self._shells()
        shell = account.shell or SHELL_OF_AN_EMPTY_FIELD
        if shell in shells or EVERY_SHELL in shells:
            return None
        return f"login shell {shell!r} is not in {self._path}"

    def _shells(self) -> frozenset[str]:
        """Return what the file lists now. When it has not changed lately this costs one stat(2)."""
        fingerprint, shells = self._known  # one read of one attribute: another thread may replace it meanwhile
        try:
            if fingerprint is not None and _fingerprint(os.stat(self._path)) == fingerprint:
                return shells
            content, fingerprint = _read(self._path)
        except (FileNotFoundError, NotADirectoryError):
            return SHELLS_OF_A_MISSING_FILE
        except OSError as error:
            raise TemporaryFailure(f"the list of shells {self._path} cannot be read: {error.strerror}") from error
        shells = listed_shells(content)
        self._known = fingerprint, shells
        return shells


def listed_shells(content: bytes) -> frozenset[str]:
    """Return the shells that a file lists.

    A line counts whose first character that is no blank is ``/``; the word ends at a blank or ``#``. The C library
    would also take ``/sh`` from a line ``bin/sh``; no shell is called so.
    """
    words = (line.partition(b"#")[0].split(maxsplit=1) for line in content.split(b"\n"))
    return frozenset(os.fsdecode(word[0]) for word in words if word and word[0].startswith(b"/"))


def _read(path: Path) -> tuple[bytes, Fingerprint | None]:
    """Return the content, and what tells this version from the next one; None when nothing does yet.

    Raises:
        OSError: It cannot be read.
        TemporaryFailure: It is no regular file, or too large.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would hold up every login
    with open(descriptor, "rb") as file:
        now = time.time_ns()
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise TemporaryFailure(f"the list of shells {path} is not a regular file")
        content = file.read(MAX_FILE_OCTETS + 1)
    if len(content) > MAX_FILE_OCTETS:
        raise TemporaryFailure(f"the list of shells {path} is larger than {MAX_FILE_OCTETS} octets")
    is_settled = now - status.st_ctime_ns > SETTLED_NANOSECONDS
    return content, _fingerprint(status) if is_settled else None


def _fingerprint(status: os.stat_result) -> Fingerprint:
    """Return what tells one version from another; the change time tells of a restored mtime."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
