"""What a process for each session costs, and what keeping it for the next session of its user would save.

Usage: python benchmarks/warm_session.py [--sessions 1000] [--rounds 5]     (as root)

Three servers with isolation = "per-user" or "shared" serve the same clients, one after the other: log in, QUIT. The
password is one that the gate has proven. "warm" is a prototype of a process that stays its user and serves the next
session: the gate starts a child all the same, which asks for the password, the rules and the plugins afresh, and hands
the connection on instead of becoming the user. It leaves out whatever would make that safe, so it is the most that
there is to gain. CPU time is that of all processes of the server, kernel and user, exits included.
"""

from __future__ import annotations

import argparse
import contextlib
import mmap
import os
import pickle
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from statistics import median
from typing import NoReturn

from popframe.engine import Session
from popframe.model import Account, Peer, PlainCredentials
from popframe.password import hash_password
from popframe.proven_passwords import ProvenPasswords
from popframe.server import privilege
from popframe.server.admission import admitted, opened
from popframe.server.isolation import gate
from popframe.server.isolation import session as isolated
from popframe.server.isolation.channel import MAX_MESSAGE_OCTETS, Channel
from popframe.server.isolation.session import Admission, UserBackend, UserConnection
from popframe.server.master import Master
from popframe.server.service import Service
from popframe.server.session_log import SessionLog
from popframe.server.transport import Transport
from popframe.testing import RawClient

UID = 54_321
TICKS = os.sysconf("SC_CLK_TCK")
WARM_UP_SESSIONS = 50
KINDS = ("shared", "per-user", "warm")

_run_session = isolated.run_session
_become_account = privilege.become_account


def main() -> None:
    """Measure, and write a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("needs root, to become a user")
    costs: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(arguments.rounds):
        for kind in KINDS:
            costs[kind].append(microseconds(kind, arguments.sessions))
    print("CPU time of a session (log in, QUIT), microseconds: least and median of the rounds")
    for kind, each in costs.items():
        print(f"  {kind:10} {min(each):7.0f} {median(each):7.0f}")
    before, after = min(costs["per-user"]), min(costs["warm"])
    print(f"a warm process would save {100 * (before - after) / before:.0f} % of a session that finds one")
    print(f"and has {private_kilobytes()} KiB of its own while it waits")


def private_kilobytes() -> int:
    """Return how much memory a warm process has that it shares with no other."""
    with server("warm") as (pid, address):
        for _ in range(WARM_UP_SESSIONS):
            use(address)
        settle(pid, "warm")
        for member in family(pid):
            if f"\t{UID}\t" in status_of(member):
                lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
                return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))
    raise AssertionError("there is no warm process")


def status_of(pid: int) -> str:
    """Return what /proc says of a process."""
    return Path(f"/proc/{pid}/status").read_text()


def microseconds(kind: str, sessions: int) -> float:
    """Return what one session costs a server of one kind."""
    with server(kind) as (pid, address):
        for _ in range(WARM_UP_SESSIONS):
            use(address)
        settle(pid, kind)
        before = cpu_seconds(pid)
        for _ in range(sessions):
            use(address)
        settle(pid, kind)
        return (cpu_seconds(pid) - before) / sessions * 1e6


def use(address: tuple[str, int]) -> None:
    """Be one client."""
    with RawClient(address) as client:
        client.send(b"USER alice\r\nPASS secret\r\n")
        client.line()
        reply = client.line()
        if not reply.startswith(b"+OK"):
            sys.exit(f"the server says {reply!r}")
        client.ask("QUIT")
        client.rest()


@contextlib.contextmanager
def server(kind: str) -> Iterator[tuple[int, tuple[str, int]]]:
    """Run a server; give its process id and address."""
    folder = Path(tempfile.mkdtemp(prefix="popframe-benchmark-"))
    folder.chmod(0o755)
    fill(folder, "shared" if kind == "shared" else "per-user")
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        if kind == "warm":
            WarmProcess().install()
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 2)

        def when_ready(addresses: list[str]) -> None:
            os.write(told, addresses[0].encode())

        os._exit(Master(folder / "popframe.toml", when_ready=when_ready).run())
    try:
        host, _, port = os.read(ready, 100).decode().rpartition(":")
        yield pid, (host, int(port))
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(told)
        shutil.rmtree(folder)


def fill(folder: Path, isolation: str) -> None:
    """Write a configuration, a user and some mail."""
    for name in ("mail", "state"):
        (folder / name).mkdir()
        (folder / name).chmod(0o1777)
    hashed = hash_password(b"secret", "sha512crypt")
    (folder / "users").write_text(f"alice:{hashed}:uid={UID} gid={UID}\n")
    (folder / "users").chmod(0o644)
    message = "From sender@example.org Mon Jan  5 09:00:00 2026\nSubject: one\n\nhello\n\n"
    (folder / "mail" / "alice").write_text(message * 2)
    os.chown(folder / "mail" / "alice", UID, UID)
    (folder / "mail" / "alice").chmod(0o666)
    (folder / "popframe.toml").write_text(
        'plugins = ["auth_file", "store_mbox"]\n'
        f'[server]\nlisten = ["127.0.0.1:0"]\nrun_as = "nobody"\nisolation = "{isolation}"\nfronts = 1\n'
        '[plugin.auth_file]\npath = "users"\n[plugin.store_mbox]\nspool_dir = "mail"\nstate_dir = "state"\n'
    )


def settle(pid: int, kind: str) -> None:
    """Wait until the processes of sessions have ended and were waited for, but for a warm one."""
    expected = {"shared": 1, "per-user": 2, "warm": 3}[kind]
    deadline = time.monotonic() + 10
    while len(family(pid)) != expected + 1 and time.monotonic() < deadline:
        time.sleep(0.01)


def family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *(found for child in children for found in family(int(child)))]
    return []


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, its descendants, and those of them that have ended."""
    ticks = 0
    for member in family(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


class WarmProcess:
    """The prototype: the first login's process stays, and the others' hand their connections to it."""

    def __init__(self) -> None:
        """Make what all processes share."""
        self._is_there = mmap.mmap(-1, 1)
        self._taken, self._given = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def install(self) -> None:
        """Put it in the place of the session's process."""
        gate.run_session = self._run  # type: ignore[attr-defined]  # a prototype
        privilege.become_account = self._become

    def _become(self, account: Account, keep: Collection[int], *, may_gain: bool) -> None:
        _become_account(account, (*keep, self._taken.fileno()), may_gain=may_gain)

    def _run(self, admission: Admission, service: Service, patience_seconds: float) -> NoReturn:
        if not self._is_there[0]:
            self._is_there[0] = 1
            self._stay(admission, service, patience_seconds)
        request, channel = admission.request, admission.channel
        signal.setitimer(signal.ITIMER_REAL, patience_seconds)
        if not isinstance(request.proof, PlainCredentials):
            os._exit(1)  # no benchmark begins a SASL exchange
        account = admitted(service.hooks, service.rules, request.peer, request.proof).account
        if proven := ProvenPasswords.recorded():
            with contextlib.suppress(OSError):
                admission.teach.send(proven, socket.MSG_DONTWAIT)
        channel.send_account(account.username)
        if channel.receive_open() is not None:
            order = pickle.dumps((request.session_id, request.peer, account))
            socket.send_fds(self._given, [order], [channel.fileno(), admission.connection.fileno()])
        os._exit(0)

    def _stay(self, admission: Admission, service: Service, patience_seconds: float) -> NoReturn:
        """Serve the first session as ever, and then whatever comes."""
        exit_process: Callable[[int], NoReturn] = os._exit

        def go_on(status: int) -> NoReturn:
            admission.channel.close()
            while True:
                order, descriptors, _, _ = socket.recv_fds(self._taken, MAX_MESSAGE_OCTETS, 2)
                if not order:
                    exit_process(0)
                with socket.socket(fileno=descriptors[0]) as back, socket.socket(fileno=descriptors[1]) as transport:
                    session_id, peer, account = pickle.loads(order)  # noqa: S301  # our own
                    self._serve(session_id, peer, account, Channel(back), transport, service)

        os._exit = go_on
        _run_session(admission, service, patience_seconds)

    @staticmethod
    def _serve(
        session_id: str, peer: Peer, account: Account, channel: Channel, transport: socket.socket, service: Service
    ) -> None:
        login = opened(service.hooks, peer, account)
        session = Session(peer, UserBackend(SessionLog(session_id, peer)), service.policy, service.table)
        session.continue_from(login)
        channel.send_ready()
        going_on = channel.receive_go_on()
        assert going_on is not None  # noqa: S101  # a front of a benchmark does not go away
        negotiated, unread = going_on
        connection = UserConnection(Transport(transport), session, service.timers)
        connection.channel = channel
        connection.go_on(session.answer_login(negotiated), unread)
        channel.send_summary(session.summary(session_id, 0.0))


if __name__ == "__main__":
    main()
