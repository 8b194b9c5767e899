"""Replacing the file when the process is killed, the disk is full, or somebody else is writing."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from popframe_auth_file import rewriting
from popframe_auth_file.rewriting import rewrite

StampOf = Callable[[Path], tuple[int, ...]]

OLD = b"old content\n" * 1000
NEW = b"new content\n" * 2000

CALLS = ("fchown", "fchmod", "write", "fsync", "rename", "renameat", "renameat2", "linkat", "unlinkat")
"""System calls by which the file system changes, besides the one that makes the temporary file."""

SCRIPT = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("rewriting", sys.argv[1])
rewriting = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rewriting)
new = b"new content\\n" * 2000
try:
    rewriting.rewrite(pathlib.Path(sys.argv[2]), lambda content: new)
except OSError as error:
    sys.exit(error.errno)
"""
"""Rewrites the file, and imports nothing else: dozens of these run under strace."""

AS_NOBODY = """
import importlib.util, os, pathlib, sys
spec = importlib.util.spec_from_file_location("rewriting", sys.argv[1])
rewriting = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rewriting)
os.chdir(sys.argv[2])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    rewriting.rewrite(pathlib.Path("users"), lambda content: content + b"more\\n")
except OSError as error:
    sys.exit(error.strerror)
"""
"""Rewrites the file ``users`` as somebody who could not come into its folder by the path that pytest gives it."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@pytest.fixture(params=["existing", "new"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return the path of a file with OLD in it, and of one that is not there yet."""
    path = tmp_path / "users"
    if request.param == "existing":
        path.write_bytes(OLD)
        path.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534)
    return path


def content_of(path: Path) -> bytes | None:
    """Return what is in the file; None if there is none."""
    return path.read_bytes() if path.exists() else None


def trace(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Rewrite the file in a process under strace."""
    script = [sys.executable, "-B", "-S", "-E", "-c", SCRIPT, rewriting.__file__, str(path)]
    strace = ["strace", "-qq", "-o", str(path.with_suffix(".trace")), "-e", f"trace={','.join(CALLS)}"]
    return subprocess.run([*strace, *options, *script], capture_output=True, text=True, check=False)


def as_nobody(folder: Path) -> subprocess.CompletedProcess[str]:
    """Rewrite the file ``users`` of a folder as a user who owns nothing else."""
    script = [sys.executable, "-B", "-S", "-E", "-c", AS_NOBODY, rewriting.__file__, str(folder)]
    return subprocess.run(script, capture_output=True, text=True, check=False)


def calls_of(path: Path) -> Iterator[tuple[str, int]]:
    """Yield every traced system call of a rewriting, with how often it was called before."""
    seen: dict[str, int] = {}
    for line in path.with_suffix(".trace").read_text().splitlines():
        if match := re.match(r"(\w+)\(", line):
            seen[match.group(1)] = seen.get(match.group(1), 0) + 1
            yield match.group(1), seen[match.group(1)]


def restore(path: Path, before: bytes | None) -> None:
    """Put everything back as it was."""
    for other in path.parent.iterdir():
        if other != path:
            other.unlink()
    if before is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(before)


@needs_strace
def test_killed_process_leaves_the_old_or_the_new_file(path: Path) -> None:
    """SIGKILL before any system call: whole content, right owner and mode, and the next writer is not stopped."""
    before = content_of(path)
    owner = (path.stat().st_uid, path.stat().st_gid) if before is not None else (os.geteuid(), os.getegid())
    assert trace(path).returncode == 0
    calls = list(calls_of(path))
    contents = set()
    for call, number in calls:
        restore(path, before)
        done = trace(path, "-e", f"inject={call}:signal=KILL:when={number}")
        assert done.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}, (call, number, done)
        content = content_of(path)
        contents.add(content)
        assert content in {before, NEW}, (call, number)
        if content is not None:
            status = path.stat()
            assert (status.st_uid, status.st_gid) == owner
            assert stat.S_IMODE(status.st_mode) == (0o640 if before else 0o600)
        rewrite(path, lambda content: content + b"next\n", lock_seconds=1)
        assert path.read_bytes() == (content or b"") + b"next\n"

    assert len(calls) >= 5
    assert contents == {before, NEW}


@needs_strace
@pytest.mark.parametrize(
    ("call", "error"),
    [("write", "ENOSPC"), ("write", "EDQUOT"), ("fsync", "EIO"), ("fchmod", "EPERM"), ("fsync", "ENOSPC")],
)
def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, call: str, error: str) -> None:
    """A full disk: an error for the caller, the old content in place, no temporary file."""
    path = tmp_path / "users"
    path.write_bytes(OLD)
    done = trace(path, "-e", f"inject={call}:error={error}:when=1")

    assert done.returncode != 0
    assert path.read_bytes() == OLD
    assert {*os.listdir(tmp_path)} == {"users", "users.trace"}


@needs_strace
def test_short_write_is_completed(tmp_path: Path) -> None:
    """A write(2) that takes only a part is no error and loses nothing."""
    path = tmp_path / "users"
    path.write_bytes(OLD)
    done = trace(path, "-e", "inject=write:retval=0:when=1")

    assert done.returncode == 0
    assert path.read_bytes() == NEW


def test_writers_of_many_threads_lose_nothing(tmp_path: Path) -> None:
    """Every change starts from the one before it."""
    path = tmp_path / "users"

    def write(name: bytes) -> None:
        for _ in range(20):
            rewrite(path, lambda content: content + name)

    threads = [threading.Thread(target=write, args=(name,)) for name in (b"a", b"b", b"c", b"d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(path.read_text()) == sorted("abcd" * 20)
    assert os.listdir(tmp_path) == ["users"]


def test_reader_never_sees_a_part(tmp_path: Path) -> None:
    """The content is the old or the new one at every moment."""
    path = tmp_path / "users"
    path.write_bytes(OLD)
    stop = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not stop.is_set():
            seen.add(path.read_bytes())

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(50):
        rewrite(path, lambda content: NEW if content == OLD else OLD)
    stop.set()
    thread.join()

    assert seen <= {OLD, NEW}


def test_writer_waits_for_another_one(tmp_path: Path) -> None:
    """Whoever comes second starts when the first has finished."""
    path = tmp_path / "users"
    path.write_bytes(OLD)
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        threading.Timer(0.2, fcntl.flock, (other.fileno(), fcntl.LOCK_UN)).start()
        start = time.monotonic()
        rewrite(path, lambda content: NEW)
        waited = time.monotonic() - start

    assert waited > 0.15
    assert path.read_bytes() == NEW


def test_writer_does_not_wait_for_ever(tmp_path: Path) -> None:
    """A process that hangs with the lock in its hand is told of."""
    path = tmp_path / "users"
    path.write_bytes(OLD)
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match=r"another process keeps .*users locked"):
            rewrite(path, lambda content: NEW, lock_seconds=0.1)

    assert path.read_bytes() == OLD


def test_edit_that_raises_changes_nothing(path: Path) -> None:
    """Whoever finds something wrong with the content leaves everything as it is."""
    before = content_of(path)

    def refuse(content: bytes) -> bytes:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        rewrite(path, refuse)
    assert content_of(path) == before
    assert os.listdir(path.parent) == (["users"] if before else [])


@needs_root
@pytest.mark.parametrize(
    ("folder_mode", "owner", "file_mode", "reason"),
    [
        (0o755, 65534, 0o600, "no file can be made beside it: Permission denied"),
        (0o777, 0, 0o666, "its owner and group cannot be kept: Operation not permitted"),
        (0o777, 65534, 0o400, "Permission denied"),
        (0o777, 0, 0o640, "Permission denied"),
    ],
    ids=["folder", "owner", "read-only", "unreadable"],
)
def test_what_the_system_forbids_changes_nothing(
    tmp_path: Path, stamp_of: StampOf, folder_mode: int, owner: int, file_mode: int, reason: str
) -> None:
    """The message says what is forbidden; nothing is left in the folder."""
    path = tmp_path / "users"
    path.write_bytes(OLD)
    os.chown(path, owner, owner)
    path.chmod(file_mode)
    tmp_path.chmod(folder_mode)
    before = stamp_of(path)
    done = as_nobody(tmp_path)

    assert (done.returncode, done.stderr) == (1, f"{reason}\n")
    assert stamp_of(path) == before
    assert os.listdir(tmp_path) == ["users"]


@needs_root
def test_owner_needs_no_privilege(tmp_path: Path) -> None:
    """Whoever owns file and folder can change the file."""
    path = tmp_path / "users"
    path.write_bytes(OLD)
    for owned in (path, tmp_path):
        os.chown(owned, 65534, 65534)
    path.chmod(0o640)
    done = as_nobody(tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_bytes() == OLD + b"more\n"
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (65534, 0o640)


def test_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """Of two that would make the file, the second changes what the first has made."""
    path = tmp_path / "users"
    contents: list[bytes] = []

    def edit(content: bytes) -> bytes:
        if not contents:
            path.write_bytes(b"first\n")
        contents.append(content)
        return content + b"second\n"

    rewrite(path, edit)

    assert contents == [b"", b"first\n"]
    assert path.read_bytes() == b"first\nsecond\n"
    assert os.listdir(tmp_path) == ["users"]
