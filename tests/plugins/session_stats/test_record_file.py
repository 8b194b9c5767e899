"""The file of the records: whole lines from many processes, moved away, full, or out of reach."""

from __future__ import annotations

import logging
import os
import resource
import signal
import stat
import threading
import time
from pathlib import Path

import pytest

from popframe_session_stats.record_file import RecordFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the file is to be."""
    return tmp_path / "sessions"


def test_lines_are_appended(path: Path) -> None:
    """What was there stays; the file is not for everybody."""
    path.write_text("before\n")
    path.chmod(0o600)
    record_file = RecordFile(path)
    record_file.append("one")
    record_file.append("two")

    assert path.read_text() == "before\none\ntwo\n"


def test_new_file_is_for_its_owner_and_the_group_to_read(path: Path) -> None:
    """It has user names."""
    old = os.umask(0)
    try:
        RecordFile(path).append("one")
    finally:
        os.umask(old)

    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_file_that_was_moved_away_is_opened_anew(path: Path) -> None:
    """As logrotate does it, with ``create`` and without."""
    record_file = RecordFile(path)
    record_file.append("one")
    path.rename(path.with_suffix(".1"))
    record_file.append("two")
    path.rename(path.with_suffix(".2"))
    path.touch()
    record_file.append("three")

    assert path.with_suffix(".1").read_text() == "one\n"
    assert path.with_suffix(".2").read_text() == "two\n"
    assert path.read_text() == "three\n"


def test_file_that_was_cut_is_appended_to(path: Path) -> None:
    """As logrotate does it with ``copytruncate``."""
    record_file = RecordFile(path)
    record_file.append("one")
    os.truncate(path, 0)
    record_file.append("two")

    assert path.read_bytes() == b"two\n"


def test_a_hundred_rotations_leak_no_descriptor(path: Path) -> None:
    """The old file is closed."""
    record_file = RecordFile(path)
    record_file.append("first")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        path.unlink()
        record_file.append("one")

    assert len(os.listdir("/proc/self/fd")) == before


def test_lines_of_many_processes_and_threads_stay_whole_while_the_file_is_rotated(path: Path) -> None:
    """Each line is there once, in one of the files."""
    record_file = RecordFile(path)
    children = []
    for number in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                threads = [
                    threading.Thread(target=lambda mark=f"{number}-{thread}": write(record_file, mark))
                    for thread in range(3)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            finally:
                os._exit(0)
        children.append(pid)
    rotations = 0
    while children:
        if path.exists():
            path.rename(path.with_suffix(f".{rotations}"))
            rotations += 1
        children = [pid for pid in children if not os.waitpid(pid, os.WNOHANG)[0]]
        time.sleep(0.001)

    lines = [line for file in path.parent.iterdir() for line in file.read_text().splitlines()]
    assert rotations
    assert sorted(lines) == sorted(
        f"{number}-{thread} {line} {'x' * 500}" for number in range(4) for thread in range(3) for line in range(200)
    )


def write(record_file: RecordFile, mark: str) -> None:
    """Write two hundred lines."""
    for line in range(200):
        record_file.append(f"{mark} {line} {'x' * 500}")


def test_what_cannot_be_written_is_told_once_a_minute(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder in the place of the file; no exception comes out."""
    path.mkdir()
    record_file = RecordFile(path)
    with caplog.at_level(logging.ERROR):
        for _ in range(10):
            record_file.append("one")

    assert [record.getMessage() for record in caplog.records] == [
        f"cannot write sessions to {path}: Is a directory; 1 not recorded"
    ]


def test_file_is_written_again_once_it_can_be(path: Path) -> None:
    """The folder was missing for a while."""
    record_file = RecordFile(path / "file")
    record_file.append("lost")
    path.mkdir()
    record_file.append("kept")

    assert (path / "file").read_text() == "kept\n"


def test_symbolic_link_is_not_followed(path: Path) -> None:
    """Somebody else may have put it there."""
    target = path.with_name("target")
    path.symlink_to(target)
    RecordFile(path).append("one")

    assert not target.exists()


def test_pipe_that_nobody_reads_keeps_nobody(path: Path) -> None:
    """The line is lost, at once."""
    os.mkfifo(path)
    started = time.monotonic()
    RecordFile(path).append("one")

    assert time.monotonic() - started < 5


def test_line_that_a_full_disk_has_cut_does_not_spoil_the_next(path: Path) -> None:
    """What follows begins a line of its own; a limit on the size of files is as good as a full disk."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            record_file = RecordFile(path)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
            record_file.append("whole77")  # 8 octets
            record_file.append("cut-off")  # 2 fit
            record_file.append("lost")
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            record_file.append("next")
            status = 0
        finally:
            os._exit(status)

    assert os.waitpid(pid, 0)[1] == 0
    assert path.read_text() == "whole77\ncu\nnext\n"
