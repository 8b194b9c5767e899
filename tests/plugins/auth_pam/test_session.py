"""PAM sessions, from the plugin's hook to the module: opened, kept, closed, and what may go wrong with each."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from popframe import Account, Peer, PlainCredentials, SessionHold, TemporaryFailure
from popframe_auth_pam import AuthPam
from popframe_auth_pam.message import Accepted, Limits, Question
from popframe_auth_pam.verifier_process import VerifierProcess

PASSWORD = b"correct horse"
PEER = Peer("127.0.0.7")
RULES = "auth required pam_unix.so nodelay\naccount required pam_unix.so\n"

StartPlugin = Callable[..., AuthPam]
Users = Mapping[str, str]


@dataclass
class Diary:
    """What a program of pam_exec has noted."""

    path: Path
    rules: str

    def entries(self) -> list[str]:
        """Return its lines, each the kind of call, the user, and the address."""
        return self.path.read_text().splitlines() if self.path.exists() else []


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    """Return where a session of the returned rules is noted; and modules that talk, and change their process."""
    program = tmp_path / "note"
    path = tmp_path / "diary"
    program.write_text(f'#!/bin/sh\necho "$PAM_TYPE $PAM_USER $PAM_RHOST" >> {path}\n')
    program.chmod(0o755)
    return Diary(
        path,
        f"{RULES}session required pam_exec.so {program}\nsession required pam_limits.so\n"
        "session optional pam_echo.so you are %u\nsession optional pam_keyinit.so force revoke\n",
    )


def logged_in(plugin: AuthPam, user: str) -> SessionHold:
    """Log in, and return what holds the session open."""
    account = plugin.popframe_authenticate(PEER, PlainCredentials(user, PASSWORD))
    held = plugin.popframe_open_session(account)
    assert held is not None
    return held


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def worker_of(plugin: AuthPam) -> int:
    """Return the process id of the verifier's worker."""
    until(lambda: len(children(plugin._verifier.pid)) == 1)
    return children(plugin._verifier.pid)[0]


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that takes a moment."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_session_lasts_until_its_descriptor_is_closed(start_plugin: StartPlugin, users: Users, diary: Diary) -> None:
    """By whoever has a copy of it; what modules say, or do to the process, concerns nobody."""
    plugin = start_plugin(diary.rules, open_session=True)
    held = logged_in(plugin, users["alice"])
    opened, closed = (f"{what}_session {users['alice']} 127.0.0.7" for what in ("open", "close"))
    assert diary.entries() == [opened]
    copy = os.dup(held.fileno())
    held.close()
    time.sleep(0.2)
    assert diary.entries() == [opened]
    os.close(copy)

    until(lambda: diary.entries() == [opened, closed])
    until(lambda: not children(worker_of(plugin)))


def test_octets_do_not_end_a_session(start_plugin: StartPlugin, users: Users, diary: Diary) -> None:
    """A session's process that was taken over can end its own session, and nothing more: what it says is not read."""
    plugin = start_plugin(diary.rules, open_session=True)
    held = logged_in(plugin, users["alice"])
    for octets in (b"", b"open", b"x" * 10_000):
        os.write(held.fileno(), octets)
    time.sleep(0.2)
    assert len(diary.entries()) == 1
    held.close()

    until(lambda: len(diary.entries()) == 2)


def test_no_session_without_the_wish_for_one(start_plugin: StartPlugin, users: Users, diary: Diary) -> None:
    """Somebody whose password was right and whom a rule then refuses has none, and no process is left of it."""
    plugin = start_plugin(diary.rules, open_session=True)
    account = plugin.popframe_authenticate(PEER, PlainCredentials(users["alice"], PASSWORD))
    assert children(worker_of(plugin))
    del account

    until(lambda: not children(worker_of(plugin)))
    assert diary.entries() == []


def test_without_the_setting_there_is_no_session(start_plugin: StartPlugin, users: Users, diary: Diary) -> None:
    """No process waits for the wish for one, and no module is asked."""
    plugin = start_plugin(diary.rules)
    account = plugin.popframe_authenticate(PEER, PlainCredentials(users["alice"], PASSWORD))

    assert plugin.popframe_open_session(account) is None
    assert plugin.popframe_open_session(Account("somebody", uid=1, gid=1)) is None
    until(lambda: not children(worker_of(plugin)))
    assert diary.entries() == []


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("session required pam_deny.so", "no PAM session: "),
        ("session required pam_debug.so open_session=session_err", "no PAM session: "),
        ("session required pam_no_such_module.so", "no PAM session: "),
        ("auth required pam_debug.so auth=success cred=cred_err", "no credentials for a PAM session: "),
    ],
)
def test_session_that_cannot_be_opened_is_trouble(
    start_plugin: StartPlugin, users: Users, rule: str, reason: str
) -> None:
    """The login is refused for now, not for a wrong password."""
    plugin = start_plugin(f"{RULES}{rule}\n", open_session=True)
    account = plugin.popframe_authenticate(PEER, PlainCredentials(users["alice"], PASSWORD))

    with pytest.raises(TemporaryFailure, match=reason):
        plugin.popframe_open_session(account)
    until(lambda: not children(worker_of(plugin)))


def test_session_that_opens_too_slowly_is_trouble(start_plugin: StartPlugin, users: Users) -> None:
    """It has the time of its attempt."""
    plugin = start_plugin(f"{RULES}session required pam_exec.so /bin/sleep 60\n", open_session=True, timeout_seconds=1)
    account = plugin.popframe_authenticate(PEER, PlainCredentials(users["alice"], PASSWORD))

    with pytest.raises(TemporaryFailure, match="no answer from PAM within 1 s"):
        plugin.popframe_open_session(account)
    until(lambda: not children(worker_of(plugin)))


def test_session_that_does_not_close_is_ended(
    start_plugin: StartPlugin, users: Users, capfd: pytest.CaptureFixture[str]
) -> None:
    """A module that hangs at the end gets as long as one at the beginning; a session itself may last longer."""
    rules = f"{RULES}session required pam_permit.so\nsession required pam_exec.so type=close_session /bin/sleep 60\n"
    plugin = start_plugin(rules, open_session=True, timeout_seconds=1)
    held = logged_in(plugin, users["alice"])
    time.sleep(1.5)
    assert len(children(worker_of(plugin))) == 1
    held.close()

    until(lambda: not children(worker_of(plugin)))
    assert "a PAM session is not closed in time" in capfd.readouterr().err


def test_session_survives_the_death_of_the_worker(start_plugin: StartPlugin, users: Users, diary: Diary) -> None:
    """What keeps it depends on nobody, and closes it at the end."""
    plugin = start_plugin(diary.rules, open_session=True)
    held = logged_in(plugin, users["alice"])
    os.kill(worker_of(plugin), signal.SIGKILL)
    until(lambda: isinstance(plugin.popframe_authenticate(PEER, PlainCredentials(users["alice"], PASSWORD)), Account))
    assert len(diary.entries()) == 1
    held.close()

    until(lambda: len(diary.entries()) == 2)


def test_session_survives_what_a_service_manager_sends(start_plugin: StartPlugin, users: Users, diary: Diary) -> None:
    """SIGTERM for every process of the server at once: the session is still closed, when it is over."""
    plugin = start_plugin(diary.rules, open_session=True)
    held = logged_in(plugin, users["alice"])
    worker = worker_of(plugin)
    for pid in (*children(worker), worker, plugin._verifier.pid):
        os.kill(pid, signal.SIGTERM)
    assert plugin._verifier._process.wait(20) == -signal.SIGTERM
    time.sleep(0.2)
    assert len(diary.entries()) == 1
    held.close()

    until(lambda: len(diary.entries()) == 2)


def test_verifier_ends_after_the_last_session(start_plugin: StartPlugin, users: Users, diary: Diary) -> None:
    """When nobody can ask any more, open sessions are still closed in their time."""
    plugin = start_plugin(diary.rules, open_session=True)
    held = logged_in(plugin, users["alice"])
    plugin._verifier._socket.close()
    time.sleep(0.3)
    assert Path(f"/proc/{plugin._verifier.pid}").exists()
    held.close()

    until(lambda: len(diary.entries()) == 2)
    assert plugin._verifier._process.wait(20) == 0


def test_open_sessions_are_no_attempts(make_service: Callable[[str], str], users: Users, diary: Diary) -> None:
    """The limit of attempts at once does not count them, and the worker holds nothing open for them."""
    question = Question(users["alice"].encode(), PASSWORD, b"127.0.0.7")
    with closing(VerifierProcess(make_service(diary.rules), Limits(60, 2, opens_sessions=True))) as verifier:
        held = []
        for _ in range(30):
            exchange = verifier.begin(question)
            assert isinstance(exchange.receive_answer(), Accepted)
            assert exchange.open_session() is None
            held.append(exchange)
        (worker,) = children(verifier.pid)
        assert len(children(worker)) == 30
        until(lambda: len(os.listdir(f"/proc/{worker}/fd")) < 15)
        for exchange in held:
            exchange.close()

        until(lambda: len(diary.entries()) == 60)
        until(lambda: not children(worker))
