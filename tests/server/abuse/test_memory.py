"""Where the counts are kept: what is damaged, foreign or full stops no server; what is unsafe is refused."""

from __future__ import annotations

import errno
import logging
import os
import pwd
import stat
from pathlib import Path

import pytest

from popframe import Peer
from popframe.config import AbuseSettings
from popframe.errors import ConfigError
from popframe.server.abuse.guard import LoginGuard, TooManyWrongPasswords
from popframe.server.abuse.listing import clear, entries
from popframe.server.abuse.memory import AttemptMemory, existing_memory, memory_for
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


@needs_root
def test_the_file_belongs_to_the_user_of_the_server(path: Path) -> None:
    """Root makes it, and everybody else's is refused."""
    nobody = pwd.getpwnam("nobody")
    memory_for(path, "nobody")
    assert (path.stat().st_uid, path.stat().st_gid) == (nobody.pw_uid, nobody.pw_gid)
    os.chown(path, pwd.getpwnam("daemon").pw_uid, -1)

    with pytest.raises(ConfigError, match="belongs to another user"):
        memory_for(path, "nobody")
