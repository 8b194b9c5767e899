"""The processes behind the plugin: several at once, killed, hung, crashed, out of privileges, lied to."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from popframe import Account
from popframe.testing.process import is_running
from popframe_auth_pam import AuthPam, AuthPamSettings
from popframe_auth_pam.message import (
    MAX_MESSAGE_OCTETS,
    READY,
    Accepted,
    Answer,
    Limits,
    Question,
    Refused,
    Unavailable,
    decode_answer,
)
from popframe_auth_pam.verifier_process import VerifierProcess

PAM_UNIX = "auth required pam_unix.so nodelay\naccount required pam_unix.so\n"
PASSWORD = b"correct horse"
PATIENCE_SECONDS = 20.0

Attempt = Callable[..., Account | str]
MakeService = Callable[[str], str]
StartPlugin = Callable[..., AuthPam]
Users = Mapping[str, str]


@pytest.fixture
def hanging_service(make_service: MakeService, users: Users, tmp_path: Path) -> str:
    """Return a service that sleeps for a minute before it asks alice for her password, and nobody else."""
    return make_service(hang_for(users["alice"], tmp_path) + PAM_UNIX)


def hang_for(user: str, directory: Path) -> str:
    """Return a rule that runs a program for a minute when this user logs in; its process id goes to a file."""
    program = directory / "hang"
    program.write_text(f'#!/bin/sh\n[ "$PAM_USER" = {user} ] || exit 0\necho $$ >> {directory}/hung\nexec sleep 60\n')
    program.chmod(0o755)
    return f"auth required pam_exec.so {program}\n"


@pytest.fixture
def start_verifier() -> Iterator[Callable[..., VerifierProcess]]:
    """Return a function that starts a verifier; it ends with the test."""
    with contextlib.ExitStack() as started:

        def start_verifier(service: str, timeout_seconds: float = 60, at_once: int = 512) -> VerifierProcess:
            verifier = VerifierProcess(service, Limits(timeout_seconds, at_once))
            started.callback(verifier.close)
            return verifier

        yield start_verifier


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that takes a moment."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def question(user: str, password: bytes = PASSWORD) -> Question:
    """Return a question from the loopback interface."""
    return Question(user.encode(), password, b"127.0.0.1")


def test_others_log_in_while_one_hangs_and_that_one_is_ended_in_time(
    start_verifier: Callable[..., VerifierProcess], hanging_service: str, users: Users, tmp_path: Path
) -> None:
    """Twenty attempts in a module that sleeps: others are answered at once, the hung ones when their time is over."""
    verifier = start_verifier(hanging_service, timeout_seconds=6)
    with ThreadPoolExecutor(20) as pool:
        started = time.monotonic()
        hung = [pool.submit(verifier.ask, question(users["alice"])) for _ in range(20)]
        wait_until(lambda: (tmp_path / "hung").exists() and len((tmp_path / "hung").read_text().split()) == 20)
        answers = [verifier.ask(question(users["changing"], b"wrong")), verifier.ask(question(users["nologin"]))]
        still_hung = [future for future in hung if not future.done()]
        late = [future.result() for future in hung]
        seconds = time.monotonic() - started

    assert isinstance(answers[0], Refused)
    assert isinstance(answers[1], Accepted)
    assert len(still_hung) == 20
    assert late == [Unavailable("no answer from PAM within 6 s")] * 20
    assert 6 <= seconds < 20
    programs = [int(pid) for pid in (tmp_path / "hung").read_text().split()]
    (worker,) = children(verifier.pid)
    wait_until(lambda: not children(worker) and not any(is_running(pid) for pid in programs))
    assert isinstance(verifier.ask(question(users["nologin"])), Accepted)


def test_attempts_beyond_the_limit_are_told_to_come_later(
    start_verifier: Callable[..., VerifierProcess], hanging_service: str, users: Users, tmp_path: Path
) -> None:
    """Hung attempts cannot fill the machine; when they are over, there is room again."""
    verifier = start_verifier(hanging_service, timeout_seconds=3, at_once=2)
    with ThreadPoolExecutor(2) as pool:
        hung = [pool.submit(verifier.ask, question(users["alice"])) for _ in range(2)]
        wait_until(lambda: (tmp_path / "hung").exists() and len((tmp_path / "hung").read_text().split()) == 2)
        refused = verifier.ask(question(users["nologin"]))
        for future in hung:
            future.result()

    assert refused == Unavailable("2 attempts at once, and that is the limit")
    wait_until(lambda: isinstance(verifier.ask(question(users["nologin"])), Accepted))


def test_many_threads_get_their_own_answers(plugin: AuthPam, users: Users, attempt: Attempt) -> None:
    """A hundred attempts of four kinds in 32 threads."""
    kinds = [("alice", PASSWORD), ("alice", b"wrong"), ("nologin", PASSWORD), ("expired", PASSWORD)]
    expected = [attempt(plugin, users[state], password) for state, password in kinds]
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda n: attempt(plugin, users[kinds[n % 4][0]], kinds[n % 4][1]), range(100)))

    assert answers == [expected[number % 4] for number in range(100)]
    assert len(set(map(str, expected))) == 4


def test_attempt_that_crashes_is_a_temporary_failure(
    start_verifier: Callable[..., VerifierProcess], hanging_service: str, users: Users, tmp_path: Path
) -> None:
    """A module with a defect ends its own attempt and no other."""
    verifier = start_verifier(hanging_service)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(verifier.ask, question(users["alice"]))
        wait_until((tmp_path / "hung").exists)
        (worker,) = children(verifier.pid)
        (crashing,) = children(worker)
        os.kill(crashing, signal.SIGSEGV)

        assert asked.result(PATIENCE_SECONDS) == Unavailable("the process of the attempt ended: SIGSEGV")
    assert isinstance(verifier.ask(question(users["nologin"])), Accepted)
    for pid in (tmp_path / "hung").read_text().split():
        os.kill(int(pid), signal.SIGKILL)


def test_worker_that_is_killed_is_replaced(
    start_verifier: Callable[..., VerifierProcess], hanging_service: str, users: Users, tmp_path: Path
) -> None:
    """What it was busy with fails for now; the next login works, although no root is left in the server."""
    verifier = start_verifier(hanging_service)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(verifier.ask, question(users["alice"]))
        wait_until((tmp_path / "hung").exists)
        (worker,) = children(verifier.pid)
        (attempt_process,) = children(worker)
        os.kill(worker, signal.SIGKILL)

        assert isinstance(asked.result(PATIENCE_SECONDS), Unavailable)
    wait_until(lambda: not is_running(attempt_process))
    assert isinstance(verifier.ask(question(users["nologin"])), Accepted)
    assert children(verifier.pid) != [worker]
    for pid in (tmp_path / "hung").read_text().split():
        os.kill(int(pid), signal.SIGKILL)


def test_verifier_that_is_gone_is_a_temporary_failure(
    make_service: MakeService, users: Users, attempt: Attempt, caplog: pytest.LogCaptureFixture
) -> None:
    """Both processes killed: nobody can start them anew, so the log says it at level error."""
    settings = AuthPamSettings(service=make_service(PAM_UNIX))
    verifier = AuthPam.before_run_as(settings)
    try:
        wait_until(lambda: bool(children(verifier.pid)))
        (worker,) = children(verifier.pid)
        for pid in (verifier.pid, worker):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_running(worker))

        answer = str(attempt(AuthPam(settings, verifier), users["alice"], PASSWORD))
    finally:
        verifier.close()
    assert answer.startswith("later: the process that asks PAM has ended")
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_verifier_ends_with_those_who_could_ask(hanging_service: str, users: Users, tmp_path: Path) -> None:
    """A server that is killed leaves no verifier, no attempt and no program of a module behind."""
    code = (
        "import sys, threading, time\n"
        "from popframe_auth_pam.verifier_process import VerifierProcess\n"
        "from popframe_auth_pam.message import Limits, Question\n"
        "verifier = VerifierProcess(sys.argv[1], Limits(60))\n"
        "question = Question(sys.argv[2].encode(), b'x', b'')\n"
        "threading.Thread(target=verifier.ask, args=[question], daemon=True).start()\n"
        "print(verifier.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, hanging_service, users["alice"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        verifier = int(server.stdout.readline())
        wait_until((tmp_path / "hung").exists)
        (worker,) = children(verifier)
        family = [verifier, worker, *children(worker), int((tmp_path / "hung").read_text())]
        assert len(family) == 4
        assert all(map(is_running, family))
        server.kill()

    wait_until(lambda: not any(map(is_running, family)))


def test_verifier_of_another_user_checks_that_users_password_alone(make_service: MakeService, users: Users) -> None:
    """Without root pam_unix asks unix_chkpwd, which tells nobody about others: not "wrong", but "cannot tell"."""
    alice = pwd.getpwnam(users["alice"])
    code = (  # it becomes the user only when everything is imported, which the user may not be able to read
        "import os, sys\n"
        "from popframe_auth_pam import linux, verifier\n"
        f"os.setgroups([]); os.setresgid(*[{alice.pw_gid}] * 3); os.setresuid(*[{alice.pw_uid}] * 3)\n"
        "linux._prctl(linux.PR_SET_DUMPABLE, 1)\n"  # as it is when this user has started the program
        "sys.exit(verifier.main(sys.argv[1:]))\n"
    )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    arguments = [str(theirs.fileno()), make_service(PAM_UNIX), "60", "4"]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], pass_fds=[theirs.fileno()]) as verifier, ours:
        theirs.close()
        ours.settimeout(PATIENCE_SECONDS)
        assert ours.recv(100) == READY
        # What cannot be dumped is root's in /proc: the user's other processes cannot read the passwords in its memory.
        assert Path(f"/proc/{verifier.pid}/mem").stat().st_uid == 0

        assert isinstance(ask(ours, question(users["alice"]).encode()), Accepted)
        assert isinstance(ask(ours, question(users["alice"], b"wrong").encode()), Refused)
        other = ask(ours, question(users["nologin"]).encode())
        assert isinstance(other, Unavailable)
        assert "PAM_AUTHINFO_UNAVAIL" in other.reason


def ask(verifier: socket.socket, datagram: bytes) -> Answer | None:
    """Send a datagram with a socket for the answer; None when the verifier closes that without a word."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.settimeout(PATIENCE_SECONDS)
        with theirs:
            socket.send_fds(verifier, [datagram], [theirs.fileno()])
        answer = ours.recv(MAX_MESSAGE_OCTETS)
    return decode_answer(answer) if answer else None


def test_verifier_bears_whatever_it_is_sent(
    start_verifier: Callable[..., VerifierProcess], make_service: MakeService, users: Users
) -> None:
    """A server that was broken into can send anything: nothing, no socket, a file, several, other fields, too much."""
    verifier = start_verifier(make_service(PAM_UNIX))
    channel = verifier._socket
    datagrams = (b"", b"\0", b"\0\0", b"\0\0\0", b"\0b", b"a\0b\0c\0d", b"a" * 512 + b"\0b\0", b"x" * 60_000)
    with Path("/etc/passwd").open("rb") as file:
        for datagram in datagrams:
            channel.send(datagram)
            socket.send_fds(channel, [datagram], [file.fileno()])
            assert ask(channel, datagram) is None
    with Path("/etc/passwd").open("rb") as file:
        socket.send_fds(channel, [question(users["nologin"]).encode()], [file.fileno()] * 5)

    assert isinstance(verifier.ask(question(users["nologin"])), Accepted)
    (worker,) = children(verifier.pid)
    wait_until(lambda: not children(worker))
    assert not any("socket" in target or "passwd" in target for target in extra_descriptors(worker))


def extra_descriptors(pid: int) -> list[str]:
    """Return what a process has open beyond its standard streams and its one socket."""
    targets = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if int(path.name) > 2]
    sockets = [target for target in targets if "socket" in target]
    return [target for target in targets if target not in sockets[:1]]


def test_memory_of_the_verifier_is_not_dumped(plugin: AuthPam) -> None:
    """Passwords pass through it."""
    pid = plugin._verifier.pid
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (core,) = [line.split() for line in limits if line.startswith("Max core file size")]

    assert core[4:6] == ["0", "0"]


@pytest.mark.parametrize(
    "datagram", [b"", b"accepted", b"accepted\0a\0x\0y\0\0", b"refused", b"other\0reason", b"\xff"]
)
def test_what_is_no_answer_is_not_taken_for_one(datagram: bytes) -> None:
    """An answer has exactly its fields."""
    with pytest.raises(ValueError, match=r"not an answer|invalid literal"):
        decode_answer(datagram)


def test_question_does_not_show_its_password() -> None:
    """It may come into a traceback or a log."""
    assert b"secret".decode() not in repr(question("alice", b"secret"))
