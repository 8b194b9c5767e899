"""What starts ``popframe inetd`` for a test: a loop of our own, systemd-socket-activate, and Debian's inetd."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

POPFRAME = (sys.executable, "-m", "popframe")

PATIENCE_SECONDS = 30.0
"""How long a process may take to start or to end; a loaded machine is slow."""


class Started:
    """One ``popframe inetd`` with its client's end of the connection.

    Attributes:
        process: The process.
        lines: What it says to the client, line by line.
    """

    def __init__(self, ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.socket = ours
        self.process = process
        self.lines = ours.makefile("rb")

    def ask(self, command: str) -> bytes:
        """Send one command line and return the first line of the reply."""
        self.socket.sendall(command.encode() + b"\r\n")
        return self.lines.readline()

    def errors(self) -> str:
        """Return what it writes to standard error, up to its end."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def end(self) -> int:
        """Wait for the process and return its exit status."""
        return self.process.wait(PATIENCE_SECONDS)


@contextlib.contextmanager
def started(
    configuration: Path | None, *options: str, errors_to_client: bool = True, unix: bool = False
) -> Iterator[Started]:
    """Accept one client and start a process for it, as inetd would.

    Args:
        configuration: The configuration file; None to leave it out.
        options: Further words of the command line.
        errors_to_client: Standard error is the connection too, as under inetd; else it is a pipe.
        unix: The connection is a Unix socket.
    """
    ours, theirs = socket.socketpair() if unix else _tcp_pair()
    words = [] if configuration is None else ["--config", str(configuration)]
    with ours, theirs:
        ours.settimeout(PATIENCE_SECONDS)
        end_of_errors = theirs.fileno() if errors_to_client else subprocess.PIPE
        command = [*POPFRAME, "inetd", *words, *options]
        process = subprocess.Popen(
            command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=end_of_errors, cwd="/"
        )
        theirs.close()
        one = Started(ours, process)
        try:
            yield one
        finally:
            one.lines.close()
            ours.close()
            end(process)
            if process.stderr is not None:
                process.stderr.close()


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        return ours, listener.accept()[0]


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[int]:
    """Run a program until it listens on a port, and end it behind the block; its process id is given."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_listening(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield process.pid
    finally:
        end(process)


def is_listening(port: int) -> bool:
    """Tell whether somebody listens on a port of 127.0.0.1, without connecting, which would start a session."""
    wanted = f"0100007F:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1] == wanted and row[3] == "0A" for row in rows)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that the test has started, if it has not ended already."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
            process.wait()
