"""A real server process for a test: started, watched, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 20.0
"""How long a server may take to say where it listens; a loaded test machine is slow."""

STOP_SECONDS = 30.0
"""How long it may take to end after SIGTERM before the test is told that it hangs."""

POLL_SECONDS = 0.02
"""How often a condition is looked at while it is waited for."""


MARKS = ("", " (TLS)", " (PROXY)", " (PROXY+TLS)")
"""What the server says behind an address."""


class ServerProcess:
    """``popframe serve`` as a child process, with its log in a file.

    ::

        with ServerProcess(Path("popframe.toml")) as server:
            poplib.POP3(*server.addresses[0])

    Attributes:
        log_path: Where its log lines are.
        addresses: Host and port of each socket, in the order of the configuration.
        tls_addresses: The same of those that speak TLS from the first octet.
        proxy_addresses: The same of those for proxies, which send a header first.
        proxy_tls_addresses: The same of those where TLS comes behind the header.
        pid: Process id of the master.
    """

    def __init__(self, configuration: Path, log_path: Path | None = None) -> None:
        """Prepare; the process starts with :meth:`start`, or when a ``with`` block is entered.

        Args:
            configuration: Its configuration file; listen on port 0 to get a free one.
            log_path: Where its log goes; by default beside the configuration, with the suffix ``.log``.
        """
        self._configuration = configuration
        self.log_path = log_path or configuration.with_suffix(".log")
        self.addresses: list[tuple[str, int]] = []
        self.tls_addresses: list[tuple[str, int]] = []
        self.proxy_addresses: list[tuple[str, int]] = []
        self.proxy_tls_addresses: list[tuple[str, int]] = []
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the master."""
        return self._running().pid

    def start(self, *, command: tuple[str, ...] = ()) -> None:
        """Start the server and wait until it listens.

        Args:
            command: What to put before the server's own command line, such as ``systemd-socket-activate``.

        Raises:
            AssertionError: It ended, or did not say where it listens.
        """
        with self.log_path.open("ab") as log:
            serve = (sys.executable, "-m", "popframe", "serve", "--config", str(self._configuration))
            self._process = subprocess.Popen([*command, *serve], stdout=subprocess.PIPE, stderr=log, text=True)
        if not command:
            self._read_addresses(self._process)

    def stop(self) -> int:
        """Send SIGTERM and return the exit status; 0 when it was not running."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_SECONDS)
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def kill(self) -> None:
        """Send SIGKILL to the master and to every front, and wait: a crash of the machine, as far as files go."""
        for pid in [self.pid, *self.fronts()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.stop()

    def reload(self) -> None:
        """Send SIGHUP and wait until the log says what came of it.

        Raises:
            AssertionError: It said nothing.
        """
        before = self.count_in_log(" reloaded ") + self.count_in_log(" reload-refused ")
        os.kill(self.pid, signal.SIGHUP)
        for _ in self.until("an answer to SIGHUP in the log"):
            if self.count_in_log(" reloaded ") + self.count_in_log(" reload-refused ") > before:
                return

    def fronts(self) -> list[int]:
        """Return the process ids of the fronts."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def log(self) -> str:
        """Return the log so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def count_in_log(self, text: str) -> int:
        """Return how often a text stands in the log."""
        return self.log().count(text)

    def wait_for_log(self, text: str) -> None:
        """Wait until a text stands in the log.

        Raises:
            AssertionError: It does not come.
        """
        for _ in self.until(f"{text!r} in the log"):
            if text in self.log():
                return

    def until(self, what: str, seconds: float = START_SECONDS) -> Iterator[None]:
        """Yield now and then until the caller is content.

        Raises:
            AssertionError: The time is over.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            yield
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"waited {seconds} s for {what}; the log:\n{self.log()}")

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise AssertionError("the server was not started")
        return self._process

    def _read_addresses(self, process: subprocess.Popen[str]) -> None:
        """Read the line ``listening on ADDRESS, ADDRESS``, which comes when clients can connect."""
        line = "" if process.stdout is None else process.stdout.readline()
        if not line:
            raise AssertionError(f"the server ended with status {process.wait()}:\n{self.log()}")
        names = line.removeprefix("listening on ").strip().split(", ")
        self.addresses, self.tls_addresses, self.proxy_addresses, self.proxy_tls_addresses = (
            [_address(address) for address, found in map(_split_mark, names) if found == mark] for mark in MARKS
        )


def _split_mark(name: str) -> tuple[str, str]:
    address, blank, mark = name.partition(" ")
    return address, blank + mark


def _address(name: str) -> tuple[str, int]:
    host, _, port = name.rpartition(":")
    return host.strip("[]"), int(port)
