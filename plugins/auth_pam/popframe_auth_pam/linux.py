"""prctl(2), as far as the verifier needs it; the standard library has no call for it."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36


def forbid_looking_in() -> None:
    """Let nobody but root read this process's memory, by ptrace(2) or in a core dump: passwords pass through it."""
    _prctl(PR_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent has ended."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent(parent: int) -> None:
    """Be killed when the parent ends; a parent that has ended already kills now.

    The parent must be allowed to signal this process when it ends, or nothing happens.
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def outlive_parent() -> None:
    """Undo :func:`end_with_parent`."""
    _prctl(PR_SET_PDEATHSIG, 0)


def descendants(pid: int) -> list[int]:
    """Return the process ids of all descendants, children before their own; none where the kernel does not tell."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:  # it has ended, or the kernel was built without CONFIG_PROC_CHILDREN
        return []
    return [found for child in map(int, children.split()) for found in (child, *descendants(child))]


def _prctl(option: int, argument: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(argument), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
