"""Dot-locks where only group ``mail`` may create files, as in Debian's /var/mail, for a session of a user."""

from __future__ import annotations

import grp
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from popframe import Account, MaildropInUse
from popframe_store_mbox import Settings, StoreMbox
from popframe_store_mbox.dotlock_helper import DEFAULT_HELPER
from popframe_store_mbox.lock import held_locks
from popframe_store_mbox.place import find_place
from popframe_store_mbox.tools.locks.judgement import judge
from popframe_store_mbox.tools.locks.trial import Outcome, try_locks
from popframe_store_mbox.tools.locks.user import User

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes another user"),
    pytest.mark.skipif(not os.access(DEFAULT_HELPER, os.X_OK), reason="needs dotlockfile (Debian: liblockfile-bin)"),
]

USER = 64_321
"""A number that no account of the machine has; the helper asks for none."""

ENTRY = b"From a@example.org Mon Jan  5 09:00:00 2026\nSubject: a\n\nhi\n\n"
ACCOUNT = Account("alice", uid=USER, gid=USER)


@dataclass
class Site:
    """A directory like Debian's, and another for the session's own files."""

    spool: Path
    state_dir: Path

    @property
    def dotlock(self) -> Path:
        """The dot-lock."""
        return self.spool.with_name("alice.lock")

    def settings(self, **others: object) -> Settings:
        """Return the plugin's settings."""
        values = {"spool_dir": self.spool.parent, "state_dir": self.state_dir, "lock_timeout_seconds": 0, **others}
        return Settings.model_validate(values)


@pytest.fixture
def site() -> Iterator[Site]:
    """Return the site, in a folder that everybody may enter."""
    room = Path(tempfile.mkdtemp())
    room.chmod(0o755)
    mail, state_dir = room / "mail", room / "state"
    mail.mkdir()
    os.chown(mail, 0, grp.getgrnam("mail").gr_gid)
    mail.chmod(0o2775)
    state_dir.mkdir()
    state_dir.chmod(0o1777)
    spool = mail / "alice"
    spool.write_bytes(ENTRY * 2)
    os.chown(spool, USER, -1)
    yield Site(spool, state_dir)
    shutil.rmtree(room)


def as_user(function: Callable[[], object]) -> str:
    """Call a function in a child that is the user, without any other group; return what it returned as text."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(USER, USER, USER)
            os.setresuid(USER, USER, USER)
            try:
                text = str(function())
            except Exception as exc:
                text = f"{type(exc).__name__}: {exc}"
            os.write(writing, text.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        result = pipe.read().decode()
    os.waitpid(pid, 0)
    return result


def quit_session(site: Site, **others: object) -> str:
    """Open the maildrop, remove the first message, and quit."""
    store = StoreMbox(site.settings(**others))
    with closing(store.popframe_open_maildrop(ACCOUNT)) as maildrop:
        maildrop.commit({0}, set())
    return "done"


def test_a_session_reads_and_removes(site: Site) -> None:
    """The dot-lock is made by the helper, and gone afterwards."""
    assert as_user(lambda: quit_session(site)) == "done"
    assert site.spool.read_bytes() == ENTRY
    assert not site.dotlock.exists()


def test_the_lock_is_there_while_it_is_held_and_names_its_holder(site: Site) -> None:
    """Agents, and a second session of ours, see a living process."""

    def look() -> str:
        fd = os.open(site.spool, os.O_RDWR)
        with held_locks(str(site.spool), fd, site.settings().lock_policy):
            status = site.dotlock.stat()
            held = (site.dotlock.read_text() == f"{os.getpid()}\n", status.st_uid == USER)
            try:
                with held_locks(str(site.spool), fd, site.settings().lock_policy):
                    second = "taken twice"
            except MaildropInUse:
                second = "unexpected"
            except Exception as exc:
                second = type(exc).__name__
        return f"{held} {second} {site.dotlock.exists()}"

    assert as_user(look) == "(True, True) LockTimeout False"


@pytest.mark.parametrize("content", ["", "%d", "%d:another.example.org"])
def test_a_lock_that_counts_is_respected(site: Site, content: str) -> None:
    """A young one, and one of a living process; and one of another host, of which nobody here can tell."""
    site.dotlock.write_text(content.replace("%d", str(os.getpid())))

    assert as_user(lambda: quit_session(site)).startswith("MaildropInUse")
    assert site.spool.read_bytes() == ENTRY * 2
    assert site.dotlock.exists()


def test_a_stale_lock_is_broken(site: Site) -> None:
    """By the same rule as where the server may remove it itself."""
    site.dotlock.write_text("999999999")
    os.utime(site.dotlock, (0, 0))

    assert as_user(lambda: quit_session(site)) == "done"
    assert site.spool.read_bytes() == ENTRY
    assert not site.dotlock.exists()


def test_a_lock_of_another_host_is_never_broken(site: Site) -> None:
    """However old it is."""
    site.dotlock.write_text("999999999:another.example.org")
    os.utime(site.dotlock, (0, 0))

    assert as_user(lambda: quit_session(site)).startswith("MaildropInUse")
    assert site.dotlock.exists()


def test_without_the_helper_the_log_says_what_is_missing(site: Site) -> None:
    """It names the directory's lock and the program that was looked for."""
    told = as_user(lambda: quit_session(site, dotlock_helper="/nonexistent/dotlockfile"))

    assert told == (
        f"PermanentFailure: no permission to create the dot-lock {site.dotlock}, neither directly nor by "
        "/nonexistent/dotlockfile"
    )
    assert site.spool.read_bytes() == ENTRY * 2


def test_a_helper_that_refuses_is_told_of(site: Site) -> None:
    """It makes no lock for a spool of another user."""
    os.chown(site.spool, 0, -1)
    site.spool.chmod(0o666)
    fd = os.open(site.spool, os.O_RDWR)

    def take() -> None:
        with held_locks(str(site.spool), fd, site.settings().lock_policy):
            pass

    told = as_user(take)
    os.close(fd)
    assert told == f"PermanentFailure: {DEFAULT_HELPER} does not create the dot-lock {site.dotlock} (exit status 2)"


def test_who_asks_for_the_locks_of_another_user_is_told_who_makes_them(site: Site) -> None:
    """``popframe locks check`` takes the lock as the user; judged from outside, it says by which program."""
    policy = site.settings().lock_policy
    place = find_place(ACCOUNT, site.spool.parent, site.state_dir)

    assert as_user(lambda: [one.outcome.value for one in try_locks(place, policy).attempts]) == (
        "['free', 'taken', 'taken', 'taken']"
    )
    judged = judge(User("alice", USER, USER, frozenset({USER})), place, policy).attempts[1]
    assert (judged.outcome, judged.text) == (Outcome.FREE, f"made by {DEFAULT_HELPER}")
    assert not site.dotlock.exists()
