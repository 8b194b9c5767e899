"""Where the counts are kept: what is damaged, foreign or full stops no server; what is unsafe is refused."""

from __future__ import annotations

import errno
import logging
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from popframe import Peer
from popframe.config import AbuseSettings
from popframe.errors import ConfigError
from popframe.server.abuse.guard import LoginGuard, TooManyWrongPasswords
from popframe.server.abuse.listing import clear, entries
from popframe.server.abuse.memory import AttemptMemory, check_state_file, existing_memory, memory_for
from popframe.server.abuse.storage import SharedFile
from popframe.server.log import FIELDS

SETTINGS = AbuseSettings(max_wrong_passwords=2)
ATTACKER = Peer("203.0.113.66")
ATTACKER_AT_HOME = Peer("192.0.2.1")
"""Where carol has logged in, too."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away: run as root")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the file may be."""
    return tmp_path / "attempts"


def guess(memory: AttemptMemory, peer: Peer, username: str, password: bytes) -> None:
    """Try a wrong password."""
    guard = LoginGuard(memory, SETTINGS)
    guard.failed(guard.begin(peer, username, lambda _seconds: True), password)


def is_refused(memory: AttemptMemory) -> bool:
    """Tell whether the attacker is refused."""
    guard = LoginGuard(memory, SETTINGS)
    try:
        guard.withdrawn(guard.begin(ATTACKER, "bob", lambda _seconds: True))
    except TooManyWrongPasswords:
        return True
    return False


def test_what_was_counted_survives_a_restart(path: Path) -> None:
    """Whoever was refused is refused by the next server; the file is for its owner alone (H-048)."""
    memory = memory_for(path, None)
    guess(memory, ATTACKER, "alice", b"1")
    guess(memory, ATTACKER, "alice", b"2")

    guard = LoginGuard(memory, SETTINGS)
    guard.succeeded(guard.begin(ATTACKER_AT_HOME, "carol", lambda _seconds: True))
    guess(memory, ATTACKER_AT_HOME, "dave", b"1")
    guess(memory, ATTACKER_AT_HOME, "dave", b"2")

    later = memory_for(path, None)
    assert is_refused(later)
    again = LoginGuard(later, SETTINGS)
    again.succeeded(again.begin(ATTACKER_AT_HOME, "carol", lambda _seconds: True))  # she is no stranger there
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_list_says_who_is_refused_and_until_when(path: Path) -> None:
    """Refused ones first; user names that were tried stand by themselves."""
    memory = memory_for(path, None)
    guess(memory, Peer("2001:db8::1"), "carol", b"1")
    guess(memory, ATTACKER, "alice", b"1")
    guess(memory, ATTACKER, "Bob", b"1")

    listed = entries(existing_memory(path, None), SETTINGS)
    assert [(entry.network, entry.username, entry.wrong_passwords) for entry in listed] == [
        ("203.0.113.66", "", 2),
        ("", "alice", 1),
        ("", "bob", 1),
        ("", "carol", 1),
        ("2001:db8::/64", "", 1),
    ]
    assert listed[0].until is not None
    assert listed[0].until == pytest.approx(listed[0].since + SETTINGS.forget_after_seconds)
    assert {entry.until for entry in listed[1:]} == {None}


@pytest.mark.parametrize(
    ("subject", "left"),
    [
        ("203.0.113.66", {"alice", "carol", "2001:db8::/64"}),
        ("2001:db8::99", {"203.0.113.66", "alice", "carol"}),
        ("2001:db8::/64", {"203.0.113.66", "alice", "carol"}),
        ("ALICE", {"203.0.113.66", "carol", "2001:db8::/64"}),
        ("nobody", {"203.0.113.66", "alice", "carol", "2001:db8::/64"}),
        (None, set()),
    ],
)
def test_an_operator_can_have_something_forgotten(path: Path, subject: str | None, left: set[str]) -> None:
    """An address, an IPv6 network by any address in it, a user, or everything; it holds for the server at once."""
    memory = memory_for(path, None)
    guess(memory, Peer("2001:db8::1"), "carol", b"1")
    guess(memory, ATTACKER, "alice", b"1")
    guess(memory, ATTACKER, "alice", b"2")

    count = clear(existing_memory(path, None), SETTINGS, subject)
    assert {entry.network or entry.username for entry in entries(memory, SETTINGS)} == left
    assert count == 4 - len(left)
    assert is_refused(memory) == ("203.0.113.66" in left)


@pytest.mark.parametrize("damage", ["cut off", "begins wrong", "empty", "too long"])
def test_a_damaged_file_is_begun_anew(path: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    """The server starts, and says so; there is room for everything again."""
    memory = memory_for(path, None)
    octets = memory.file.size()
    guess(memory, ATTACKER, "alice", b"1")
    content = path.read_bytes()
    damaged = {
        "cut off": content[:40],
        "begins wrong": b"?" * 64 + content[64:],
        "empty": b"",
        "too long": content[:40] + b"?" * 24 + content,
    }[damage]
    path.write_bytes(damaged)
    if damage != "empty":
        with pytest.raises(ConfigError, match="is not whole; the server mends it"):
            existing_memory(path, None)
    caplog.set_level(logging.INFO, "popframe")

    memory = memory_for(path, None)
    assert entries(memory, SETTINGS) == []
    assert path.stat().st_size == octets
    guess(memory, ATTACKER, "alice", b"1")
    assert len(entries(existing_memory(path, None), SETTINGS)) == 2
    assert [record.getMessage() for record in caplog.records] == ["attempts-damaged"] * (damage != "empty")


def test_a_file_of_something_else_is_left_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A slip in the configuration costs nobody a file, and the server counts in memory."""
    path.write_text("important\n")
    caplog.set_level(logging.INFO, "popframe")

    memory = memory_for(path, None)
    guess(memory, ATTACKER, "alice", b"1")
    assert len(entries(memory, SETTINGS)) == 2
    assert path.read_text() == "important\n"
    assert [record.getMessage() for record in caplog.records] == ["attempts-not-kept"]
    assert "left alone" in getattr(caplog.records[0], FIELDS)["reason"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_without_room_stops_no_server(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It counts in memory, and says so."""

    def fail(self: SharedFile, octets: int, *, takes_room: bool) -> None:
        if takes_room:
            raise OSError(number, os.strerror(number))
        make_empty(self, octets, takes_room=takes_room)

    make_empty = SharedFile.make_empty
    monkeypatch.setattr(SharedFile, "make_empty", fail)
    caplog.set_level(logging.INFO, "popframe")

    memory = memory_for(path, None)
    guess(memory, ATTACKER, "alice", b"1")
    assert len(entries(memory, SETTINGS)) == 2
    assert [record.getMessage() for record in caplog.records] == ["attempts-not-kept"]


def test_a_folder_that_is_missing_is_told(path: Path) -> None:
    """That is a mistake in the configuration."""
    with pytest.raises(ConfigError, match=r"abuse\.state_file: cannot use .*/missing/attempts: No such file"):
        memory_for(path.parent / "missing" / "attempts", None)


@pytest.mark.parametrize("kind", ["symbolic link", "second name", "pipe", "folder"])
def test_what_somebody_has_put_there_is_refused(path: Path, kind: str) -> None:
    """Whoever may write into the folder must not lead root to another file."""
    other = path.with_name("other")
    other.write_text("important\n")
    {
        "symbolic link": lambda: path.symlink_to(other),
        "second name": lambda: os.link(other, path),
        "pipe": lambda: os.mkfifo(path),
        "folder": lambda: path.mkdir(),
    }[kind]()

    with pytest.raises(ConfigError, match=r"abuse\.state_file: "):
        memory_for(path, None)
    assert other.read_text() == "important\n"


def state_of(path: Path) -> dict[str, tuple[object, ...]]:
    """Return everything in a folder, with its state and content, but for when it was read."""
    state: dict[str, tuple[object, ...]] = {}
    for entry in path.parent.iterdir():
        status = entry.lstat()
        content = entry.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        state[entry.name] = (
            status.st_ino,
            status.st_mode,
            status.st_uid,
            status.st_mtime_ns,
            status.st_ctime_ns,
            content,
        )
    return state


@pytest.mark.parametrize("kind", ["nothing", "new", "damaged", "empty"])
def test_check_finds_a_place_that_can_be_used(path: Path, kind: str) -> None:
    """And makes nothing, nor mends anything there."""
    check_state_file(None, None)
    if kind != "nothing":
        memory_for(path, None).file.close()
    if kind == "damaged":
        path.write_bytes(b"?" * 64 + path.read_bytes()[64:])
    if kind == "empty":
        path.write_bytes(b"")
    before = state_of(path)

    check_state_file(path, None)
    assert state_of(path) == before


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("symbolic link", "cannot use .*: Too many levels of symbolic links"),
        ("link to nowhere", "cannot use .*: Too many levels of symbolic links"),
        ("second name", "is not a regular file with one name"),
        ("pipe", "is not a regular file with one name"),
        ("folder", "cannot use .*: Is a directory"),
        ("below a file", "cannot use .*: Not a directory"),
        ("folder missing", "cannot use .*: No such file or directory"),
    ],
)
def test_check_tells_what_would_stop_the_start(path: Path, kind: str, reason: str) -> None:
    """In the same words, and without a trace."""
    other = path.with_name("other")
    other.write_text("important\n")
    match kind:
        case "symbolic link":
            path.symlink_to(other)
        case "link to nowhere":
            path.symlink_to("nowhere")
        case "second name":
            os.link(other, path)
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "below a file":
            path = other / "attempts"
        case "folder missing":
            path = path.parent / "missing" / "attempts"
    before = state_of(other)

    with pytest.raises(ConfigError, match=rf"^abuse\.state_file: .*{reason}$") as told:
        check_state_file(path, None)
    assert state_of(other) == before
    with pytest.raises(ConfigError) as stopped:
        memory_for(path, None)
    assert str(told.value) == str(stopped.value)


def test_check_tells_a_file_of_something_else(path: Path) -> None:
    """The server would start, and forget everything with each restart: that is not what the setting is for."""
    path.write_text("important\n")
    before = state_of(path)

    with pytest.raises(ConfigError, match=r"attempts: this file is not one of popframe's: .* would not be kept$"):
        check_state_file(path, None)
    assert state_of(path) == before


@needs_root
def test_check_tells_whose_file_it_is(path: Path) -> None:
    """As the server would be told, for the user that it becomes."""
    memory_for(path, "nobody").file.close()
    check_state_file(path, "nobody")
    os.chown(path, pwd.getpwnam("daemon").pw_uid, -1)

    with pytest.raises(ConfigError, match="belongs to another user"):
        check_state_file(path, "nobody")


@needs_root
def test_check_tells_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """By whoever runs it: a server that is started as this user could not either."""
    folder = tmp_path / "state"
    folder.mkdir()
    program = (
        "import os, sys; from pathlib import Path; from popframe.server.abuse.memory import check_state_file\n"
        "os.chdir(sys.argv[1]); os.seteuid(int(sys.argv[2])); check_state_file(Path('attempts'), None)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder), "65534"], capture_output=True, text=True)
    folder.chmod(0o777)
    tried_again = subprocess.run([sys.executable, "-c", program, str(folder), "65534"], capture_output=True, text=True)

    assert done.stderr.endswith("ConfigError: abuse.state_file: cannot use attempts: Permission denied\n")
    assert (tried_again.returncode, tried_again.stderr) == (0, "")
    assert list(folder.iterdir()) == []


@needs_root
def test_check_tells_a_disk_that_is_read_only(tmp_path: Path) -> None:
    """Root may write everywhere but there. The mount is seen by this one process, and ends with it."""
    program = (
        "import sys; from pathlib import Path; from popframe.server.abuse.memory import check_state_file\n"
        "check_state_file(Path(sys.argv[1], 'attempts'), None)"
    )
    shell = 'mount -t tmpfs -o ro none "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--mount", "sh", "-c", shell, "sh", str(tmp_path), sys.executable, program]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.stderr.endswith(
        f"ConfigError: abuse.state_file: cannot use {tmp_path}/attempts: Read-only file system\n"
    )


@needs_root
def test_the_file_belongs_to_the_user_of_the_server(path: Path) -> None:
    """Root makes it, and everybody else's is refused."""
    nobody = pwd.getpwnam("nobody")
    memory_for(path, "nobody")
    assert (path.stat().st_uid, path.stat().st_gid) == (nobody.pw_uid, nobody.pw_gid)
    os.chown(path, pwd.getpwnam("daemon").pw_uid, -1)

    with pytest.raises(ConfigError, match="belongs to another user"):
        memory_for(path, "nobody")
