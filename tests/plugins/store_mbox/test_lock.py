"""The locks of the mail transfer agents: waited for, never broken while somebody holds them, always given back."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from popframe import Account, MaildropInUse, PermanentFailure, TemporaryFailure
from popframe_store_mbox import Settings, StoreMbox
from popframe_store_mbox.lock import LockKind, LockPolicy, LockTimeout, held_locks

ONE = b"From bob@example.org Mon Jan  5 09:00:00 2026\nSubject: a\n\nb\n\n"
ALICE = Account("alice")
DEAD_PID = 2**22 + 1
"""One above the largest process id that Linux gives out."""
HOST = socket.gethostname()


@pytest.fixture
def dotlock(spool: Path) -> Path:
    """Return the path of the dot-lock of alice's spool, which has one message."""
    spool.write_bytes(ONE)
    return spool.with_name("alice.lock")


def make_old(path: Path, seconds: float) -> None:
    """Set the time of the last write back."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def open_and_close(store: StoreMbox) -> int:
    """Open alice's maildrop and return the number of messages."""
    maildrop = store.popframe_open_maildrop(ALICE)
    try:
        return len(maildrop.message_uids())
    finally:
        maildrop.close()


@contextmanager
def locked_by_another_process(spool: Path, call: str) -> Iterator[None]:
    """Hold a lock on the spool in a child process."""
    program = f"import fcntl,sys; f = open({str(spool)!r}, 'r+'); {call}; print('locked', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-I", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            child.communicate()


# --- what is taken, and given back ---


def test_all_locks_are_held_while_the_spool_is_rewritten(spool: Path, dotlock: Path) -> None:
    """Each kind keeps one agent or another out: dot-lock, fcntl, flock."""
    policy = LockPolicy(("dotlock", "fcntl", "flock"), 0, 300)
    program = f"import fcntl; f = open({str(spool)!r}, 'r+'); fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)"
    with spool.open("r+b") as ours, spool.open("r+b") as another, held_locks(str(spool), ours.fileno(), policy):
        content = dotlock.read_text()
        with pytest.raises(BlockingIOError):
            fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
        child = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    with spool.open("r+b") as another:
        fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(another, fcntl.LOCK_EX | fcntl.LOCK_NB)

    assert content == f"{os.getpid()}:{HOST}"
    assert "BlockingIOError" in child.stderr
    assert not dotlock.exists()


@pytest.mark.parametrize("kind", ["dotlock", "fcntl", "flock"])
def test_each_lock_excludes_another_thread(spool: Path, dotlock: Path, kind: LockKind) -> None:
    """Sessions are threads of one process."""
    policy = LockPolicy((kind,), 0.05, 300)
    outcomes: list[str] = []

    def try_it() -> None:
        with spool.open("r+b") as file:
            try:
                with held_locks(str(spool), file.fileno(), policy):
                    outcomes.append("locked")
            except LockTimeout:
                outcomes.append("refused")

    with spool.open("r+b") as file, held_locks(str(spool), file.fileno(), policy):
        spool.open("rb").close()  # which would drop a classic fcntl lock
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    try_it()

    assert outcomes == ["refused", "locked"]
    assert not dotlock.exists()


def test_locks_are_given_back_after_a_failure(spool: Path, dotlock: Path) -> None:
    """Also those taken before the one that could not be had."""
    policy = LockPolicy(("dotlock", "flock", "fcntl"), 0, 300)
    with locked_by_another_process(spool, "fcntl.lockf(f, fcntl.LOCK_EX)"), spool.open("r+b") as file:
        with pytest.raises(LockTimeout), held_locks(str(spool), file.fileno(), policy):
            pass
        with spool.open("r+b") as another:
            fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)

    assert not dotlock.exists()


# --- a lock that another program holds ---


@pytest.mark.parametrize("call", ["fcntl.flock(f, fcntl.LOCK_EX)", "fcntl.lockf(f, fcntl.LOCK_EX)"])
@pytest.mark.parametrize("age_seconds", [0, 100])
def test_login_ends_in_bounded_time_while_a_program_holds_the_spool(
    spool: Path, spool_dir: Path, call: str, age_seconds: int
) -> None:
    """The client is told that the maildrop is locked, written to just now or not (RFC 2449 section 8.1.2)."""
    spool.write_bytes(ONE)
    make_old(spool, age_seconds)
    store = StoreMbox(Settings(spool_dir=spool_dir, lock_timeout_seconds=0.2))
    start = time.monotonic()
    with locked_by_another_process(spool, call), pytest.raises(MaildropInUse):
        open_and_close(store)

    assert time.monotonic() - start < 10
    assert open_and_close(store) == 1


def test_login_waits_for_a_delivery_to_end(spool_dir: Path, dotlock: Path) -> None:
    """A delivery takes some milliseconds, and is not worth a refusal."""
    store = StoreMbox(Settings(spool_dir=spool_dir, lock_timeout_seconds=10))
    dotlock.touch()
    timer = threading.Timer(0.2, dotlock.unlink)
    timer.start()

    assert open_and_close(store) == 1
    timer.join()


@pytest.mark.parametrize(
    ("content", "age_seconds"),
    [
        (f"{os.getppid()}:{HOST}", 10_000),
        (f"{os.getppid()}\n", 10_000),
        (f"{DEAD_PID}:{HOST}", 10),
        (f"{DEAD_PID}:elsewhere.example.org", 10_000),
        ("", 10),
        ("0", 10),
        ("mailx", 10),
    ],
)
def test_dotlock_is_respected_while_somebody_may_hold_it(
    store: StoreMbox, dotlock: Path, content: str, age_seconds: int
) -> None:
    """It is young, or its process lives, or is on another host, where nobody can tell."""
    dotlock.write_text(content)
    make_old(dotlock, age_seconds)
    with pytest.raises(MaildropInUse):
        open_and_close(store)

    assert dotlock.read_text() == content


@pytest.mark.parametrize("content", [f"{DEAD_PID}:{HOST}", f"{DEAD_PID}\n", "", "0", "mailx", "99999999999", "-1"])
def test_dotlock_is_broken_when_it_is_old_and_nobody_holds_it(spool_dir: Path, dotlock: Path, content: str) -> None:
    """A machine that went down leaves one; without this the user would be locked out for good."""
    store = StoreMbox(Settings(spool_dir=spool_dir, lock_timeout_seconds=1, stale_dotlock_seconds=60))
    dotlock.write_text(content)
    make_old(dotlock, 100)

    assert open_and_close(store) == 1
    assert not dotlock.exists()


def test_dotlock_of_our_own_number_is_broken_only_when_it_is_from_before(spool_dir: Path, dotlock: Path) -> None:
    """In a container the server is process 1 after every restart; a lock that a thread of ours holds is not broken."""
    store = StoreMbox(Settings(spool_dir=spool_dir, lock_timeout_seconds=0.3, stale_dotlock_seconds=60))
    dotlock.write_text(f"{os.getpid()}:{HOST}")
    make_old(dotlock, 100)
    with dotlock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(MaildropInUse):
            open_and_close(store)

    assert open_and_close(store) == 1


def test_dotlock_of_a_killed_session_need_not_grow_old(spool_dir: Path, dotlock: Path) -> None:
    """The session lock tells which process died; its user gets in at once."""
    store = StoreMbox(Settings(spool_dir=spool_dir, lock_timeout_seconds=0.3))
    (spool_dir / ".alice.popframe-lock").write_text(f"{DEAD_PID} since 2026-01-05T09:00:00+00:00".ljust(39) + "\n")
    dotlock.write_text(f"{DEAD_PID}:{HOST}")

    assert open_and_close(store) == 1
    assert not dotlock.exists()


def test_dotlock_is_not_removed_when_it_is_not_ours_any_more(spool: Path, dotlock: Path) -> None:
    """Somebody broke it and made his own."""
    policy = LockPolicy(("dotlock",), 0, 300)
    with spool.open("r+b") as file, held_locks(str(spool), file.fileno(), policy):
        dotlock.unlink()
        dotlock.write_text("another's")

    assert dotlock.read_text() == "another's"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("age_seconds", [0, 100])
def test_directory_without_permission_for_the_dotlock_is_reported(age_seconds: int) -> None:
    """At every login, not only while mail arrives: an operator has to do something."""
    program = (
        "import os, sys; from popframe import Account, Refusal; from popframe_store_mbox import Settings, StoreMbox\n"
        "os.setgroups([]); os.setresgid(*[65534] * 3); os.setresuid(*[65534] * 3)\n"
        "store = StoreMbox(Settings(spool_dir=sys.argv[1], state_dir=sys.argv[1] + '/state'))\n"
        "try: store.popframe_open_maildrop(Account('alice', uid=65534))\n"
        "except Refusal as refusal: print(type(refusal).__name__, refusal)\n"
    )
    with TemporaryDirectory() as directory:
        spool = Path(directory) / "alice"
        spool.write_bytes(ONE)
        os.chown(spool, 65534, 65534)
        make_old(spool, age_seconds)
        spool.with_name("state").mkdir()
        os.chown(spool.with_name("state"), 65534, 65534)
        spool.parent.chmod(0o755)
        result = subprocess.run([sys.executable, "-c", program, directory], capture_output=True, text=True, check=False)

    assert result.stderr == ""
    assert result.stdout.startswith("PermanentFailure no permission to create the dot-lock")


# --- the update ---


def test_update_that_gets_no_lock_changes_nothing(
    store: StoreMbox, spool: Path, dotlock: Path, contents: Callable[[], dict[str, bytes]]
) -> None:
    """The client is told that the messages are not removed (RFC 1939 section 6)."""
    maildrop = store.popframe_open_maildrop(ALICE)
    dotlock.touch()
    with pytest.raises(TemporaryFailure):
        maildrop.commit({0}, set())
    maildrop.close()
    dotlock.unlink()

    assert spool.read_bytes() == ONE
    assert len(contents()) == 1


def test_no_lock_is_held_while_the_client_thinks(
    store: StoreMbox, spool: Path, dotlock: Path, open_maildrop: Callable[[], object]
) -> None:
    """Mail is delivered while a session is open, by agents of every kind."""
    open_maildrop()
    with spool.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    assert not dotlock.exists()


def test_permission_to_lock_is_asked_for_in_words_for_the_operator(tmp_path: Path) -> None:
    """A missing state directory is named in the log."""
    store = StoreMbox(Settings(spool_dir=tmp_path, state_dir=tmp_path / "nowhere"))
    with pytest.raises(PermanentFailure, match=r"/nowhere/\.alice-.*\(plugin\.store_mbox\.state_dir\): No such file"):
        open_and_close(store)
