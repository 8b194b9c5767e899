"""What store_mbox costs: opening a large spool, removing from one. CPU time and memory, each in its own process.

Usage: python benchmarks/mbox.py [--megabytes 1000] [--messages 250000] [--rounds 5] [--folder FOLDER]

Needs that much room in FOLDER (default: the system's for temporary files), and as much again for the removals. The
file is in the page cache when it is read. What is told of each is the least and the median of the rounds; the least
says what it costs, the median how busy the machine was.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median

from popframe import Account
from popframe_store_mbox import Settings, StoreMbox
from popframe_store_mbox.maildrop import MboxMaildrop

ALICE = Account("alice")
LINE = b"This is a line of text in a message, with sixty-five octets......\n"
FROM_LINE = b"From sender@example.org Mon Jan  5 09:00:00 2026\n"
MEGABYTE = 1_000_000
REMOVAL_MEGABYTES = 100


def main() -> None:
    """Measure, and write a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=250_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="popframe-benchmark-", dir=arguments.folder))
    try:
        opening(folder, arguments.megabytes, arguments.messages, arguments.rounds)
        removing(folder, arguments.rounds)
    finally:
        shutil.rmtree(folder)


def opening(folder: Path, megabytes: int, messages: int, rounds: int) -> None:
    """Measure what it costs to open a spool."""
    fill(folder, megabytes, messages)
    print(f"spool of {megabytes} MB, {messages} messages")
    report("  first scan, index written", rounds, folder, open_it, before=drop_index)
    at_rest(folder)
    report("  unchanged", rounds, folder, open_it)
    report("  unchanged, with LIST and UIDL", rounds, folder, open_and_list)
    report("  the newest removed", rounds, folder, remove_newest, before=at_rest)
    report("  after one new mail", rounds, folder, open_it, before=add_one)


def removing(folder: Path, rounds: int) -> None:
    """Measure what it costs to remove messages."""
    count = REMOVAL_MEGABYTES * 250
    print(f"spool of {REMOVAL_MEGABYTES} MB, {count} messages: open and QUIT")

    def prepare(where: Path) -> None:
        fill(where, REMOVAL_MEGABYTES, count)
        at_rest(where)

    report("  nothing removed", rounds, folder, lambda where: remove(where, 0, 1, 0), before=prepare)
    report("  every second one removed", rounds, folder, lambda where: remove(where, 0, 2, None), before=prepare)
    report("  the newest removed", rounds, folder, remove_newest, before=prepare)
    report("  all removed", rounds, folder, lambda where: remove(where, 0, 1, None), before=prepare)


def fill(folder: Path, megabytes: int, messages: int) -> None:
    """Write a spool whose messages differ in their headers, and no index."""
    lines = max(1, (megabytes * MEGABYTE // messages - 140) // len(LINE))
    body = LINE * lines + b"\n"
    with (folder / "alice").open("wb") as spool:
        for number in range(messages):
            header = b"Message-ID: <%d@example.org>\nSubject: number %d\nTo: alice@example.org\n\n" % (number, number)
            spool.write(FROM_LINE + header + body)
        spool.flush()
        os.fsync(spool.fileno())
    drop_index(folder)


def drop_index(folder: Path) -> None:
    """Remove the index."""
    (folder / ".alice.popframe-index").unlink(missing_ok=True)


def add_one(folder: Path) -> None:
    """Deliver a message."""
    with (folder / "alice").open("ab") as spool:
        spool.write(FROM_LINE + b"Message-ID: <%d@example.com>\n\nnew\n\n" % time.time_ns())


def settle() -> None:
    """Wait until the time stamps of what was written prove that it is at rest."""
    time.sleep(2.5)


def at_rest(folder: Path) -> None:
    """Let the index know that the spool is at rest."""
    settle()
    open_it(folder)


def opened(folder: Path) -> MboxMaildrop:
    """Open the maildrop."""
    return StoreMbox(Settings(spool_dir=folder)).popframe_open_maildrop(ALICE)


def open_it(folder: Path) -> None:
    """Open the maildrop and close it."""
    opened(folder).close()


def open_and_list(folder: Path) -> None:
    """Open it and read both listings."""
    with closing(opened(folder)) as maildrop:
        for _ in maildrop.scan_listing():
            pass
        for _ in maildrop.uid_listing():
            pass


def remove(folder: Path, start: int, step: int, stop: int | None) -> None:
    """Open it and remove messages."""
    with closing(opened(folder)) as maildrop:
        count = len(maildrop.message_octets()) if stop is None else stop
        maildrop.commit(set(range(start, count, step)), set())


def remove_newest(folder: Path) -> None:
    """Open it and remove the last message."""
    with closing(opened(folder)) as maildrop:
        maildrop.commit({len(maildrop.message_octets()) - 1}, set())


def report(
    name: str, rounds: int, folder: Path, action: Callable[[Path], None], before: Callable[[Path], None] | None = None
) -> None:
    """Measure some rounds and write a line."""
    results = []
    for _ in range(rounds):
        if before is not None:
            before(folder)
        results.append(measured(folder, action))
    seconds = [result[0] for result in results]
    added = max(result[1] for result in results)
    print(f"{name:36} {min(seconds) * 1e3:9.2f} ms least, {median(seconds) * 1e3:9.2f} ms median, {added:4} MB more")


def measured(folder: Path, action: Callable[[Path], None]) -> tuple[float, int]:
    """Return the CPU time of an action, in seconds, and by how many megabytes it let the process grow."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            begun = time.process_time()
            action(folder)
            spent = time.process_time() - begun
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base
            os.write(writing, f"{spent} {grown // 1000}".encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    if os.waitpid(pid, 0)[1] != 0:
        sys.exit("the action failed")
    seconds, megabytes = answer.split()
    return float(seconds), int(megabytes)


if __name__ == "__main__":
    main()
