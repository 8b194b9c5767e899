"""What the tests of ``popframe inetd`` share: sites, what starts it, and what is to be known of its processes."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from popframe.testing.site import RUN_AS, MailSite

MESSAGES = [b"Subject: one\n\nhello\n", b"Subject: two\n\n.\nworld\n"]

BROKEN = b"-ERR [SYS/PERM] problem on the server, ask its operator for help\r\n"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sessions that become each user")

POPFRAME = (sys.executable, "-m", "popframe")

NO_ENVIRONMENT: Mapping[str, str] = {}

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
    configuration: Path,
    *options: str,
    errors_to_client: bool = True,
    pair: tuple[socket.socket, socket.socket] | None = None,
    environment: Mapping[str, str] = NO_ENVIRONMENT,
) -> Iterator[Started]:
    """Accept one client and start a process for it, as inetd would.

    Args:
        configuration: The configuration file.
        options: Further words of the command line.
        errors_to_client: Standard error is the connection too, as under inetd; else it is a pipe.
        pair: The two ends of the connection; by default one of TCP.
        environment: Variables that it has besides those of the test.
    """
    ours, theirs = pair or _tcp_pair()
    with ours, theirs:
        ours.settimeout(PATIENCE_SECONDS)
        end_of_errors = theirs.fileno() if errors_to_client else subprocess.PIPE
        command = [*POPFRAME, "inetd", "--config", str(configuration), *options]
        end_of_client = theirs.fileno()
        variables = {**os.environ, **environment}
        process = subprocess.Popen(
            command, stdin=end_of_client, stdout=end_of_client, stderr=end_of_errors, cwd="/", env=variables
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


def log_in(client: Started, word: str = "secret") -> bytes:
    """Send USER and PASS as alice and return the reply to PASS."""
    assert client.ask("USER alice").startswith(b"+OK")
    return client.ask(f"PASS {word}")


def log_to(site: MailSite, target: str = "syslog") -> str:
    """Return the table ``[log]`` that names the system log of the fixture."""
    return f'[log]\ntarget = "{target}"\nsyslog_address = "{site.directory / "log"}"\n'


def lines_of(syslog: socket.socket, last: str) -> list[str]:
    """Return the lines of the system log up to the first with a text."""
    lines: list[str] = []
    while not lines or last not in lines[-1]:
        lines.append(syslog.recv(65_536).decode())
    return lines


@contextlib.contextmanager
def per_user_site() -> Iterator[tuple[MailSite, int]]:
    """Give a site whose alice has a user id, with two messages, and that id."""
    uid = 31_000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    with MailSite({"alice": "secret"}) as site:
        (site.directory / "state").mkdir()
        site.configure('isolation = "per-user"')
        text = site.configuration.read_text()
        site.configuration.write_text(text.replace('spool_dir = "mail"', 'spool_dir = "mail"\nstate_dir = "state"'))
        site.put("alice", MESSAGES)
        users = site.directory / "users"
        users.write_text(users.read_text().strip() + f":uid={uid} gid={uid}\n")
        os.chown(users, 0, 0)
        for folder in ("mail", "state"):
            (site.directory / folder).chmod(0o1777)
        os.chown(site.spool("alice"), uid, uid)
        site.spool("alice").chmod(0o600)
        yield site, uid


@contextlib.contextmanager
def shared_site() -> Iterator[tuple[MailSite, int]]:
    """Give a site whose mail is run_as's, with two messages, and that user's id."""
    with MailSite({"alice": "secret"}) as site:
        site.put("alice", MESSAGES)
        yield site, pwd.getpwnam(RUN_AS).pw_uid


def status_of(pid: int) -> dict[str, str]:
    """Return what /proc says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def children_of(pid: int) -> list[int]:
    """Return the children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def connections_of(pid: int) -> set[str]:
    """Return the TCP sockets that a process holds."""
    inodes = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]}
    held = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    return {place for place in held if place.startswith("socket:") and place[8:-1] in inodes}


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
