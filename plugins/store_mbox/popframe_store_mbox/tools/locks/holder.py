"""Who holds a lock: what can be known of it without taking it.

Rule of this file: it is for people, so nothing is decided by it, and whatever cannot be known is said to be unknown.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from popframe_store_mbox.tools.text import printable

MAX_RECORD_OCTETS = 300
"""Read of a file in which a holder signs: a process id and a host name or a time."""

_PROCESS = re.compile(r"\s*([1-9][0-9]{0,9})(?:[\s:]+([^\s:]+))?\s*")
_KERNEL_TYPES = {"fcntl": ("POSIX", "OFDLCK"), "flock": ("FLOCK",)}


def dotlock_holder(path: str) -> str:
    """Say who holds a dot-lock, and since when: what is written in it, and when it was made."""
    try:
        made = os.stat(path, follow_symlinks=False).st_mtime
    except OSError:
        return "by a process that has just let it go"
    since = datetime.fromtimestamp(made).astimezone().isoformat(sep=" ", timespec="seconds")
    age = f"since {since} ({max(0, int(time.time() - made))} s ago)"
    signed = _PROCESS.fullmatch(_first_line(path))
    if signed is None:
        return f"by a process that did not sign it, {age}"
    pid, host = int(signed[1]), signed[2] or ""
    if host not in ("", os.uname().nodename):
        return f"by process {pid} on {host}, {age}"
    return f"by {_process(pid)}, {age}"


def session_holder(path: str) -> str:
    """Say which session holds its lock, as it has signed: process and time."""
    pid, _, since = _first_line(path).partition(" since ")
    if not pid.isdigit():
        return "by a session that did not sign it"
    return f"by {_process(int(pid))}, since {since.strip()}"


def kernel_holder(kind: str, status: os.stat_result) -> str | None:
    """Say who holds the kernel's lock on a file; None when nobody does, or when it cannot be seen.

    ``/proc/locks`` names the process, but for a lock of an open file description; that one's process is found only by
    looking through all, of which only root sees those of others.
    """
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in _read("/proc/locks").splitlines():
        fields = line.split()
        if len(fields) > 5 and fields[1] in _KERNEL_TYPES.get(kind, ()) and fields[5] == file:
            pid = int(fields[4])
            if pid <= 0:
                pid = _find_process(fields[1], file)
            return f"by {_process(pid)}" if pid > 0 else "by a process that only root can see"
    return None


def _find_process(kernel_type: str, file: str) -> int:
    """Return a process that has the file open with such a lock on it; 0 when none is found."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                for descriptor in (entry / "fdinfo").iterdir():
                    for line in _read(str(descriptor)).splitlines():
                        if line.startswith("lock:") and kernel_type in line.split() and file in line.split():
                            return int(entry.name)
    return 0


def _process(pid: int) -> str:
    """Return a process by number and name."""
    name = _read(f"/proc/{pid}/comm").strip()
    if name:
        return f"process {pid} ({printable(name.encode())})"
    return f"process {pid}" if os.path.exists(f"/proc/{pid}") else f"process {pid}, which is not running"


def _first_line(path: str) -> str:
    """Return the first line of a small file as printable text; nothing when it cannot be read."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return printable(os.pread(fd, MAX_RECORD_OCTETS, 0).partition(b"\n")[0])
        finally:
            os.close(fd)
    return ""


def _read(path: str) -> str:
    """Return what a file of the process file system says; nothing when it is gone or not ours to read."""
    with suppress(OSError):
        return Path(path).read_text("utf-8", errors="replace")
    return ""
