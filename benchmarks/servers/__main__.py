"""popframe beside the POP3 servers in C, as ratios, in one run.

Usage: python -m benchmarks.servers [--only popframe,dovecot] [--work 1,retr] [--rounds 3] [--json FILE]

Run it in the checkout, as root: it makes namespaces of its own, in which nothing of the machine is changed. A server
that is not installed is left out, and how to install it is said. What is measured, and how: docs/performance.md.

Courier and Cyrus are not among them: they read no mbox files, and need much setting up.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.servers import room
from benchmarks.servers.dovecot import Dovecot, DovecotDefault
from benchmarks.servers.group import new_group
from benchmarks.servers.mailutils import Mailutils
from benchmarks.servers.measuring import Measuring, Result
from benchmarks.servers.popa3d import Popa3d
from benchmarks.servers.popframe_server import Popframe
from benchmarks.servers.server import Server
from benchmarks.servers.table import machine, summary, table, write_json
from benchmarks.servers.work import Work
from benchmarks.servers.works import works

SERVERS: tuple[type[Server], ...] = (Popframe, Dovecot, DovecotDefault, Popa3d, Mailutils)


def main() -> None:
    """Measure, and write tables."""
    arguments = parse()
    room.enter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    folder = Path(tempfile.mkdtemp(prefix="popframe-benchmark-", dir=arguments.folder)).resolve()
    folder.chmod(0o755)
    try:
        measure(folder, arguments)
    finally:
        shutil.rmtree(folder)


def parse() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(prog="benchmarks.servers", description=(__doc__ or "").partition("\n")[0])
    names = [server.name for server in SERVERS]
    parser.add_argument("--only", default=",".join(names), help=f"servers: {', '.join(names)}")
    parser.add_argument("--work", default="", help="numbers or names of kinds of work")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=100, help="logins that are measured in a round")
    parser.add_argument("--megabytes", type=int, default=100, help="size of the large spool")
    parser.add_argument("--messages", type=int, default=25_000, help="messages in it")
    parser.add_argument("--folder", type=Path, help="where all files are made; every user must be able to enter it")
    parser.add_argument("--json", type=Path, help="a file for all numbers")
    parser.add_argument("--proc", action="store_true", help="count in /proc, not in control groups: to the clock tick")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    if unknown := set(arguments.only) - set(names):
        parser.error(f"no such server: {', '.join(sorted(unknown))}")
    every = works(arguments.sessions, arguments.megabytes, arguments.messages)
    wanted = set(arguments.work.split(",")) - {""}
    arguments.work = [work for work in every if not wanted or {work.name, str(work.number)} & wanted]
    if unknown := wanted - {work.name for work in every} - {str(work.number) for work in every}:
        parser.error(f"no such work: {', '.join(sorted(unknown))}; there are {', '.join(work.name for work in every)}")
    return arguments


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """Start the servers, let each do all the work, and stop them."""
    results: list[tuple[Work, Sequence[Result]]] = []
    with contextlib.ExitStack() as running:
        servers = started(folder, arguments, running)
        versions = {server.name: server.version() for server in servers}
        for title, text in (machine() | versions).items():
            print(f"{title}: {text}")
        for work in arguments.work:
            results.append((work, Measuring(work, servers, folder).run(arguments.rounds)))
            print(f"\n{table(*results[-1])}", flush=True)
    print(f"\nCPU time, and memory that a session adds\n\n{summary(results, 0)}")
    print(f"\nWall time, and memory of the server\n\n{summary(results, 1)}")
    if arguments.json:
        write_json(arguments.json, versions, results)


def started(folder: Path, arguments: argparse.Namespace, running: contextlib.ExitStack) -> list[Server]:
    """Return the wanted servers that are installed; each runs until the stack is closed."""
    owner = room.furnish(folder)
    servers: list[Server] = []
    for kind in SERVERS:
        if kind.name not in arguments.only:
            continue
        if not kind.program().exists():
            print(f"left out: {kind.name}; to install it: {kind.install}")
            continue
        server = kind(folder / kind.name, owner)
        group = new_group(f"{folder.name}-{kind.name}", in_proc=arguments.proc)
        running.callback(server.stop)
        server.start(group)
        servers.append(server)
    return servers


if __name__ == "__main__":
    main()
