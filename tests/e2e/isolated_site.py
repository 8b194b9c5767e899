"""A server for some users of the machine, each of whose sessions is a process, and what is to be known of these."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from popframe.testing import RawClient, ServerProcess

UIDS = count(40_000 + 2_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")))
"""Numbers that no account of the machine has, and no other process of these tests, each used once."""

PASSWORD = "secret"
HASH = "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1"
FROM_LINE = b"From sender@example.org Mon Jan  5 09:00:00 2026\n"
PLUGIN = '''
import os
import time

from popframe import Account, Command, Reply, hookimpl
from popframe.extension import IN_TRANSACTION


class Probe:
    """Takes its time for one user, and tells what a session may do."""

    @hookimpl
    def popframe_authenticate(self, credentials):
        if credentials.username == "slow":
            time.sleep(600)

    @hookimpl
    def popframe_register_commands(self):
        return [Command("XTRY", self.attempt, IN_TRANSACTION, arity=range(1, 3))]

    def attempt(self, context, arguments):
        what, *rest = arguments
        try:
            if what == "root":
                os.setresuid(0, 0, 0)
            elif what == "seteuid":
                os.seteuid(0)
            elif what == "groups":
                os.setgroups([0])
            elif what == "open":
                os.close(os.open(rest[0], os.O_RDONLY))
            elif what == "die":
                os.kill(os.getpid(), 9)
            elif what == "pid":
                return Reply(str(os.getpid()))
        except OSError as error:
            return Reply(f"{error.strerror}", is_ok=False)
        return Reply("it worked")
'''


class Site:
    """A server for some users of the machine, their mail, and what is to be known of its processes."""

    def __init__(self, folder: Path, names: list[str], *, mode: int = 0o1777, more: str = "", store: str = "") -> None:
        self.folder = folder
        self.mail = folder / "mail"
        self.mail.mkdir()
        self.mail.chmod(mode)
        self.uids = {name: next(UIDS) for name in names}
        lines = [f"{name}:{HASH}:uid={uid} gid={uid}\n" for name, uid in self.uids.items()]
        (folder / "users").write_text("".join(lines) + f"virtual:{HASH}\n")
        (folder / "probe.py").write_text(PLUGIN)
        self.configuration = folder / "popframe.toml"
        self.configuration.write_text(
            'plugins = ["./probe.py", "auth_file", "store_mbox"]\n'
            f'[server]\nlisten = ["127.0.0.1:0"]\nrun_as = "nobody"\nisolation = "per-user"\nfronts = 2\n{more}\n'
            '[plugin.auth_file]\npath = "users"\n[plugin.store_mbox]\nspool_dir = "mail"\nstate_dir = "state"\n'
            f"{store}\n"
        )
        (folder / "state").mkdir()
        (folder / "state").chmod(0o1777)
        for name in names:
            self.put(name, 2)
        self.server = ServerProcess(self.configuration)

    def put(self, name: str, count: int) -> None:
        """Make this many messages the only content of a user's spool."""
        subjects = [b"Subject: %d for %s\n" % (number, name.encode()) for number in range(count)]
        self.write(name, b"".join(FROM_LINE + subject + b"\nhi\n\n" for subject in subjects))

    def write(self, name: str, octets: bytes) -> None:
        """Make a user's spool anew: where users may create files, root may not open those of others to create them."""
        spool = self.mail / name
        spool.unlink(missing_ok=True)
        spool.write_bytes(octets)
        os.chown(spool, self.uids[name], -1)
        spool.chmod(0o600)

    def connect(self) -> RawClient:
        """Connect a client."""
        return RawClient(self.server.addresses[0])

    def logged_in(self, name: str) -> RawClient:
        """Connect a client and log in."""
        client = self.connect()
        reply = client.log_in(name, PASSWORD)
        assert reply.startswith(b"+OK maildrop has "), reply
        return client

    def processes_of(self, name: str) -> list[int]:
        """Return the processes that run as a user."""
        return [pid for pid in running() if uid_of(pid) == self.uids[name]]

    def gates(self) -> list[int]:
        """Return the process ids of the gates: the children of the master that are root."""
        return [pid for pid in self.server.fronts() if uid_of(pid) == 0]

    def gate(self) -> int:
        """Return the process id of the gate, once there is one alone."""
        until(lambda: len(self.gates()) == 1, "one gate")
        return self.gates()[0]


def running() -> list[int]:
    """Return all processes of the machine."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def status_of(pid: int) -> dict[str, str]:
    """Return what /proc says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def uid_of(pid: int) -> int:
    """Return the effective user id of a process; -1 when it is gone."""
    try:
        return int(status_of(pid)["Uid"].split()[1])
    except OSError:
        return -1


def children_of(pid: int) -> list[int]:
    """Return the children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
