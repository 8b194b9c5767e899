"""Who may log in, how long it takes, and what a change of the file does."""

from __future__ import annotations

import logging
import mmap
import os
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from popframe import Account, AuthenticationFailed, ConfigError, PlainCredentials, hash_password, typical_hash
from popframe_auth_file import AuthFile, AuthFileSettings
from popframe_auth_file.current_users import SETTLED_NANOSECONDS, CurrentUsers

Authenticate = Callable[[str, bytes], Account | None]
StampOf = Callable[[Path], tuple[int, ...]]

SHA512 = (
    "$6$rounds=1000$j9qUtfwuLUM.IPer$"
    "W3Y7z053RcZfhyUM/4qBCqHp11wzwI4Zl1ATnTXra1AGynWecazUfEDq.zVXT46t.WDjCJA25ss5Zl2rMsDcL."
)
MD5 = "$1$iH8nh9Ru$10vWy2kL3UYutmsYQeq6X1"
YESCRYPT = "$y$j9T$8gWRjdqa6jchZteBd4G3a1$gMxdfl541Nghov/1ydrjcV9Xu8TklP5fwfvtG1H4eU6"


def replace(path: Path, text: str) -> None:
    """Put a new file in place of the old at one instant."""
    new = path.with_name("new")
    new.write_text(text)
    new.chmod(0o600)
    new.replace(path)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the plugin has complained about."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "popframe.auth_file" and record.levelno >= logging.ERROR
    ]


def logs_in(authenticate: Authenticate, username: str, password: bytes) -> bool:
    """Tell whether a user may log in."""
    try:
        return authenticate(username, password) is not None
    except AuthenticationFailed:
        return False


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock of the test be ahead, so that every file was changed a while ago."""
    later = time.time_ns() + 2 * SETTLED_NANOSECONDS
    monkeypatch.setattr(time, "time_ns", lambda: later)


@pytest.mark.parametrize("stored", [MD5, SHA512, YESCRYPT], ids=["md5crypt", "sha512crypt", "yescrypt"])
def test_account_has_the_fields_of_its_line(
    authenticate: Authenticate, users_path: Path, password: bytes, stored: str
) -> None:
    """The other plugins learn where the mail is and whose it is."""
    replace(users_path, f"bob@example.org:{stored}:maildrop=/srv/mail/bob uid=1000 gid=8\n")

    assert authenticate("bob@example.org", password) == Account(
        username="bob@example.org", maildrop="/srv/mail/bob", uid=1000, gid=8
    )


@pytest.mark.parametrize("password", [b"pass word", b" a  b ", b"p\xe4ssw\xf6rd\xff", "pässwörd".encode(), b"x" * 255])
def test_password_of_any_octets_logs_in(authenticate: Authenticate, users_path: Path, password: bytes) -> None:
    """A password counts octet by octet, blanks included (RFC 1939 section 7, PASS)."""
    replace(users_path, f"bob:{hash_password(password, 'sha512crypt')}\n")

    assert logs_in(authenticate, "bob", password)
    assert not logs_in(authenticate, "bob", password.strip() + b"x")


def test_name_matches_exactly(authenticate: Authenticate, password: bytes) -> None:
    """Folding case or cutting a domain is the business of ``popframe_canonical_username``."""
    assert authenticate("alice", password)
    assert [authenticate(name, password) for name in ("Alice", "alice ", "alice@example.org", "")] == [None] * 4


@pytest.mark.parametrize("prefix", ["!", "*"])
def test_locked_user_is_refused_with_the_right_password(
    authenticate: Authenticate, users_path: Path, password: bytes, quick_hash: str, prefix: str
) -> None:
    """Locking keeps the hash in the file, and counts at once even when the password was proven before."""
    assert authenticate("alice", password)
    replace(users_path, f"alice:{prefix}{quick_hash}\n")

    with pytest.raises(AuthenticationFailed, match="locked"):
        authenticate("alice", password)


def test_user_without_password_is_refused(authenticate: Authenticate, users_path: Path) -> None:
    """An empty field means that nobody has set a password yet, not that none is needed."""
    replace(users_path, "alice:\n")
    refused = [password for password in (b"", b"x") if not logs_in(authenticate, "alice", password)]

    assert refused == [b"", b"x"]
    with pytest.raises(AuthenticationFailed):
        authenticate("alice", b"x")


# --- a file that changes ------------------------------------------------------------------------------------------


def test_changed_file_counts_from_the_next_login(authenticate: Authenticate, users_path: Path, password: bytes) -> None:
    """Users come and go, and passwords change, without a signal or restart."""
    assert authenticate("alice", password)
    replace(users_path, f"bob:{MD5}\n")

    assert authenticate("alice", password) is None
    assert authenticate("bob", password)


def test_old_password_is_worth_nothing_after_a_change(
    authenticate: Authenticate, users_path: Path, password: bytes
) -> None:
    """What was proven for one stored hash proves nothing for the next."""
    assert all(authenticate("alice", password) for _ in range(3))
    replace(users_path, f"alice:{hash_password(b'new', 'sha512crypt')}\n")

    assert not logs_in(authenticate, "alice", password)
    assert logs_in(authenticate, "alice", b"new")


@pytest.mark.usefixtures("settled")
def test_change_in_place_with_old_size_and_time_is_seen(
    authenticate: Authenticate, users_path: Path, password: bytes
) -> None:
    """An editor that keeps inode, size and time of modification cannot hide what it did."""
    assert authenticate("alice", password)
    before = users_path.stat()
    time.sleep(0.02)  # until the clock of the file system has ticked
    users_path.write_text(users_path.read_text().replace("alice", "carol"))
    os.utime(users_path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert authenticate("alice", password) is None
    assert authenticate("carol", password)


def test_change_without_any_sign_is_seen_while_the_file_is_new(
    authenticate: Authenticate, users_path: Path, stamp_of: StampOf, password: bytes
) -> None:
    """Two changes within one tick of the file system's clock are two changes.

    Of several stores into a mapped page only the first moves the times of the file, whatever the length of a tick.
    """
    with users_path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as page:
        page[:5] = b"carol"
        assert authenticate("carol", password)
        before = stamp_of(users_path)
        page[:5] = b"david"
        assert stamp_of(users_path) == before

        assert authenticate("carol", password) is None
        assert authenticate("david", password)


def test_broken_file_keeps_the_users_and_is_told_once(
    authenticate: Authenticate, users_path: Path, password: bytes, quick_hash: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A slip in an editor locks nobody out; the log says what and where, in one line, until it is mended."""
    replace(users_path, f"bob:{quick_hash}\nalice\ncarol:x\n")
    assert all(authenticate("alice", password) for _ in range(3))
    assert authenticate("bob", password) is None
    assert len(errors(caplog)) == 1
    assert f"{users_path}:2: no colon" in errors(caplog)[0]
    assert f"{users_path}:3: the hash of user 'carol'" in errors(caplog)[0]

    replace(users_path, f"bob:{quick_hash}\n")

    assert authenticate("bob", password)
    assert authenticate("alice", password) is None
    assert len(errors(caplog)) == 1


def test_many_mistakes_make_one_short_line(
    authenticate: Authenticate, users_path: Path, password: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A file of something else altogether does not flood the log."""
    replace(users_path, "no colon\n" * 1000)
    assert authenticate("alice", password)

    assert len(errors(caplog)) == 1
    assert errors(caplog)[0].endswith("; and 990 more")
    assert "\n" not in errors(caplog)[0]


def test_missing_file_keeps_the_users_and_is_told_once(
    authenticate: Authenticate, users_path: Path, password: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is gone for a moment locks nobody out; when it is back, it counts, even if it is the same."""
    away = users_path.with_name("away")
    for _ in range(2):
        users_path.rename(away)
        assert all(authenticate("alice", password) for _ in range(3))
        away.rename(users_path)
        assert authenticate("alice", password)

    assert [error.rpartition(": ")[2] for error in errors(caplog)] == ["No such file or directory"] * 2


@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_what_is_no_file_keeps_the_users(
    authenticate: Authenticate, users_path: Path, password: bytes, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A pipe in the file's place holds no login up."""
    users_path.unlink()
    if kind == "fifo":
        os.mkfifo(users_path)
    else:
        users_path.mkdir()
    assert all(authenticate("alice", password) for _ in range(3))

    assert len(errors(caplog)) == 1


@pytest.mark.usefixtures("settled")
def test_file_is_not_read_again_while_it_stays_the_same(users_path: Path) -> None:
    """A login costs one stat(2), neither reading nor parsing."""
    users = CurrentUsers(users_path)
    first = users.get()
    with users_path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as page:
        page[:5] = b"alice"
        assert users.get() is first
        page[:5] = b"carol"  # without a sign: only a reading would tell

        assert users.get() is first


def test_new_file_is_not_parsed_again_while_it_stays_the_same(users_path: Path) -> None:
    """Reading it until its times can be trusted does not cost each login a parse."""
    users = CurrentUsers(users_path)
    first = users.get()

    assert all(users.get() is first for _ in range(3))


def test_mode_that_changes_is_noticed(users_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that everybody can read from now on is warned of, once, although nothing in it has changed."""
    users = CurrentUsers(users_path)
    users_path.chmod(0o644)
    for _ in range(3):
        users.get()

    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_logins_go_on_while_the_file_is_replaced(
    authenticate: Authenticate, users_path: Path, password: bytes, quick_hash: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Threads that log in while the file is replaced again and again see the old or the new one."""
    stop = threading.Event()
    failures: list[str] = []

    def log_in() -> None:
        while not stop.is_set():
            if not logs_in(authenticate, "alice", password) or logs_in(authenticate, "mallory", password):
                failures.append("wrong answer")

    threads = [threading.Thread(target=log_in) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(100):
        replace(users_path, f"alice:{quick_hash}\nuser{number}:{quick_hash}\n")
    stop.set()
    for thread in threads:
        thread.join()

    assert failures == []
    assert errors(caplog) == []
    assert authenticate("user99", password)


# --- the start ----------------------------------------------------------------------------------------------------


def test_every_mistake_stops_the_start(users_path: Path) -> None:
    """A server does not start with a file that is not understood; every line is told."""
    users_path.write_text("alice\nbob:x\n")

    with pytest.raises(ConfigError) as caught:
        AuthFile(AuthFileSettings(path=users_path))
    assert [line.partition(": ")[0] for line in str(caught.value).splitlines()] == [
        f"{users_path}:1",
        f"{users_path}:2",
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "No such file"),
        (".", "Is a directory"),
        ("fifo", "not a regular file"),
        ("users/x", "Not a directory"),
    ],
)
def test_file_that_cannot_be_read_stops_the_start(users_path: Path, name: str, reason: str) -> None:
    """The message has the path and the system's reason."""
    os.mkfifo(users_path.with_name("fifo"))
    path = users_path.parent / name
    with pytest.raises(ConfigError, match=reason) as caught:
        AuthFile(AuthFileSettings(path=path))

    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("mode", "warns"), [(0o600, False), (0o640, False), (0o644, True), (0o620, True), (0o602, True)]
)
def test_file_that_others_can_read_or_write_is_warned_of(
    users_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warns: bool
) -> None:
    """Hashes are for the server alone; its group may read them, nobody else."""
    users_path.chmod(mode)
    AuthFile(AuthFileSettings(path=users_path))

    assert bool(caplog.records) is warns
    assert all(
        record.levelno == logging.WARNING and str(users_path) in record.getMessage() for record in caplog.records
    )


# --- time ---------------------------------------------------------------------------------------------------------


def seconds_of(authenticate: Authenticate, username: str, password: bytes) -> float:
    """Return the processor time of one login."""
    start = time.thread_time()
    logs_in(authenticate, username, password)
    return time.thread_time() - start


@pytest.mark.parametrize("line", ["", "bob:\n", "bob:!\n", f"bob:!{YESCRYPT}\n", f"bob:*{MD5}\n"])
def test_unknown_or_locked_user_takes_as_long_as_a_wrong_password(
    authenticate: Authenticate, users_path: Path, line: str
) -> None:
    """The time does not tell who exists, and who is locked."""
    replace(users_path, f"alice:{YESCRYPT}\n{line}")
    known = statistics.median(seconds_of(authenticate, "alice", b"wrong") for _ in range(5))
    other = statistics.median(seconds_of(authenticate, "bob", b"wrong") for _ in range(5))

    assert known / 2 < other < known * 2


@pytest.mark.parametrize(
    ("hashes", "expected"),
    [([YESCRYPT, YESCRYPT, MD5], YESCRYPT), (["!" + MD5, "!" + MD5, "", "*", YESCRYPT], YESCRYPT)],
)
def test_unknown_user_costs_what_most_users_cost(users_path: Path, hashes: list[str], expected: str) -> None:
    """Scheme and cost of the commonest hash are taken, and locked users do not count."""
    users_path.write_text("".join(f"user{number}:{stored}\n" for number, stored in enumerate(hashes)))

    assert CurrentUsers(users_path).get().sample == expected


@pytest.mark.parametrize("content", ["", "alice:\nbob:!\ncarol:*\n"])
def test_file_without_passwords_has_a_hash_to_spend_time_on(users_path: Path, content: str) -> None:
    """Even the first user of a new server does not stand out."""
    users_path.write_text(content)

    assert CurrentUsers(users_path).get().sample == typical_hash([])


def test_second_login_is_quick(authenticate: Authenticate, users_path: Path, password: bytes) -> None:
    """A proven password costs microseconds; a wrong one always costs the hash."""
    replace(users_path, f"alice:{YESCRYPT}\n")
    first = seconds_of(authenticate, "alice", password)
    second = statistics.median(seconds_of(authenticate, "alice", password) for _ in range(5))
    wrong = statistics.median(seconds_of(authenticate, "alice", b"wrong") for _ in range(5))

    assert second < first / 10
    assert second < wrong / 10


def test_every_login_is_slow_without_the_cache(users_path: Path, password: bytes) -> None:
    """Who wants nothing derived from passwords in memory pays for it."""
    replace(users_path, f"alice:{YESCRYPT}\n")
    plugin = AuthFile(AuthFileSettings(path=users_path, cache_verified_passwords=False))

    def ask(username: str, password: bytes) -> Account | None:
        return plugin.popframe_authenticate(PlainCredentials(username, password))

    seconds = [seconds_of(ask, "alice", password) for _ in range(3)]

    assert min(seconds) > max(seconds) / 4
    assert min(seconds) > 0.001
