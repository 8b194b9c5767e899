"""A POP3 server that can be measured: where its program is, how it is set up, started and stopped."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from benchmarks.servers.client import Client, Failure
from benchmarks.servers.group import Group
from benchmarks.servers.room import PASSWORD, USER, Owner

START_SECONDS = 20.0
"""How long a server may take until it answers."""

STOP_SECONDS = 10.0
"""How long it may take to end when it is asked to, before it is killed."""

POLL_SECONDS = 0.05


class Server(ABC):
    """A server with its own folder, its own copy of the mail, and one user.

    Attributes:
        folder: Its files.
        mail: The folder with the spool, which belongs to the user.
        owner: That user.
        group: Its processes, once it is started.
        port: Where it listens.
    """

    name: ClassVar[str]
    install: ClassVar[str] = ""
    """The command that installs it on Debian."""

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    """What it is asked to end with."""

    group: Group

    def __init__(self, folder: Path, owner: Owner) -> None:
        """Make the folders."""
        self.folder = folder
        self.owner = owner
        self.mail = folder / "mail"
        self.mail.mkdir(parents=True)
        owner.give(self.mail)
        self.port = self.choose_port()
        self._command: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @abstractmethod
    def program(cls) -> Path:
        """Return its program, which may not be there."""

    @abstractmethod
    def configure(self) -> list[str]:
        """Write its files and return its command, which stays in the foreground."""

    @abstractmethod
    def version(self) -> str:
        """Return its name and version for people."""

    def drop_index(self) -> None:
        """Remove what it keeps about the spool; most keep nothing."""
        return

    def choose_port(self) -> int:
        """Return a port that is free."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return ("127.0.0.1", self.port)

    @property
    def spool(self) -> Path:
        """The user's spool."""
        return self.mail / USER

    def log(self) -> str:
        """Return the end of what it wrote."""
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def put(self, spool: Path) -> None:
        """Make a copy of this file the user's spool, as if the server had never seen it."""
        self.spool.unlink(missing_ok=True)
        self.drop_index()
        shutil.copyfile(spool, self.spool)
        self.spool.chmod(0o600)
        self.owner.give(self.spool)
        fd = os.open(self.spool, os.O_RDONLY)
        try:
            os.fsync(fd)  # or the next fsync, which is measured, would write all of it
        finally:
            os.close(fd)

    def append(self, message: bytes) -> None:
        """Deliver a message; nobody reads meanwhile, so no lock is needed."""
        with self.spool.open("ab") as file:
            file.write(message)

    def start(self, group: Group) -> None:
        """Start it inside this group and wait until it answers.

        Raises:
            Failure: It does not.
        """
        self.group = group
        self._command = group.command(self.configure())
        self._run()

    def restart(self) -> None:
        """End it and start it anew: what it had in memory is gone."""
        self._end()
        self._run()

    def stop(self) -> None:
        """End it and everything that it has started."""
        self._end()
        self.group.remove()

    def _run(self) -> None:
        """Start the process and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.group.started(self._process.pid)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with self.session():
                    return
            except (OSError, Failure) as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise Failure(f"{self.name} does not start: {error}\n{self.log()}") from error
            time.sleep(POLL_SECONDS)

    def _end(self) -> None:
        """End the process, and kill what it leaves behind."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(self.stop_signal)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        self.group.kill()
        process.wait()

    def session(self) -> Client:
        """Return a client that has connected."""
        return Client(self.address)

    def login(self) -> Client:
        """Return a client that has logged in."""
        client = self.session()
        try:
            client.log_in(USER, PASSWORD)
        except BaseException:
            client.close()
            raise
        return client


def output(*command: str | Path) -> str:
    """Return what a program prints."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
