"""What a server's processes use, all of them together: a control group where the kernel has one, else /proc.

Rule of this file: a process that has ended still counts. A server that starts a process for each session would look
free otherwise.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

_UNIFIED = re.compile(r"^\S+ \S+ \S+ / (\S+) .* - cgroup2 ", re.MULTILINE)
_PSS = re.compile(r"^Pss: +(\d+) kB$", re.MULTILINE)

QUIET_SECONDS = 0.05
"""A server that used no CPU time for so long has finished what the session left it to do."""

QUIET_LIMIT_SECONDS = 20.0
"""Longest wait for that; one that works on all by itself is measured as it is."""

KILL_SECONDS = 5.0
"""How long killed processes may take to be gone."""


class Group(ABC):
    """The processes of a server."""

    @abstractmethod
    def command(self, command: Sequence[str]) -> list[str]:
        """Return a command that runs this one inside the group."""

    @abstractmethod
    def started(self, pid: int) -> None:
        """Take note of the first process."""

    @abstractmethod
    def cpu_seconds(self) -> float:
        """Return the CPU time, user and system, of all that are and were in it."""

    @abstractmethod
    def pids(self) -> list[int]:
        """Return who is in it."""

    @abstractmethod
    def remove(self) -> None:
        """Leave nothing behind; its processes are gone."""

    def settled_cpu_seconds(self) -> float:
        """Wait until the processes rest, and return the CPU time."""
        deadline = time.monotonic() + QUIET_LIMIT_SECONDS
        before = -1.0
        while (now := self.cpu_seconds()) != before and time.monotonic() < deadline:
            before = now
            time.sleep(QUIET_SECONDS)
        return now

    def pss_octets(self) -> int:
        """Return the memory of its processes, pages that several share divided among them (proc(5))."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                total += sum(int(found) for found in _PSS.findall(Path(f"/proc/{pid}/smaps_rollup").read_text()))
        return total * 1024

    def kill(self) -> None:
        """Kill whoever is in it, and wait until nobody is."""
        deadline = time.monotonic() + KILL_SECONDS
        while (pids := self.pids()) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(QUIET_SECONDS)


class ControlGroup(Group):
    """A control group of version 2; it counts to the microsecond and needs no controller."""

    def __init__(self, path: Path) -> None:
        """Make the folder."""
        self._path = path
        path.mkdir()

    def command(self, command: Sequence[str]) -> list[str]:
        """Return a shell that joins the group and becomes the command."""
        return ["sh", "-c", 'echo 0 >"$0/cgroup.procs" && exec "$@"', str(self._path), *command]

    def started(self, pid: int) -> None:
        """Do nothing: the kernel knows."""

    def cpu_seconds(self) -> float:
        """Return what the kernel has counted."""
        name, _, value = (self._path / "cpu.stat").read_text().partition("\n")[0].partition(" ")
        if name != "usage_usec":
            raise RuntimeError(f"{self._path}/cpu.stat begins with {name}")
        return int(value) / 1e6

    def pids(self) -> list[int]:
        """Return who is in it."""
        return [int(pid) for pid in (self._path / "cgroup.procs").read_text().split()]

    def remove(self) -> None:
        """Remove the folder."""
        self._path.rmdir()


class ProcessTree(Group):
    """A process and its descendants in /proc; it counts to the clock tick, mostly 10 ms.

    A process that has ended counts for its parent, once that has waited for it.
    """

    def __init__(self) -> None:
        """Begin without a process."""
        self._root = 0

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command as it is."""
        return list(command)

    def started(self, pid: int) -> None:
        """Take note of the first process."""
        self._root = pid

    def cpu_seconds(self) -> float:
        """Return the sum over the processes, and over those for which they waited (proc(5), fields 14 to 17)."""
        ticks = sum(sum(map(int, fields[11:15])) for _, fields in self._members())
        return ticks / os.sysconf("SC_CLK_TCK")

    def pids(self) -> list[int]:
        """Return the processes that run."""
        return [pid for pid, fields in self._members() if fields[0] != "Z"]

    def remove(self) -> None:
        """Do nothing."""

    def _members(self) -> Iterator[tuple[int, list[str]]]:
        """Yield process ids and what follows the name of the program in ``stat``: state, parent and so on."""
        every = dict(_every_process())
        for pid in every:
            ancestor = pid
            while ancestor in every and ancestor != self._root:
                ancestor = int(every[ancestor][1])
            if ancestor == self._root:
                yield pid, every[pid]


def _every_process() -> Iterator[tuple[int, list[str]]]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            yield int(path.parent.name), path.read_text().rpartition(")")[2].split()


def new_group(name: str, *, in_proc: bool = False) -> Group:
    """Return an empty group, of the better kind if this machine lets us.

    Args:
        name: What to call it; no other has this name.
        in_proc: Take the other kind.
    """
    found = _UNIFIED.search(MOUNTS.read_text())
    if found and not in_proc:
        with contextlib.suppress(OSError):
            group = ControlGroup(Path(found[1]) / name)
            group.cpu_seconds()
            return group
    return ProcessTree()
