"""What a session's way to the plugins does itself: the rules of [login] in their place, and no word of them outside."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from popframe import (
    Account,
    AuthenticationFailed,
    LoginAttempt,
    LoginFailure,
    LoginSuccess,
    Maildrop,
    MaildropInUse,
    Peer,
    PlainCredentials,
    SessionHold,
    TemporaryFailure,
    hookimpl,
)
from popframe.authorization import LoginRules
from popframe.config import AbuseSettings, LoginSettings
from popframe.config.login import LEAST_REFUSAL_SECONDS
from popframe.engine import ClearText, CommandTable, Policy, Session
from popframe.plugins import FoundPlugin, build_hooks
from popframe.plugins.inspection import inspect_class
from popframe.server.abuse.guard import LoginGuard
from popframe.server.abuse.memory import memory_alone
from popframe.server.abuse.spacing import Spacing
from popframe.server.backend import Doorkeeper, HookBackend, Place
from popframe.server.scoreboard import FrontBoard, Scoreboard
from popframe.testing import MemoryStore

PEER = Peer("192.0.2.7", 50_110)

RIGHT = "secret"
"""Everybody's password."""

WRONG = b"-ERR [AUTH] user name or password not accepted\r\n"
LATER = b"-ERR [SYS/TEMP] temporary problem on the server, try again later\r\n"

NO_ABUSE = AbuseSettings(max_wrong_passwords=0)
"""Nothing is counted."""

ACCOUNTS = {
    "alice": Account("alice", uid=1000, gid=1000, shell="/bin/sh"),
    "carol": Account("carol", uid=1001, gid=1001, shell="/usr/sbin/nologin"),
    "root": Account("root", uid=0, gid=0, shell="/bin/sh"),
    "www-data": Account("www-data", uid=33, gid=33, shell="/bin/sh"),
    "virtual": Account("virtual"),
    "full": Account("full"),
    "banned": Account("banned"),
    "grouped": Account("grouped", uid=1002, gid=0, shell="/bin/sh"),
    "stranger": Account("stranger", uid=1003, gid=1003, shell="/bin/sh"),
}


class Doors:
    """A server without sockets: its rules, its one plugin, its board.

    Attributes:
        asked: What the plugin was asked, in order.
        failures: What it was told of refused logins.
        successes: What it was told of the others.
        attempts: What it was asked before anybody looked at a password.
        waited: How long attempts had to wait, in seconds.
    """

    def __init__(self, settings: LoginSettings, abuse: AbuseSettings = NO_ABUSE) -> None:
        """Open."""
        self.asked: list[str] = []
        self.failures: list[LoginFailure] = []
        self.successes: list[LoginSuccess] = []
        self.attempts: list[LoginAttempt] = []
        plugin = _plugin(self.asked, self.failures, self.successes, self.attempts)
        found = FoundPlugin("accounts", plugin, "accounts 1", None, inspect_class(plugin).hooks)
        self._hooks = build_hooks([found], {})
        self._rules = LoginRules(settings)
        scoreboard = Scoreboard()
        region = scoreboard.take_region()
        assert region is not None
        self._board = FrontBoard(scoreboard, region)
        attempts = memory_alone()
        self._door = Doorkeeper(LoginGuard(attempts, abuse), Spacing(attempts, abuse), self._wait)
        self.waited: list[float] = []

    def backend(self, peer: Peer = PEER) -> HookBackend:
        """Return what a session of a new connection gets."""
        place = Place(self._board, self._board.enter(), 10)
        return HookBackend("s1", peer, self._hooks, self._rules, place, self._door)

    def _wait(self, seconds: float) -> bool:
        """Note how long somebody would have to wait, and do not."""
        self.waited.append(seconds)
        return True

    def log_in(self, username: str, password: str = RIGHT, *, peer: Peer = PEER) -> bytes:
        """Return what the client of a new connection is told in the end."""
        policy = Policy(clear_text=ClearText.ALWAYS)
        session = Session(peer, self.backend(peer), policy, CommandTable(policy))
        session.receive_data(f"USER {username}\r\nPASS {password}\r\n".encode())
        return b"".join(octets for buffers in session.output() for octets in buffers).splitlines(keepends=True)[-1]


class Hold:
    """What lasts as long as a session, and notes its end."""

    def __init__(self, asked: list[str]) -> None:
        self._asked = asked

    def fileno(self) -> int:
        """Return a descriptor."""
        return 0

    def close(self) -> None:
        """Take note."""
        self._asked.append("end")


def _plugin(
    asked: list[str], failures: list[LoginFailure], successes: list[LoginSuccess], attempts: list[LoginAttempt]
) -> type:
    """Return a plugin that knows everybody by one password, an empty one would do too, and notes what it is asked."""
    store = MemoryStore()

    class Accounts:
        @hookimpl
        def popframe_check_attempt(self, attempt: LoginAttempt) -> None:
            attempts.append(attempt)
            if attempt.username == "unwanted":
                raise AuthenticationFailed("a policy is against it")
            if attempt.username == "later":
                raise TemporaryFailure("the policy server does not answer")

        @hookimpl
        def popframe_login_succeeded(self, success: LoginSuccess) -> None:
            successes.append(success)

        @hookimpl
        def popframe_authenticate(self, credentials: PlainCredentials) -> Account | None:
            asked.append(f"authenticate {credentials.username}")
            if credentials.password not in (b"secret", b""):
                raise AuthenticationFailed("wrong password")
            return ACCOUNTS.get(credentials.username)

        @hookimpl
        def popframe_authorize(self, account: Account) -> None:
            asked.append(f"authorize {account.username}")

        @hookimpl
        def popframe_open_session(self, account: Account) -> SessionHold:
            asked.append(f"begin {account.username}")
            return Hold(asked)

        @hookimpl
        def popframe_open_maildrop(self, account: Account) -> Maildrop | None:
            asked.append(f"open {account.username}")
            if account.username == "full":
                raise MaildropInUse("somebody else has it")
            return store.popframe_open_maildrop(account)

        @hookimpl
        def popframe_login_failed(self, failure: LoginFailure) -> None:
            failures.append(failure)

    return Accounts


@pytest.fixture
def settings(tmp_path: Path) -> LoginSettings:
    """Return rules of every kind."""
    (tmp_path / "shells").write_text("/bin/sh\n/bin/bash\n")
    return LoginSettings(
        shells_file=tmp_path / "shells",
        nologin_file=tmp_path / "nologin",
        allow_users=tuple(name for name in ACCOUNTS if name != "stranger"),
        deny_users=("banned",),
        deny_groups=("root",),
        deny_networks=("198.51.100.0/24",),
    )


@pytest.fixture
def doors(settings: LoginSettings) -> Doors:
    """Return a server with these rules."""
    return Doors(settings)


REFUSED = [
    ("carol", PEER, "login shell '/usr/sbin/nologin' is not in "),
    ("root", PEER, "root may not log in"),
    ("www-data", PEER, "user id 33 is below login.min_uid, which is 1000"),
    ("banned", PEER, "the user is in login.deny_users"),
    ("stranger", PEER, "the user is not in login.allow_users"),
    ("grouped", PEER, "the user is in group root, which is in login.deny_groups"),
    ("alice", Peer("198.51.100.9", 1024), "address 198.51.100.9 is in login.deny_networks"),
]
each_refused = pytest.mark.parametrize(("username", "peer", "reason"), REFUSED, ids=[row[2][:20] for row in REFUSED])


@pytest.mark.parametrize("username", ["alice", "virtual"])
def test_who_may_log_in_does(doors: Doors, username: str) -> None:
    """The rules stand between the password and the plugins' own (A-010)."""
    assert doors.log_in(username).startswith(b"+OK")
    assert doors.asked == [f"{step} {username}" for step in ("authenticate", "authorize", "begin", "open")]


@each_refused
def test_refused_by_a_rule_sounds_like_a_wrong_password(
    doors: Doors, caplog: pytest.LogCaptureFixture, username: str, peer: Peer, reason: str
) -> None:
    """The log has the reason, the client the usual words, and no plugin is asked further (A-009, C-038)."""
    caplog.set_level(logging.DEBUG)

    assert doors.log_in(username, peer=peer) == WRONG
    assert doors.log_in("nobody", peer=PEER) == WRONG
    assert doors.asked == [f"authenticate {username}", "authenticate nobody"]
    told, unknown = doors.failures
    assert (told.username, told.code, told.peer) == (username, "AUTH", peer)
    assert told.reason.startswith(reason)
    assert unknown.reason == "unknown user"
    assert "secret" not in caplog.text


def test_what_was_begun_with_the_login_ends_with_the_session(doors: Doors) -> None:
    """Once, and not before."""
    backend = doors.backend()
    backend.log_in(PEER, PlainCredentials("alice", b"secret"))
    assert "end" not in doors.asked
    backend.close()
    backend.close()

    assert doors.asked[-3:] == ["begin alice", "open alice", "end"]


def test_what_was_begun_ends_at_once_when_the_maildrop_cannot_be_opened(doors: Doors) -> None:
    """The login is refused, so there is no session."""
    assert doors.log_in("full").startswith(b"-ERR [IN-USE]")

    assert doors.asked[-3:] == ["begin full", "open full", "end"]


@each_refused
def test_no_rule_is_asked_before_the_right_password(doors: Doors, username: str, peer: Peer, reason: str) -> None:
    """Whoever does not know it learns nothing, and the log does not say otherwise (A-009)."""
    assert doors.log_in(username, "wrong", peer=peer) == WRONG

    assert [failure.reason for failure in doors.failures] == ["wrong password"]


@contextmanager
def timed() -> Iterator[list[float]]:
    """Measure: the list gets the seconds that the block took."""
    seconds: list[float] = []
    started = time.monotonic()
    yield seconds
    seconds.append(time.monotonic() - started)


@pytest.mark.parametrize(("username", "password"), [("carol", "secret"), ("carol", "wrong"), ("nobody", "secret")])
def test_no_refusal_comes_early(doors: Doors, username: str, password: str) -> None:
    """A right password that a rule refuses, which cost nothing to check here, takes as long as a wrong one (A-009)."""
    with timed() as seconds:
        assert doors.log_in(username, password) == WRONG

    assert LEAST_REFUSAL_SECONDS <= seconds[0] < LEAST_REFUSAL_SECONDS + 5


def test_refusals_may_be_set_to_take_longer(settings: LoginSettings) -> None:
    """Those with [AUTH]; trouble of ours is told when it is known (A-009)."""
    doors = Doors(settings.model_copy(update={"refusal_seconds": 1.0}))
    for username, password in (("carol", "secret"), ("carol", "wrong"), ("nobody", "secret")):
        with timed() as seconds:
            assert doors.log_in(username, password) == WRONG
        assert 1.0 <= seconds[0] < 6.0
    settings.nologin_file.touch()
    with timed() as seconds:
        assert doors.log_in("alice") == LATER

    assert seconds[0] < 1.0


def test_right_password_is_not_kept_waiting(doors: Doors) -> None:
    """Only refusals have a least time."""
    doors.log_in("alice")
    fastest = 60.0
    for _ in range(5):
        with timed() as seconds:
            doors.log_in("alice")
        fastest = min(fastest, seconds[0])

    assert fastest < LEAST_REFUSAL_SECONDS


def test_nologin_is_told_as_trouble_that_passes(doors: Doors, settings: LoginSettings) -> None:
    """To those whose password was right; mail programs then keep it (C-038)."""
    settings.nologin_file.write_text("The machine is being mended by Gregor.\n")

    assert doors.log_in("alice") == LATER
    assert doors.log_in("alice", "wrong") == WRONG
    assert doors.log_in("virtual").startswith(b"+OK")
    assert [failure.code for failure in doors.failures] == ["SYS/TEMP", "AUTH"]
    assert doors.failures[0].reason == f"{settings.nologin_file} exists: no logins at present"
    settings.nologin_file.unlink()
    assert doors.log_in("alice").startswith(b"+OK")


def test_trouble_with_the_list_of_shells_is_no_wrong_password(doors: Doors, settings: LoginSettings) -> None:
    """What cannot be found out lets nobody in who needs it, and is told as our trouble (C-038)."""
    settings.shells_file.unlink()
    os.mkfifo(settings.shells_file)

    assert doors.log_in("alice") == LATER
    assert doors.log_in("virtual").startswith(b"+OK")
    assert doors.failures[0].reason == f"the list of shells {settings.shells_file} is not a regular file"


def test_empty_password_reaches_no_plugin(doors: Doors) -> None:
    """Not by PASS, which wants an argument, and not by whatever else asks the backend (A-006)."""
    assert doors.log_in("alice", "").startswith(b"-ERR wrong number of arguments")
    with pytest.raises(AuthenticationFailed, match=r"^empty password$"):
        doors.backend().log_in(PEER, PlainCredentials("alice", b""))

    assert doors.asked == []
    assert [failure.reason for failure in doors.failures] == ["empty password"]


def test_client_without_an_address_needs_no_network_unless_some_are_named(settings: LoginSettings) -> None:
    """A pipe or a socket pair is in none: not in a denied one, not in an allowed one."""
    somewhere = settings.model_copy(update={"allow_networks": ("192.0.2.0/24",)})

    assert Doors(settings).log_in("alice", peer=Peer("")).startswith(b"+OK")
    assert Doors(somewhere).log_in("alice", peer=Peer("")) == WRONG
    assert Doors(somewhere).log_in("alice").startswith(b"+OK")


# --- what is asked before the password


def test_too_many_wrong_passwords_sound_like_one(settings: LoginSettings) -> None:
    """The right password is not looked at any more, and the answer is the same; the log knows why (H-046, H-048)."""
    doors = Doors(settings, AbuseSettings(max_wrong_passwords=2))
    answers = [doors.log_in("alice", password) for password in ("wrong", "wronger", RIGHT)]
    answers.append(doors.log_in("nobody"))

    assert answers == [WRONG] * 4
    assert doors.asked == ["authenticate alice"] * 2
    assert len(doors.attempts) == 2
    reason = "2 different wrong passwords from 192.0.2.7 (abuse.max_wrong_passwords): the password was not looked at"
    assert [failure.reason for failure in doors.failures[2:]] == [reason] * 2
    assert {failure.code for failure in doors.failures} == {"AUTH"}
    assert doors.log_in("alice", peer=Peer("192.0.2.8")).startswith(b"+OK")


def test_an_attempt_is_delayed_before_its_password_is_looked_at(settings: LoginSettings) -> None:
    """By what was tried before it (H-048)."""
    doors = Doors(settings, AbuseSettings(delay_after=0))
    for password in ("wrong", "wronger", RIGHT, RIGHT):
        doors.log_in("alice", password)

    assert doors.waited == [0.5, 1.0]


def test_what_a_rule_refuses_counts_as_one_wrong_password(settings: LoginSettings) -> None:
    """Whoever is not to come in can go on asking with the right password, and nobody else there pays for it."""
    doors = Doors(settings, AbuseSettings(max_wrong_passwords=2, delay_after=1))
    for _ in range(5):
        assert doors.log_in("carol") == WRONG

    assert doors.waited == []
    assert doors.log_in("alice").startswith(b"+OK")


def test_trouble_of_ours_counts_for_nobody(settings: LoginSettings) -> None:
    """A password of which nothing was found out is no guess."""
    doors = Doors(settings, AbuseSettings(max_wrong_passwords=2))
    settings.nologin_file.touch()
    for number in range(5):
        assert doors.log_in("alice") == LATER
        assert doors.log_in("later", f"guess {number}") == LATER
    settings.nologin_file.unlink()

    assert doors.log_in("alice").startswith(b"+OK")


def test_plugins_are_asked_about_an_attempt_before_its_password(settings: LoginSettings) -> None:
    """What a policy refuses sounds like a wrong password, and counts as none."""
    doors = Doors(settings, AbuseSettings(max_wrong_passwords=2))
    for number in range(5):
        assert doors.log_in("unwanted", f"guess {number}") == WRONG
    assert doors.log_in("later") == LATER

    assert doors.asked == []
    assert {failure.reason for failure in doors.failures[:5]} == {"a policy is against it"}
    assert doors.failures[5].code == "SYS/TEMP"
    assert doors.log_in("alice").startswith(b"+OK")


def test_plugins_can_tell_passwords_apart_without_knowing_them(settings: LoginSettings) -> None:
    """Attempt, failure and success have the same keyed hash for the same password of the same user, and no other."""
    doors = Doors(settings)
    for username, password in [("alice", "wrong"), ("alice", "wrong"), ("alice", "other"), ("virtual", "wrong")]:
        doors.log_in(username, password)
    doors.log_in("alice")

    first, again, other, virtual, right = [attempt.password_digest for attempt in doors.attempts]
    assert first == again
    assert len({first, other, virtual, right}) == 4
    assert [failure.password_digest for failure in doors.failures] == [first, again, other, virtual]
    assert [(told.username, told.account.username, told.password_digest) for told in doors.successes] == [
        ("alice", "alice", right)
    ]
    assert {attempt.mechanism for attempt in doors.attempts} == {"PASS"}
    assert {failure.mechanism for failure in doors.failures} == {"PASS"}
    assert "secret" not in repr((doors.attempts, doors.failures, doors.successes))


def test_a_delay_between_logins_is_told_with_a_right_password_alone(settings: LoginSettings) -> None:
    """Whoever does not know it learns nothing; and the refused login holds nothing (C-020, C-021)."""
    doors = Doors(settings, AbuseSettings(login_delay_seconds=60))
    assert doors.log_in("alice").startswith(b"+OK")

    assert doors.log_in("alice", "wrong") == WRONG
    for _ in range(20):
        assert doors.log_in("alice") == b"-ERR [LOGIN-DELAY] minimum time between logins not over yet\r\n"
    assert doors.log_in("virtual").startswith(b"+OK")
