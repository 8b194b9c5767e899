"""Which files are served as mail, which never are, and where they are looked for."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from popframe import Account, AuthenticationFailed, MaildropInUse, PermanentFailure, Refusal
from popframe_store_mbox import Settings, StoreMbox

ONE = b"From bob@example.org Mon Jan  5 09:00:00 2026\nSubject: a\n\nb\n\n"
ALICE = Account("alice")


def uids_of(store: StoreMbox, account: Account) -> list[str]:
    """Return the unique-ids in an account's maildrop."""
    maildrop = store.popframe_open_maildrop(account)
    try:
        return list(maildrop.message_uids())
    finally:
        maildrop.close()


@pytest.mark.parametrize("content", [None, b"", b"\n"])
def test_user_without_mail_has_an_empty_maildrop(store: StoreMbox, spool: Path, content: bytes | None) -> None:
    """No spool, one of zero octets, or one that a program left empty (RFC 1939 section 5, STAT)."""
    if content is not None:
        spool.write_bytes(content)
    maildrop = store.popframe_open_maildrop(ALICE)
    found = list(maildrop.message_octets()), list(maildrop.message_uids())
    maildrop.commit(set(), set())
    maildrop.close()

    assert found == ([], [])
    assert (spool.read_bytes() if spool.exists() else None) == content


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../alice",
        "a/b",
        "/etc/passwd",
        ".hidden",
        "-rf",
        "a\0b",
        "a\nb",
        "a\x7f",
        "alice.lock",
        "a" * 201,
    ],
)
def test_name_that_is_no_file_name_is_an_unknown_user(store: StoreMbox, spool_dir: Path, name: str) -> None:
    """It is refused with the words for a wrong password, and no file is looked at (RFC 3206 section 5)."""
    before = sorted(spool_dir.rglob("*"))
    with pytest.raises(AuthenticationFailed):
        store.popframe_open_maildrop(Account(name))

    assert sorted(spool_dir.rglob("*")) == before


@pytest.mark.parametrize("name", ["alice", "alice.b", "alice@example.org", "a-b", "älice", "ALICE", "alice+x", "a b"])
def test_other_name_is_that_of_a_spool(store: StoreMbox, spool_dir: Path, name: str) -> None:
    """Names of virtual users have dots, signs and letters of every script."""
    (spool_dir / name).write_bytes(ONE)

    assert len(uids_of(store, Account(name))) == 1


def test_account_may_name_its_maildrop(store: StoreMbox, spool_dir: Path, tmp_path: Path) -> None:
    """A relative name is inside the spool directory, an absolute one is taken as it is."""
    (spool_dir / "example.org").mkdir()
    (spool_dir / "example.org" / "alice").write_bytes(ONE)
    (tmp_path / "inbox").write_bytes(ONE * 2)

    assert len(uids_of(store, Account("alice", maildrop="example.org/alice"))) == 1
    assert len(uids_of(store, Account("alice", maildrop=str(tmp_path / "inbox")))) == 2


@pytest.mark.parametrize("maildrop", ["../alice", "a/../../b", "/", "a//b", "a/", "/var/../etc/x", "a\0b", ".alice"])
def test_maildrop_that_leads_elsewhere_is_refused(store: StoreMbox, maildrop: str) -> None:
    """A slip in the accounts must not open another file."""
    with pytest.raises(PermanentFailure, match="not a path that names a spool"):
        store.popframe_open_maildrop(Account("alice", maildrop=maildrop))


def test_missing_spool_directory_is_not_an_empty_maildrop(tmp_path: Path) -> None:
    """Clients that keep mail in step with the server would remove theirs."""
    (tmp_path / "state").mkdir()
    store = StoreMbox(Settings(spool_dir=tmp_path / "nowhere", state_dir=tmp_path / "state"))
    with pytest.raises(PermanentFailure, match="no directory"):
        store.popframe_open_maildrop(ALICE)


def test_missing_spool_under_a_dotlock_is_not_an_empty_maildrop(store: StoreMbox, spool: Path) -> None:
    """An agent that replaces the spool has it for a moment without one; when its lock is stale, there is no mail."""
    dotlock = spool.with_name("alice.lock")
    dotlock.write_text(f"{os.getppid()}")
    with pytest.raises(MaildropInUse, match="dot-lock"):
        store.popframe_open_maildrop(ALICE)
    dotlock.write_text("")
    os.utime(dotlock, (0, 0))
    maildrop = store.popframe_open_maildrop(ALICE)

    assert list(maildrop.message_octets()) == []
    assert not dotlock.exists()
    maildrop.close()


# --- files that are not this user's mail ---


def make_symlink(spool: Path) -> None:
    """Make a link to another user's mail."""
    spool.with_name("bob").write_bytes(ONE)
    spool.symlink_to("bob")


def make_dangling_symlink(spool: Path) -> None:
    """Make a link to nothing."""
    spool.symlink_to("nowhere")


def make_hard_link(spool: Path) -> None:
    """Make a second name for another user's mail."""
    spool.with_name("bob").write_bytes(ONE)
    os.link(spool.with_name("bob"), spool)


def make_fifo(spool: Path) -> None:
    """Make a pipe."""
    os.mkfifo(spool)


def make_socket(spool: Path) -> None:
    """Make a socket."""
    here = Path.cwd()
    os.chdir(spool.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(spool.name)
    finally:
        os.chdir(here)


def make_directory(spool: Path) -> None:
    """Make a directory, as of a Maildir."""
    spool.mkdir()


@pytest.mark.parametrize(
    "make", [make_symlink, make_dangling_symlink, make_hard_link, make_fifo, make_socket, make_directory]
)
def test_spool_that_is_no_plain_file_is_refused_at_once(
    store: StoreMbox, spool: Path, make: Callable[[Path], None]
) -> None:
    """Nobody reads another's mail through a link, and nothing blocks on opening."""
    make(spool)
    start = time.monotonic()
    with pytest.raises(PermanentFailure):
        store.popframe_open_maildrop(ALICE)

    assert time.monotonic() - start < 5
    assert not (spool_bob := spool.with_name("bob")).exists() or spool_bob.read_bytes() == ONE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_spool_of_another_user_is_refused(store: StoreMbox, spool: Path) -> None:
    """The owner of the file is the user of the account."""
    spool.write_bytes(ONE)
    os.chown(spool, 1001, 1001)
    with pytest.raises(PermanentFailure, match="belongs to user 1001, not to 1002"):
        store.popframe_open_maildrop(Account("alice", uid=1002))

    assert len(uids_of(store, Account("alice", uid=1001))) == 1


def test_file_that_is_no_mbox_is_refused_and_left_alone(store: StoreMbox, spool: Path) -> None:
    """Nothing is guessed at and nothing lost; the log says what was found."""
    spool.write_bytes(b"#!/bin/sh\necho hello\n")
    with pytest.raises(PermanentFailure, match="#!/bin/sh"):
        store.popframe_open_maildrop(ALICE)

    assert spool.read_bytes() == b"#!/bin/sh\necho hello\n"


def test_refused_login_holds_nothing(store: StoreMbox, spool: Path) -> None:
    """As soon as the operator has mended the spool, the user gets in."""
    spool.mkdir()
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(PermanentFailure):
        store.popframe_open_maildrop(ALICE)
    spool.rmdir()
    spool.write_bytes(ONE)

    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert len(uids_of(store, ALICE)) == 1


# --- one session at a time ---


def test_second_session_is_told_who_has_the_maildrop(store: StoreMbox, spool: Path) -> None:
    """The log says since when, and which process (RFC 2449 section 8.1.2)."""
    maildrop = store.popframe_open_maildrop(ALICE)
    with pytest.raises(MaildropInUse, match=rf"since 20\d\d-\S+ by process {os.getpid()}"):
        store.popframe_open_maildrop(ALICE)
    maildrop.close()

    assert uids_of(store, ALICE) == []


def test_two_names_of_one_spool_are_one_maildrop(tmp_path: Path, spool_dir: Path) -> None:
    """With a state directory of its own too, a path through a link leads to the same lock."""
    (tmp_path / "state").mkdir()
    (tmp_path / "link").symlink_to(spool_dir)
    store = StoreMbox(Settings(spool_dir=spool_dir, state_dir=tmp_path / "state"))
    maildrop = store.popframe_open_maildrop(ALICE)
    with pytest.raises(MaildropInUse):
        store.popframe_open_maildrop(Account("alice", maildrop=str(tmp_path / "link" / "alice")))
    maildrop.close()


def test_spools_of_one_name_in_two_directories_are_two_maildrops(tmp_path: Path) -> None:
    """``inbox`` of one user is not ``inbox`` of the other."""
    for name in ("state", "a", "b"):
        (tmp_path / name).mkdir()
    store = StoreMbox(Settings(spool_dir=tmp_path, state_dir=tmp_path / "state"))
    maildrop = store.popframe_open_maildrop(Account("alice", maildrop="a/inbox"))
    try:
        assert uids_of(store, Account("bob", maildrop="b/inbox")) == []
    finally:
        maildrop.close()


@pytest.mark.parametrize("kind", ["directory", "symlink"])
def test_lock_that_somebody_else_put_there_is_not_touched(
    store: StoreMbox, spool: Path, refusal_of: Callable[[Callable[[], object]], Refusal], kind: str
) -> None:
    """In a directory that everybody can write to, a stranger's file is not written into."""
    lock = spool.with_name(".alice.popframe-lock")
    if kind == "directory":
        lock.mkdir()
    else:
        spool.with_name("precious").write_bytes(b"precious")
        lock.symlink_to("precious")

    assert isinstance(refusal_of(lambda: store.popframe_open_maildrop(ALICE)), PermanentFailure)
    assert kind == "directory" or spool.with_name("precious").read_bytes() == b"precious"


def test_session_leaves_nothing_but_its_lock_file(store: StoreMbox, spool: Path) -> None:
    """That one is hidden, 0600, and of no meaning for any mail program."""
    spool.write_bytes(ONE * 3)
    spool.chmod(0o660)
    maildrop = store.popframe_open_maildrop(ALICE)
    maildrop.commit({1}, set())
    maildrop.close()

    assert sorted(os.listdir(spool.parent)) == [".alice.popframe-lock", "alice"]
    assert stat.S_IMODE(spool.with_name(".alice.popframe-lock").stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.stat().st_mode) == 0o660


# --- settings ---


@pytest.mark.parametrize(
    "settings",
    [
        {"locks": []},
        {"locks": ["dotlock", "dotlock"]},
        {"locks": ["lockf"]},
        {"lock_timeout_seconds": -1},
        {"lock_timeout_seconds": 3600},
        {"stale_dotlock_seconds": 1},
        {"spool": "/var/mail"},
    ],
)
def test_setting_that_makes_no_sense_is_refused(settings: dict[str, object]) -> None:
    """The operator hears of it at the start of the server, not a user at his login."""
    with pytest.raises(ValidationError):
        Settings.model_validate_json(json.dumps(settings))


def test_settings_have_the_defaults_of_a_unix_host() -> None:
    """Spools in /var/mail, all three locks in the order of the agents."""
    settings = Settings()

    assert settings.spool_dir == Path("/var/mail")
    assert settings.locks == ("dotlock", "fcntl", "flock")
