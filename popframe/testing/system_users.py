"""Real users of the machine, for tests that need them; made by root and removed at the end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType, TracebackType
from typing import Self

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the programs of the package shadow are (Debian: passwd)."""

PREFIX = "popframe-"
"""What the names of the users begin with, so that one that a killed test has left behind is known for what it is."""

LOCK_SECONDS = 30.0
"""How long another program may keep passwd and shadow locked; each does for milliseconds."""

LOCK_POLL_SECONDS = 0.1
"""How often to try meanwhile."""

SED_EDITOR = 'later=$(($(stat --format=%Y "$1") + 1)); sed -i "$POPFRAME_EDIT" "$1" && touch --date=@$later "$1"'
"""An editor for vipw(8), which takes a file for unchanged when its time, in seconds, is that of the old one."""


class SystemUsers:
    r"""Makes users with names that nobody has, and removes them at the end of the ``with`` block; needs root.

    ::

        with SystemUsers() as users:
            name = users.add()
            users.run("chpasswd", stdin=f"{name}:secret\n")
            users.run("passwd", "--lock", name)

    Any number of processes may do so at the same time.
    """

    def __init__(self) -> None:
        """Begin without users."""
        self._names: list[str] = []

    @staticmethod
    def is_possible() -> bool:
        """Tell whether this process may make users, and has what it takes."""
        return os.geteuid() == 0 and shutil.which("useradd", path=PATH) is not None

    @staticmethod
    def new_name() -> str:
        """Return a name that nobody has."""
        return PREFIX + secrets.token_hex(6)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the users."""
        self.remove()

    def add(self, *options: str, name: str = "") -> str:
        """Make a user who is locked as long as nobody sets a password, and return the name.

        Args:
            options: Further options of useradd(8), such as ``--groups``.
            name: One of :meth:`new_name`.

        Raises:
            AssertionError: It failed.
        """
        name = name or self.new_name()
        self._names.append(name)  # first: whatever interrupts the next line, it is removed
        try:
            self.run("useradd", "--no-log-init", "--no-create-home", "--no-user-group", *options, name)
        except AssertionError:
            self._names.remove(name)
            raise
        return name

    def run(self, program: str, *arguments: str, stdin: str = "") -> None:
        """Run a program that changes passwd or shadow, such as ``chage``; it waits for its turn.

        Args:
            program: Its name.
            arguments: Its arguments.
            stdin: What it reads.

        Raises:
            AssertionError: It failed; with what it said.
        """
        self._run([program, *arguments], stdin=stdin)

    def edit(self, script: str, *, shadow: bool = False) -> None:
        """Change passwd, or shadow, as no program would.

        Args:
            script: A script for sed(1).
            shadow: Change shadow.
        """
        variables = {"VISUAL": f"sh -c '{SED_EDITOR}' sh", "POPFRAME_EDIT": script}
        self._run(["vipw", "--quiet", *(["--shadow"] if shadow else [])], variables=variables)

    def remove(self) -> None:
        """Remove the users that are still there."""
        names, self._names = self._names, []
        failures = []
        for name in names:
            try:
                self.run("userdel", name)
            except AssertionError as error:
                failures.append(str(error))
        assert not failures, failures

    def _run(self, command: list[str], *, stdin: str = "", variables: Mapping[str, str] = MappingProxyType({})) -> None:
        environment = {**os.environ, "PATH": PATH, "LC_ALL": "C", **variables}
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            with _turn():
                done = subprocess.run(
                    command,
                    input=stdin,
                    capture_output=True,
                    encoding="utf-8",
                    errors="surrogateescape",
                    env=environment,
                )
            if done.returncode == 0:
                return
            said = f"{command[0]} ended with status {done.returncode}: {done.stdout}{done.stderr}"
            assert "lock" in said, said
            assert time.monotonic() < deadline, said
            time.sleep(LOCK_POLL_SECONDS)


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    """Let one process after the other change users: the programs give up on a lock sooner than tests should."""
    descriptor = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
