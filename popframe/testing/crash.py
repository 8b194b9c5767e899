"""Dying, and failing, at every system call: the proof that a store loses nothing.

:class:`CrashHarness` runs a scenario in a child process under strace(1) and either kills it at the n-th call of a kind,
or lets that call fail. Who runs it for every call of a complete run, and looks at the files each time, has tried every
moment at which a process can stop.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

CALLS = (
    "openat", "write", "pwrite64", "writev", "pwritev", "ftruncate", "fallocate", "copy_file_range",
    "fsync", "fdatasync", "rename", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "rmdir",
    "fchown", "fchmod", "utimensat", "flock", "fcntl", "close",
)  # fmt: skip
"""What changes files, what makes changes durable, and what takes and gives back locks. Whatever a process does between
two of these leaves nothing behind, so dying there is dying at the next one."""

KILL = "KILL"
"""The action that kills at a call, before it does anything; every other action is the name of an error."""

ATTACH_SECONDS = 20.0
"""How long strace may take to take hold of the child; a loaded machine is slow."""

_SERVER = """\
import json, os, runpy, signal, sys
run = runpy.run_path(sys.argv[1])["run"]
print("ready", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        status = 1
        try:
            status = run(json.loads(line))
        finally:
            os._exit(status)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Point(NamedTuple):
    """One moment in a scenario.

    Attributes:
        call: A system call.
        number: Its how manieth use, from 1.
    """

    call: str
    number: int


class CrashHarness:
    """Runs one program's ``run(argument) -> int`` again and again, each time in a new child; needs strace.

    The program is imported once, in a process with one thread that forks a child for every run.
    """

    def __init__(self, program: Path) -> None:
        """Take a Python file that defines ``run``; it gets what :meth:`run` is given, by way of JSON."""
        self._program = program
        self._server: subprocess.Popen[str] | None = None

    @staticmethod
    def is_possible() -> bool:
        """Tell whether this machine has strace."""
        return shutil.which("strace") is not None

    def __enter__(self) -> Self:
        """Import the program."""
        command = [sys.executable, "-c", _SERVER, str(self._program)]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._line() != "ready":
            raise AssertionError(f"{self._program} cannot be run")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End."""
        server, self._server = self._server, None
        if server is not None:
            server.communicate()

    def points(self, argument: object) -> Iterator[Point]:
        """Run once in peace, and yield every moment of that run."""
        status, calls = self._traced(argument, ["-e", f"trace={','.join(CALLS)}"])
        assert status == 0, f"the scenario ended with status {status} although nothing was done to it"
        for call, count in Counter(line.partition("(")[0].split()[-1] for line in calls if "(" in line).items():
            for number in range(1, count + 1):
                yield Point(call, number)

    def run(self, argument: object, point: Point, action: str) -> tuple[int, bool]:
        """Run once and strike at one moment.

        Args:
            argument: What ``run`` gets.
            point: When.
            action: :data:`KILL`, or the name of an error such as ``ENOSPC``.

        Returns:
            The exit status of the child, negative for a signal; and whether that moment came.
        """
        effect = "signal=KILL" if action == KILL else f"error={action}"
        inject = f"inject={point.call}:{effect}:when={point.number}"
        status, calls = self._traced(argument, ["-e", f"trace={point.call}", "-e", inject])
        return status, status == -signal.SIGKILL if action == KILL else any("(INJECTED)" in line for line in calls)

    def _traced(self, argument: object, options: list[str]) -> tuple[int, list[str]]:
        """Run a child under strace; return its status and the lines of strace."""
        server = self._server
        assert server is not None, "the harness is not running"
        assert server.stdin is not None
        server.stdin.write(json.dumps(argument) + "\n")
        server.stdin.flush()
        pid = int(self._line())
        _wait_for_status(pid, "State:\tT")  # it has stopped itself: a signal to go on that came earlier would be lost
        with tempfile.NamedTemporaryFile("r", prefix="popframe-strace-") as output:
            command = ["strace", "-qq", "-f", "-o", output.name, *options, "-p", str(pid)]
            with subprocess.Popen(command, stderr=subprocess.DEVNULL) as strace:
                _wait_for_status(pid, f"TracerPid:\t{strace.pid}\n")
                os.kill(pid, signal.SIGCONT)
                status = int(self._line())
                strace.wait()
            return status, output.readlines()

    def _line(self) -> str:
        assert self._server is not None
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()


def _wait_for_status(pid: int, line: str) -> None:
    """Wait until the status of a process has a line."""
    deadline = time.monotonic() + ATTACH_SECONDS
    while line not in Path(f"/proc/{pid}/status").read_text():
        if time.monotonic() > deadline:
            raise AssertionError(f"process {pid} did not come to {line!r}")
        time.sleep(0.001)
