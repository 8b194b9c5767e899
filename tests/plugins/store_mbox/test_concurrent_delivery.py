"""Agents that deliver while sessions read and remove: nothing is lost, doubled, or mixed."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from popframe import Account, IncomingMessage
from popframe_store_mbox import Settings, StoreMbox

ALICE = Account("alice")
COUNT = 40
"""Messages of each agent."""

LINES = 400
"""Of each message: long enough for a write in the middle of another's to be seen."""

AGENT = """
import fcntl, os, sys, time
spool, name, count, lines, kinds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5].split("+")
for number in range(count):
    while "dotlock" in kinds:
        try:
            os.close(os.open(spool + ".lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except FileExistsError:
            time.sleep(0.002)
    with open(spool, "ab", buffering=0) as file:
        if "fcntl" in kinds:
            fcntl.lockf(file, fcntl.LOCK_EX)
        if "flock" in kinds:
            fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b"From bob@example.org Mon Jan  5 09:00:00 2026\\n")
        file.write(b"Subject: %b-%d\\n\\n" % (name.encode(), number))
        for line in range(lines):
            if line % 100 == 0:
                time.sleep(0.0002)  # an agent writes its message in several pieces
            file.write(b"line %d of %b-%d\\n" % (line, name.encode(), number))
        file.write(b"\\n")
    if "dotlock" in kinds:
        os.unlink(spool + ".lock")
"""


@contextmanager
def agent(spool: Path, name: str, kinds: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run an agent that takes the given locks."""
    arguments = [str(spool), name, str(COUNT), str(LINES), kinds]
    with subprocess.Popen([sys.executable, "-I", "-c", AGENT, *arguments]) as process:
        yield process


def text(name: str, number: int) -> bytes:
    """Return what an agent delivers."""
    head = b"Subject: %b-%d\n\n" % (name.encode(), number)
    return head + b"".join(b"line %d of %b-%d\n" % (line, name.encode(), number) for line in range(LINES))


def collect(store: StoreMbox, got: Counter[bytes]) -> None:
    """Read everything that is there in one session, and remove most of it.

    The third and the last message stay, so that others have to be moved, and new mail arrives behind old.
    """
    maildrop = store.popframe_open_maildrop(ALICE)
    try:
        count = len(maildrop.message_uids())
        messages = [b"".join(maildrop.read_message(index)) for index in range(count)]
        deleted = set(range(count - 1)) - {2}
        maildrop.commit(deleted, set())
        got.update(messages[index] for index in deleted)
    finally:
        maildrop.close()


@pytest.mark.parametrize(
    "kinds", [["dotlock+fcntl", "dotlock+fcntl"], ["dotlock", "dotlock+flock"], ["fcntl"], ["flock"]], ids=str
)
def test_every_message_arrives_once_and_whole(spool: Path, spool_dir: Path, kinds: list[str]) -> None:
    """Each message is read and removed once, whichever locks its agent takes (RFC 1939 section 6).

    Agents that run side by side have a lock in common: a session cannot keep them from each other.
    """
    store = StoreMbox(Settings(spool_dir=spool_dir, lock_timeout_seconds=60))
    names = [f"agent{number}" for number in range(len(kinds))]
    got: Counter[bytes] = Counter()
    with ExitStack() as running:
        processes = [running.enter_context(agent(spool, name, kind)) for name, kind in zip(names, kinds, strict=True)]
        while any(process.poll() is None for process in processes):
            collect(store, got)
    maildrop = store.popframe_open_maildrop(ALICE)
    got.update(b"".join(maildrop.read_message(index)) for index in range(len(maildrop.message_uids())))
    maildrop.close()

    assert [process.returncode for process in processes] == [0] * len(processes)
    assert got == Counter(text(name, number) for name in names for number in range(COUNT))


def test_deliveries_and_sessions_of_one_process_exclude_each_other(spool_dir: Path) -> None:
    """Threads that deliver through the plugin, beside one that removes."""
    store = StoreMbox(Settings(spool_dir=spool_dir, lock_timeout_seconds=60))
    names = [f"thread{number}" for number in range(3)]
    got: Counter[bytes] = Counter()

    def deliver(name: str) -> None:
        for number in range(COUNT):
            received = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
            store.popframe_deliver_message(ALICE, IncomingMessage("bob@example.org", received, text(name, number)))

    threads = [threading.Thread(target=deliver, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        collect(store, got)
    maildrop = store.popframe_open_maildrop(ALICE)
    got.update(b"".join(maildrop.read_message(index)) for index in range(len(maildrop.message_uids())))
    maildrop.close()

    assert got == Counter(text(name, number) for name in names for number in range(COUNT))
