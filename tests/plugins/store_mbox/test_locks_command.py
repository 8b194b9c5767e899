"""``popframe locks check``: what can be had, who holds the rest, and which agents disagree."""

from __future__ import annotations

import argparse
import os
import pwd
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import Account
from popframe.cli import main
from popframe_store_mbox import Settings, StoreMbox
from popframe_store_mbox.lock import LockKind
from popframe_store_mbox.place import Place, find_place
from popframe_store_mbox.tools.locks import command
from popframe_store_mbox.tools.locks.advice import file_system_type, warnings_about_trial
from popframe_store_mbox.tools.locks.agents import (
    AGENTS,
    SYSTEM_FOLDERS,
    Agent,
    crossed_locks,
    installed_agents,
    warnings_about,
    warnings_between,
)
from popframe_store_mbox.tools.locks.trial import Attempt, Outcome, Trial
from popframe_store_mbox.tools.locks.user import User, as_user

ONE = b"From bob@example.org Mon Jan  5 09:00:00 2026\nSubject: a\n\na\n\n"
KINDS: tuple[LockKind, ...] = ("dotlock", "fcntl", "flock")
HOST = os.uname().nodename
NOBODY = 65534

Capture = pytest.CaptureFixture[str]
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

AS_USER = """
import argparse, os, sys
from popframe_store_mbox.tools.locks import command
parser = argparse.ArgumentParser()
command.add_arguments(parser)
arguments = parser.parse_args(sys.argv[2:])
uid = int(sys.argv[1])
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
sys.exit(command.run(arguments))
"""
"""Runs the command as a user who need not be able to read this checkout."""


@pytest.fixture(autouse=True)
def full_spool(spool: Path) -> None:
    """Let alice have a message."""
    spool.write_bytes(ONE)


@pytest.fixture
def public_dir() -> Iterator[Path]:
    """Return a directory that everybody may enter, with alice's spool, which is nobody's."""
    with TemporaryDirectory() as directory:
        path = Path(directory)
        path.chmod(0o755)
        (path / "alice").write_bytes(ONE)
        if os.geteuid() == 0:
            os.chown(path / "alice", NOBODY, NOBODY)
        yield path


def locks(*arguments: object) -> int:
    """Run the command in this process, on a machine without mail agents."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = ["check", "--agent-path", "/nonexistent", *map(str, arguments)]
    return command.run(parser.parse_args(words))


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    argv = [sys.executable, "-m", "popframe", "locks", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "80"})


def outcomes(output: str) -> dict[str, str]:
    """Return what is said of each lock."""
    found = re.findall(r"^  (session|dotlock|fcntl|flock) +(.*)$", output, re.MULTILINE)
    return dict(found)


def warnings(output: str) -> list[str]:
    """Return the warnings."""
    return re.findall(r"^warning: (.*)$", output, re.MULTILINE)


def content_of(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Return what is in a directory: inode, size and time of the last change of each file."""
    entries = ((entry.name, entry.stat()) for entry in directory.iterdir())
    return {name: (status.st_ino, status.st_size, status.st_ctime_ns) for name, status in entries}


@contextmanager
def locked_by_another_process(spool: Path, call: str) -> Iterator[int]:
    """Hold a lock on the spool in a child process; give its number."""
    program = (
        f"import fcntl, os, struct, sys; f = open({str(spool)!r}, 'r+'); {call}; print('locked', flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-I", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "locked\n"
        try:
            yield child.pid
        finally:
            child.communicate()


# --- locks that can be had ----------------------------------------------------------------------------------------


def test_all_locks_are_taken_in_order(spool: Path, capsys: Capture) -> None:
    """Exit status 0; nothing is left behind, and nothing changes."""
    before = content_of(spool.parent)

    assert locks(spool) == 0
    output = capsys.readouterr().out
    lines = output.splitlines()
    owner = f"{pwd.getpwuid(os.geteuid()).pw_name}"
    assert lines[0].startswith(f"{spool}: 61 octets, mode 0644 {owner}:")
    assert lines[1] == (
        f"locks of the plugin's defaults: dotlock, then fcntl, then flock; tried as {owner} (uid {os.geteuid()})"
    )
    assert list(outcomes(output)) == ["session", *KINDS]
    assert outcomes(output)["session"] == "free"
    assert all(re.fullmatch(r"taken in \d+\.\d ms", outcomes(output)[kind]) for kind in KINDS)
    assert warnings(output) == []
    assert content_of(spool.parent) == before


def test_spool_that_is_not_there_is_not_made(spool: Path, capsys: Capture) -> None:
    """Its user has no mail; only the dot-lock needs no spool."""
    spool.unlink()

    assert locks(spool) == 0
    output = capsys.readouterr().out
    assert f"{spool}: no such file, so an empty maildrop" in output
    assert outcomes(output)["dotlock"].startswith("taken")
    assert outcomes(output)["fcntl"] == outcomes(output)["flock"] == "not tried: there is no spool yet"
    assert os.listdir(spool.parent) == []


def test_locks_are_those_of_the_configuration(spool: Path, tmp_path: Path, capsys: Capture) -> None:
    """Set and order, and where the session's lock is; a relative path starts from the file's folder."""
    config = tmp_path / "popframe.toml"
    config.write_text(
        'plugins = ["auth_file", "store_mbox"]\n\n[plugin.store_mbox]\n'
        'locks = ["flock", "dotlock"]\nstate_dir = "state"\n'
    )

    assert locks("--config", config, spool) == 1
    output = capsys.readouterr().out
    assert f"locks of {config}: flock, then dotlock; tried" in output
    assert list(outcomes(output)) == ["session", "flock", "dotlock"]
    assert outcomes(output)["session"] == f"forbidden: {tmp_path}/state: there is no such directory"
    (tmp_path / "state").mkdir()
    assert locks("--config", config, spool) == 0


# --- locks that are held ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        ("flock", "fcntl.flock(f, fcntl.LOCK_EX)"),
        ("flock", "fcntl.flock(f, fcntl.LOCK_SH)"),
        ("fcntl", "fcntl.lockf(f, fcntl.LOCK_EX)"),
        ("fcntl", "fcntl.fcntl(f, fcntl.F_OFD_SETLK, struct.pack('hhqqi', fcntl.F_WRLCK, 0, 0, 0, 0))"),
    ],
)
def test_holder_of_a_kernel_lock_is_named(spool: Path, capsys: Capture, kind: str, call: str) -> None:
    """By process id and name; the other locks are tried all the same."""
    with locked_by_another_process(spool, call) as pid:
        start = time.monotonic()
        status = locks("--timeout", "0.3", spool)
        elapsed = time.monotonic() - start
    output = capsys.readouterr().out
    expected = rf"held by process {pid} \(python[0-9.]*\) \(waited 0\.[3-9] s\)"

    assert status == 1
    assert re.fullmatch(expected, outcomes(output)[kind])
    assert sum(text.startswith("taken") for text in outcomes(output).values()) == 2
    assert [text.partition(" (python")[0] for text in warnings(output)] == [
        f"The {kind} lock is not to be had at present: held by process {pid}"
    ]
    assert 0.3 <= elapsed < 5


@pytest.mark.parametrize(
    ("content", "holder"),
    [
        ("OWN:HOST", r"process OWN \(.*\), since "),
        ("OWN\n", r"process OWN \(.*\), since "),
        ("999999999:HOST", "process 999999999, which is not running, since "),
        ("7:elsewhere.example.org", r"process 7 on elsewhere\.example\.org, since "),
        ("", "a process that did not sign it, since "),
        ("\x1b[2J", "a process that did not sign it, since "),
    ],
)
def test_holder_of_a_dotlock_is_named(spool: Path, capsys: Capture, content: str, holder: str) -> None:
    """And since when; however old it is, it stays: breaking it is for the server."""
    dotlock = spool.with_name("alice.lock")
    dotlock.write_text(content.replace("OWN", str(os.getpid())).replace("HOST", HOST))
    os.utime(dotlock, (time.time() - 4000, time.time() - 4000))
    before = content_of(spool.parent)

    assert locks("--timeout", 0, spool) == 1
    output = capsys.readouterr().out
    by = holder.replace("OWN", str(os.getpid()))
    held = rf"held by {by}\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\S+ \(400\d s ago\)( \(waited 0.0 s\))?"
    assert re.fullmatch(held, outcomes(output)["dotlock"])
    assert content_of(spool.parent) == before


def test_open_session_is_told(spool: Path, capsys: Capture) -> None:
    """A second login is refused then, and the operator sees why."""
    maildrop = StoreMbox(Settings(spool_dir=spool.parent)).popframe_open_maildrop(Account("alice"))
    before = content_of(spool.parent)
    status = locks(spool)
    after = content_of(spool.parent)
    maildrop.close()
    output = capsys.readouterr().out

    assert status == 1
    assert re.fullmatch(rf"held by process {os.getpid()} \(.*\), since 20[-0-9T:+]+", outcomes(output)["session"])
    assert warnings(output)[0].startswith("A login is refused as in use at present")
    assert after == before
    assert locks(spool) == 0


def test_record_of_a_killed_session_stays(spool: Path) -> None:
    """The next session reads in it whose dot-lock it need not wait for."""
    session_lock = spool.with_name(".alice.popframe-lock")
    session_lock.write_text("999999999 since 2026-01-05T09:00:00+00:00".ljust(39) + "\n")
    before = content_of(spool.parent)

    assert locks(spool) == 0
    assert content_of(spool.parent) == before


# --- other users --------------------------------------------------------------------------------------------------


@only_root
def test_directory_of_debian_is_explained(public_dir: Path, capsys: Capture) -> None:
    """Mode 2775, root:mail: neither the dot-lock nor the session's lock can be made by the spool's owner."""
    os.chown(public_dir, 0, 8)
    public_dir.chmod(0o2775)
    config = public_dir.with_name("popframe.toml")
    config.write_text('plugins = ["store_mbox"]\n[plugin.store_mbox]\ndotlock_helper = "/nonexistent"\n')

    assert locks("--config", config, public_dir / "alice") == 1
    output = capsys.readouterr().out
    assert "tried as nobody (uid 65534)" in output
    assert outcomes(output)["session"] == f"forbidden: {public_dir}: no permission to create files there"
    assert outcomes(output)["dotlock"].startswith("forbidden: no permission to create the dot-lock")
    assert outcomes(output)["fcntl"].startswith("taken")
    session, dotlock = warnings(output)
    assert session.startswith("No session of user nobody can begin")
    assert session.endswith("Set state_dir to a directory in which that user may create files.")
    assert dotlock.startswith(f"The dot-lock cannot be made: {public_dir} has mode 2775 root:mail, so user nobody may")
    assert f"chmod 1777 {public_dir}" in dotlock
    assert "adduser nobody mail" in dotlock
    assert sorted(os.listdir(public_dir)) == ["alice"]


@only_root
def test_root_tries_as_the_user_that_is_named(public_dir: Path, tmp_path: Path, capsys: Capture) -> None:
    """By the option first, then by the configuration, then by the owner of the spool; it stays root itself."""
    public_dir.chmod(0o1777)
    config = tmp_path / "popframe.toml"
    config.write_text('plugins = ["store_mbox"]\n[server]\nrun_as = "daemon"\n')
    apart = tmp_path / "apart.toml"
    apart.write_text('plugins = ["store_mbox"]\n[server]\nrun_as = "daemon"\nisolation = "per-user"\n')
    users = []
    for options in (["--user", "nobody", "--config", config], ["--config", config], ["--config", apart], []):
        locks(*options, public_dir / "alice")
        users.append(capsys.readouterr().out.splitlines()[1].partition("tried as ")[2])

    daemon, nobody = f"daemon (uid {pwd.getpwnam('daemon').pw_uid})", "nobody (uid 65534)"
    assert users == [nobody, daemon, nobody, nobody]
    assert os.getresuid() == (0, 0, 0)
    assert locks(public_dir / "alice") == 0


@only_root
def test_spool_of_another_user_is_refused_in_the_words_of_the_server(public_dir: Path, capsys: Capture) -> None:
    """Nobody gets another's mail; the kernel's locks cannot be tried then."""
    (public_dir / "alice").chmod(0o666)
    public_dir.chmod(0o1777)
    daemon = pwd.getpwnam("daemon").pw_uid

    assert locks("--user", "daemon", public_dir / "alice") == 1
    output = capsys.readouterr().out
    assert warnings(output) == [
        f"The server refuses this spool: {public_dir}/alice belongs to user {NOBODY}, not to {daemon}."
    ]
    assert outcomes(output)["fcntl"] == "not tried: the spool may not be opened"


@only_root
def test_root_names_the_holder_that_a_user_cannot_see(public_dir: Path, capsys: Capture) -> None:
    """A lock of an open file description has no process of its own in ``/proc/locks``."""
    public_dir.chmod(0o1777)
    call = "fcntl.fcntl(f, fcntl.F_OFD_SETLK, struct.pack('hhqqi', fcntl.F_WRLCK, 0, 0, 0, 0))"
    with locked_by_another_process(public_dir / "alice", call) as pid:
        status = locks("--timeout", 0, public_dir / "alice")

    assert status == 1
    assert outcomes(capsys.readouterr().out)["fcntl"].startswith(f"held by process {pid} (python")


@only_root
def test_who_is_not_root_is_told_what_modes_say(public_dir: Path) -> None:
    """Nothing is taken as another user, and nothing claimed to have been."""
    public_dir.chmod(0o1777)
    dotlock = public_dir / "alice.lock"
    spool = public_dir / "alice"
    daemon = pwd.getpwnam("daemon").pw_uid
    argv = [sys.executable, "-c", AS_USER, str(daemon), "check", "--agent-path", "", "--user", "nobody", str(spool)]
    results = []
    for change in (
        lambda: None,
        lambda: dotlock.write_text(f"{os.getpid()}:{HOST}"),
        lambda: public_dir.chmod(0o755),
        lambda: spool.chmod(0o400),
    ):
        change()
        with locked_by_another_process(spool, "fcntl.lockf(f, fcntl.LOCK_EX)") as pid:
            result = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert result.stderr == ""
        assert "not tried: only root can become nobody (uid 65534)" in result.stdout
        results.append(outcomes(result.stdout))

    assert results[0]["session"] == results[0]["dotlock"] == results[0]["flock"] == "free"
    assert results[0]["fcntl"].startswith("held by process ")
    assert results[1]["dotlock"].startswith(f"held by process {os.getpid()}")
    assert results[2]["dotlock"] == f"forbidden: {public_dir}: no permission to create files there"
    assert results[3]["flock"] == "not tried: the spool may not be opened"
    assert pid > 0


@only_root
def test_session_and_way_to_the_spool_are_judged_from_outside(public_dir: Path) -> None:
    """Who is logged in is seen by the lock; a closed directory on the way keeps the user out."""
    folder = public_dir / "mail"
    folder.mkdir()
    folder.chmod(0o1777)
    spool, session_lock = folder / "alice", folder / ".alice.popframe-lock"
    for path in (spool, session_lock):
        path.touch()
        os.chown(path, NOBODY, NOBODY)
    daemon = pwd.getpwnam("daemon").pw_uid
    argv = [sys.executable, "-c", AS_USER, str(daemon), "check", "--agent-path", "", "--user", "nobody", str(spool)]
    with locked_by_another_process(session_lock, "fcntl.flock(f, fcntl.LOCK_EX)") as pid:
        in_use = subprocess.run(argv, capture_output=True, text=True, check=False)
    public_dir.chmod(0o700)
    os.chown(public_dir, daemon, daemon)
    closed = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert outcomes(in_use.stdout)["session"].startswith(f"held by process {pid} (python")
    assert outcomes(closed.stdout)["dotlock"].startswith("forbidden")
    assert f"{spool}: user nobody may not open it for writing" in closed.stdout


@only_root
def test_user_tries_his_own_spool(public_dir: Path) -> None:
    """No privilege is needed for that."""
    public_dir.chmod(0o1777)
    argv = [sys.executable, "-c", AS_USER, str(NOBODY), "check", "--agent-path", "", str(public_dir / "alice")]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert (result.returncode, result.stderr) == (0, "")
    assert "tried as nobody (uid 65534)" in result.stdout
    assert list(outcomes(result.stdout)) == ["session", *KINDS]


@only_root
def test_child_is_the_user_with_its_own_groups_alone() -> None:
    """Root's groups would let it into places where a session cannot be."""
    nobody = User.named("nobody")
    told = as_user(nobody, lambda: Trial(f"{os.getresuid()} {os.getresgid()} {sorted(os.getgroups())}", ())).refusal

    assert told == f"{(NOBODY,) * 3} {(nobody.gid,) * 3} {sorted(nobody.groups)}"


@only_root
def test_child_that_fails_is_told() -> None:
    """Its error comes back, and nothing of it runs on in the parent's place."""

    def fail() -> Trial:
        raise OSError("no way")

    def die() -> Trial:
        os.kill(os.getpid(), 9)
        return Trial("", ())

    with pytest.raises(ChildProcessError, match=r"as user nobody: OSError: no way"):
        as_user(User.named("nobody"), fail)
    with pytest.raises(ChildProcessError, match=r"as user nobody: 9"):
        as_user(User.named("nobody"), die)


def test_first_class_that_fits_decides() -> None:
    """As in the kernel: the owner is not helped by what others may."""

    def may(mode: int, uid: int, gid: int) -> bool:
        status = os.stat_result([stat.S_IFREG | mode, 1, 1, 1, 7, 8, 0, 0, 0, 0])
        return User("x", uid, gid, frozenset({gid})).may(status, os.R_OK | os.W_OK)

    assert [may(0o600, 7, 8), may(0o600, 6, 8), may(0o060, 7, 8), may(0o060, 6, 8)] == [True, False, False, True]
    assert [may(0o006, 7, 1), may(0o006, 6, 8), may(0o006, 6, 1), may(0o400, 6, 1), may(0, 0, 0)] == [
        False,
        False,
        True,
        False,
        True,
    ]


# --- spools that are refused, and mistakes ------------------------------------------------------------------------


@pytest.mark.parametrize("obstacle", ["link", "directory", "fifo", "hard link"])
def test_spool_that_is_not_a_plain_file_is_refused(spool: Path, capsys: Capture, obstacle: str) -> None:
    """As at a login, and without waiting."""
    spool.unlink()
    if obstacle == "link":
        spool.symlink_to("elsewhere")
    elif obstacle == "directory":
        spool.mkdir()
    elif obstacle == "fifo":
        os.mkfifo(spool)
    else:
        spool.write_bytes(ONE)
        spool.with_name("second").hardlink_to(spool)

    assert locks(spool) == 1
    output = capsys.readouterr().out
    assert warnings(output)[0].startswith("The server refuses this spool: ")
    assert str(spool) in warnings(output)[0]
    assert outcomes(output)["flock"] == "not tried: the spool may not be opened"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, r".*popframe\.toml: cannot be read: No such file or directory"),
        ('plugins = ["auth_file"]\n', r".*popframe\.toml:1: plugins: 'store_mbox' is not in this list"),
        (
            'plugins = ["store_mbox"]\n[plugin.store_mbox]\nlocks = ["lockf"]\nstale = 3\n',
            r".*\.toml:3: plugin\.store_mbox\.locks\[0\]: (.*\n)+.*\.toml:4: plugin\.store_mbox\.stale: unknown key.*",
        ),
        (
            'plugins = ["store_mbox"]\n[server]\nrun_as = "no-such-user"\n',
            r".*\.toml:3: server\.run_as: this machine has no user 'no-such-user'",
        ),
    ],
)
def test_mistake_in_the_configuration_is_told(
    spool: Path, tmp_path: Path, capsys: Capture, config: str | None, message: str
) -> None:
    """Exit status 2, no trace, and no lock was taken."""
    path = tmp_path / "popframe.toml"
    if config is not None:
        path.write_text(config)
    status = main(["locks", "check", "--config", str(path), str(spool)])
    output = capsys.readouterr()

    assert (status, output.out) == (2, "")
    assert re.fullmatch(message, output.err.rstrip("\n"))


def test_place_that_cannot_be_a_spool_is_a_mistake(spool: Path, capsys: Capture) -> None:
    """No directory, or a name that no spool has."""
    assert locks(spool / "x") == 2
    assert capsys.readouterr().err == f"popframe locks: {spool}: no such directory\n"
    assert locks(spool.with_name("alice.lock")) == 2
    assert "is not a path that names a spool file" in capsys.readouterr().err
    assert locks("--user", "no-such-user", spool) == 2
    assert capsys.readouterr().err == "popframe locks: this machine has no user 'no-such-user'\n"


@pytest.mark.parametrize("seconds", ["-1", "61", "nan", "soon"])
def test_timeout_out_of_bounds_is_a_mistake(spool: Path, capsys: Capture, seconds: str) -> None:
    """Nobody waits for ever by a slip."""
    with pytest.raises(SystemExit) as ended:
        locks("--timeout", seconds, spool)

    assert ended.value.code == 2
    assert "--timeout" in capsys.readouterr().err


# --- file systems -------------------------------------------------------------------------------------------------


@only_root
def test_type_of_the_file_system_is_that_of_the_directory() -> None:
    """The innermost mount counts."""
    assert file_system_type("/proc/self") == "proc"
    assert file_system_type("/sys/kernel") == "sysfs"


@pytest.fixture
def place(spool: Path) -> Place:
    """Return where alice's mail is."""
    return find_place(Account("alice"), spool.parent, None)


def test_missing_kind_of_lock_is_explained(place: Place) -> None:
    """Some network file systems have none."""
    trial = Trial("", (Attempt("flock", Outcome.UNSUPPORTED, text="flock lock on x: Operation not supported"),))

    assert list(warnings_about_trial(trial, place, User.own(), "9p")) == [
        'The file system (9p) has no flock lock (flock lock on x: Operation not supported): leave "flock" out of the '
        "setting locks, if no program relies on it alone."
    ]


@pytest.mark.parametrize(("file_system", "count"), [("nfs4", 1), ("cifs", 1), ("ext4", 0), ("", 0)])
def test_two_locks_that_are_one_are_warned_of(place: Place, file_system: str, count: int) -> None:
    """On NFS flock is carried out as a lock of fcntl's kind (flock(2))."""
    trial = Trial("", tuple(Attempt(kind, Outcome.TAKEN) for kind in KINDS))

    assert len(list(warnings_about_trial(trial, place, User.own(), file_system))) == count


# --- agents -------------------------------------------------------------------------------------------------------


def install(folder: Path, **programs: str) -> str:
    """Put programs of an agent into a folder; return the path to look in."""
    for name, script in programs.items():
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return str(folder)


def test_agents_are_asked_for_their_locks(tmp_path: Path) -> None:
    """Those that can be; of the rest the table knows."""
    path = install(
        tmp_path,
        postconf='[ "$*" = "-h mailbox_delivery_lock" ] && echo "fcntl, dotlock"',
        doveconf='[ "$*" = "-h mbox_write_locks" ] && echo "fcntl dotlock_try"',
        procmail='[ "$*" = -v ] && echo "Locking strategies:\tdotlocking, fcntl(), flock()" >&2',
        dma="exit 64",
    )

    assert [(agent.name, agent.locks, agent.program) for agent in installed_agents(path)] == [
        ("postfix", ("dotlock", "fcntl"), f"{tmp_path}/postconf"),
        ("procmail", ("dotlock", "fcntl", "flock"), f"{tmp_path}/procmail"),
        ("dma", ("flock",), f"{tmp_path}/dma"),
        ("dovecot", ("fcntl", "dotlock"), f"{tmp_path}/doveconf"),
    ]


@pytest.mark.parametrize("script", ["exit 1", "echo", "echo none; exit 0", "echo dotlock; exit 1", "kill -9 $$"])
def test_agent_that_gives_no_answer_is_taken_to_have_its_default(tmp_path: Path, script: str) -> None:
    """And that is said."""
    (agent,) = installed_agents(install(tmp_path, postconf=script))

    assert agent.locks == ("dotlock", "fcntl")
    assert agent.source == "its default: 'postconf -h mailbox_delivery_lock' gave no answer"


def test_agents_of_this_machine_answer() -> None:
    """What is asked is understood by the programs themselves, as far as they are installed."""
    found = installed_agents(os.pathsep.join(SYSTEM_FOLDERS))

    assert [one.name for one in found if "gave no answer" in one.source or not one.locks] == []


def agent(*kinds: LockKind, **more: str) -> Agent:
    """Return an agent that takes some locks."""
    return Agent("mda", "/mda", kinds, "the test", order_setting=more.get("order_setting", ""))


@pytest.mark.parametrize(
    ("ours", "theirs", "crossed"),
    [
        (KINDS, ("dotlock", "fcntl"), None),
        (KINDS, ("flock",), None),
        (KINDS, ("fcntl", "dotlock"), ("dotlock", "fcntl")),
        (("fcntl", "dotlock"), ("dotlock", "fcntl"), ("fcntl", "dotlock")),
        (KINDS, ("dotlock", "flock", "fcntl"), None),
        (KINDS, ("flock", "dotlock", "fcntl"), ("dotlock", "flock")),
        (("fcntl", "flock"), ("flock", "fcntl"), ("fcntl", "flock")),
        (("flock",), ("fcntl", "dotlock"), None),
    ],
)
def test_opposite_orders_are_found(
    ours: tuple[LockKind, ...], theirs: tuple[LockKind, ...], crossed: tuple[str, str] | None
) -> None:
    """Unless a lock before both lets only one of the two programs get that far."""
    assert crossed_locks(ours, theirs) == crossed


ORDERS = st.lists(st.sampled_from(KINDS), unique=True, min_size=1).map(tuple)


@given(ORDERS, ORDERS)
def test_order_is_crossed_exactly_when_two_programs_can_block_each_other(
    ours: tuple[LockKind, ...], theirs: tuple[LockKind, ...]
) -> None:
    """Both take one lock after the other; of all ways to interleave them, does one end with each waiting?"""
    waiting = [(0, 0)]
    blocked = False
    while waiting:
        we, they = waiting.pop()
        our_step = we < len(ours) and ours[we] not in theirs[:they]
        their_step = they < len(theirs) and theirs[they] not in ours[:we]
        is_waiting = we < len(ours) and they < len(theirs)
        blocked |= is_waiting and not our_step and not their_step
        waiting += [(we + 1, they)] * our_step + [(we, they + 1)] * their_step

    assert (crossed_locks(ours, theirs) is not None) == blocked


def test_agent_without_a_common_lock_is_warned_of() -> None:
    """Both may write at once."""
    (warning,) = warnings_about(("dotlock", "fcntl"), agent("flock"))

    assert warning.startswith("mda takes flock alone, which the server does not take")
    assert 'Add "flock" to the setting locks.' in warning
    assert warnings_about(KINDS, agent("flock")) == []


def test_agent_that_may_go_on_without_the_dotlock_is_warned_of() -> None:
    """Dovecot does where the directory is not writable."""
    (dovecot,) = (one for one in AGENTS if one.name == "dovecot")
    (warning,) = warnings_about(("dotlock",), dovecot)

    assert "goes on without the dot-lock" in warning
    assert 'Add "fcntl" to the setting locks.' in warning
    assert warnings_about(("dotlock",), agent("dotlock", "fcntl")) == []
    assert warnings_about(KINDS, dovecot) == []


def test_opposite_order_is_warned_of_with_what_to_set() -> None:
    """Debian's dovecot has ``fcntl dotlock`` by default."""
    (warning,) = warnings_about(KINDS, agent("fcntl", "dotlock", order_setting="mbox_write_locks"))

    assert warning.startswith("mda takes fcntl before dotlock, the server dotlock before fcntl")
    assert warning.endswith("Set mbox_write_locks = dotlock fcntl in mda, or change the order of the setting locks.")


def test_agents_that_miss_each_other_are_warned_of() -> None:
    """Dma takes flock alone, so it and procmail mix their messages, whatever the server does."""
    by_name = {agent.name: agent for agent in AGENTS}
    (warning,) = warnings_between([by_name[name] for name in ("procmail", "maildrop", "dma")])

    assert warning.startswith("procmail, maildrop (dotlock and fcntl) on one side and dma (flock) on the other")
    assert warnings_between([by_name["procmail"], by_name["exim"], by_name["mailutils"]]) == []


def test_agents_are_told_and_compared(spool: Path, tmp_path: Path, capsys: Capture) -> None:
    """With the source of each fact; a warning makes exit status 1."""
    path = install(tmp_path, doveconf="echo fcntl dotlock", maildrop="")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)

    assert command.run(parser.parse_args(["check", "--agent-path", path, str(spool)])) == 1
    output = capsys.readouterr().out
    assert "  maildrop  dotlock, then fcntl (strace of maildrop 2.9.3)\n" in output
    assert "  dovecot   fcntl, then dotlock (doveconf -h mbox_write_locks; " in output
    assert len(warnings(output)) == 1


# --- as a command -------------------------------------------------------------------------------------------------


def test_command_works_as_a_process(spool: Path) -> None:
    """Found by its entry point."""
    result = run("check", "--agent-path", "", spool)

    assert (result.returncode, result.stderr) == (0, "")
    assert list(outcomes(result.stdout)) == ["session", *KINDS]


@pytest.mark.parametrize("arguments", [[], ["check"], ["take", "alice"]])
def test_wrong_command_line_is_told(arguments: list[str]) -> None:
    """Exit status 2, and how it would be right."""
    result = run(*arguments)

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("usage: popframe locks ")


def test_help_tells_exit_status_and_examples() -> None:
    """In lines that fit a terminal."""
    result = run("check", "--help")

    assert (result.returncode, result.stderr) == (0, "")
    assert "exit status:" in result.stdout
    assert "examples:" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["int", "term", "hup"],
)
@pytest.mark.parametrize("pause_seconds", [0, 0.1])
def test_command_that_is_ended_leaves_no_dotlock(spool: Path, number: int, status: int, pause_seconds: float) -> None:
    """While it waits for another lock, and just after it has made the dot-lock: what was taken is given back."""
    with locked_by_another_process(spool, "fcntl.lockf(f, fcntl.LOCK_EX)"):
        argv = [sys.executable, "-m", "popframe", "locks", "check", "--timeout", "20", str(spool)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 20
        while not spool.with_name("alice.lock").exists():
            assert time.monotonic() < deadline
        time.sleep(pause_seconds)
        process.send_signal(number)
        output = process.communicate()

    assert (process.returncode, output) == (status, (b"", b""))
    assert os.listdir(spool.parent) == ["alice"]
