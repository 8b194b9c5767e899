"""``popframe passwd``: what it makes of a file, what it refuses, and how it asks."""

from __future__ import annotations

import argparse
import errno
import io
import os
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import verify_password
from popframe.password import SCHEMES as CORE_SCHEMES
from popframe_auth_file import passwd_command
from popframe_auth_file.user_file import parse

HASH = "$1$iH8nh9Ru$10vWy2kL3UYutmsYQeq6X1"

TERMINAL_SECONDS = 20.0
"""How long a prompt may take; a loaded machine is slow."""

OWN_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "popframe", "passwd", *sys.argv[1:]])
"""
"""Runs the command as a shell in a terminal window would: in a session whose terminal is standard input."""

RACE = """
import argparse, io, os, sys
from popframe_auth_file import passwd_command
parser = argparse.ArgumentParser()
passwd_command.add_arguments(parser)
start, go = os.pipe()
for name in sys.argv[2:]:
    if os.fork() == 0:
        os.close(go)
        sys.stdin, sys.stdout = io.TextIOWrapper(io.BytesIO(name.encode())), sys.stderr
        os.read(start, 1)
        os._exit(passwd_command.run(parser.parse_args([sys.argv[1], name])))
os.close(go)
print(sorted({os.wait()[1] for _ in sys.argv[2:]}))
"""
"""Runs the command in as many processes as there are names, all from the same moment on; prints their statuses."""

Passwd = Callable[..., int]
StampOf = Callable[[Path], tuple[int, ...]]


@pytest.fixture
def passwd(monkeypatch: pytest.MonkeyPatch) -> Passwd:
    """Return a function that runs the command in this process, with octets as standard input."""

    def passwd(*arguments: object, typed: bytes = b"") -> int:
        parser = argparse.ArgumentParser()
        passwd_command.add_arguments(parser)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed)))
        return passwd_command.run(parser.parse_args([str(argument) for argument in arguments]))

    return passwd


def hash_of(path: Path, username: str) -> str:
    """Return the hash field of a user."""
    return parse(path.read_bytes(), str(path))[username].stored


# --- what becomes of the file -------------------------------------------------------------------------------------


def test_user_is_added_behind_the_others(passwd: Passwd, users_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A new user gets a line of the default scheme; nothing else changes."""
    before = users_path.read_bytes()

    assert passwd(users_path, "bob@example.org", typed=b"secret\n") == 0
    assert users_path.read_bytes().startswith(before + b"bob@example.org:$y$")
    assert verify_password(b"secret", hash_of(users_path, "bob@example.org"))
    assert capsys.readouterr() == (f"{users_path}: user 'bob@example.org' added\n", "")


def test_everything_else_stays_when_a_password_changes(
    passwd: Passwd, users_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Comments, order, other users and the user's own fields are kept octet by octet."""
    before = f"# ours\n\nbob:!\n  # alice:x\nalice:{HASH}:maildrop=/m%20x  uid=7\n#end\ncarol:{HASH}:home=/c"
    users_path.write_text(before)

    assert passwd(users_path, "alice", typed=b"secret\n") == 0
    stored = hash_of(users_path, "alice")
    assert users_path.read_text() == before.replace(f"alice:{HASH}", f"alice:{stored}")
    assert verify_password(b"secret", stored)
    assert capsys.readouterr().out == f"{users_path}: user 'alice' changed\n"


@pytest.mark.parametrize("field", ["", "!", f"!{HASH}"])
def test_locked_user_gets_a_password(passwd: Passwd, users_path: Path, field: str) -> None:
    """Setting a password unlocks."""
    users_path.write_text(f"alice:{field}\n")

    assert passwd(users_path, "alice", typed=b"secret\n") == 0
    assert verify_password(b"secret", hash_of(users_path, "alice"))


@pytest.mark.parametrize("before", [f"alice:{HASH}\r\nbob:{HASH}\r\n", f"bob:{HASH}:uid=1\r\nalice:{HASH}"])
def test_line_ends_stay(passwd: Passwd, users_path: Path, before: str) -> None:
    """A file with the line ends of DOS, or without the last one, keeps them."""
    users_path.write_bytes(before.encode())

    assert passwd(users_path, "alice", typed=b"secret\n") == 0
    stored = hash_of(users_path, "alice")
    assert users_path.read_bytes() == before.replace(f"alice:{HASH}", f"alice:{stored}").encode()


def test_user_is_added_to_a_file_without_last_line_end(passwd: Passwd, users_path: Path) -> None:
    """The new line does not grow onto the last one."""
    users_path.write_text(f"alice:{HASH}")

    assert passwd(users_path, "bob", typed=b"secret\n") == 0
    assert list(parse(users_path.read_bytes(), "users")) == ["alice", "bob"]
    assert hash_of(users_path, "alice") == HASH


def test_user_is_removed(passwd: Passwd, users_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line goes, whole, and no password is asked for."""
    users_path.write_text(f"# ours\nal:!\nalice:{HASH}:uid=1\n#alice:\nalice2:!\n")

    assert passwd("--delete", users_path, "alice") == 0
    assert users_path.read_text() == "# ours\nal:!\n#alice:\nalice2:!\n"
    assert capsys.readouterr().out == f"{users_path}: user 'alice' removed\n"


def test_unknown_user_is_not_removed(
    passwd: Passwd, users_path: Path, stamp_of: StampOf, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip of the pen is told."""
    before = stamp_of(users_path)

    assert passwd("--delete", users_path, "alic") == 1
    assert stamp_of(users_path) == before
    assert "has no user 'alic'; nothing was changed" in capsys.readouterr().err


def test_new_file_is_private_and_announced(passwd: Passwd, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt path shows at once; whatever the umask, only the owner reads the hashes."""
    path = tmp_path / "new"
    umask = os.umask(0)
    try:
        assert passwd(path, "alice", typed=b"secret\n") == 0
    finally:
        os.umask(umask)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "is new, mode 0600" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["new"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(0o600, 0o600), (0o640, 0o640), (0o400, 0o400), (0o644, 0o640), (0o666, 0o640), (0o6711, 0o600)],
)
def test_owner_stays_and_others_lose_access(
    passwd: Passwd, users_path: Path, capsys: pytest.CaptureFixture[str], mode: int, expected: int
) -> None:
    """The server goes on reading the file as its owner or through its group; a mode that shrinks is told."""
    owner = (65534, 65533) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(users_path, *owner)
    users_path.chmod(mode)
    can_open = os.geteuid() == 0 or mode & 0o200

    assert passwd(users_path, "bob", typed=b"secret\n") == (0 if can_open else 1)
    status = users_path.stat()
    assert (status.st_uid, status.st_gid) == owner
    assert stat.S_IMODE(status.st_mode) == expected
    assert ("see that the server can read it" in capsys.readouterr().err) is (mode != expected)


@pytest.mark.parametrize("scheme", CORE_SCHEMES)
def test_scheme_is_as_asked_for(passwd: Passwd, users_path: Path, scheme: str) -> None:
    """Each scheme of the core can be chosen."""
    assert passwd("--scheme", scheme, users_path, "alice", typed=b"secret\n") == 0
    assert hash_of(users_path, "alice").startswith(CORE_SCHEMES[scheme].prefix.decode())


def test_schemes_are_those_of_the_core() -> None:
    """The command offers all of them, the default first."""
    assert tuple(CORE_SCHEMES) == passwd_command.SCHEMES


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", [b"", b"\n", b"\r\n", b"a\0b\n", b"x" * 512 + b"\n", b"x" * 100_000])
def test_unusable_password_is_refused(
    passwd: Passwd, users_path: Path, stamp_of: StampOf, capsys: pytest.CaptureFixture[str], typed: bytes
) -> None:
    """Empty, with NUL, or longer than crypt(3) hashes: the file is not touched."""
    before = stamp_of(users_path)

    assert passwd(users_path, "alice", typed=typed) == 1
    assert stamp_of(users_path) == before
    assert capsys.readouterr().err.startswith("popframe passwd: ")


def test_password_that_bcrypt_would_cut_is_refused(passwd: Passwd, users_path: Path) -> None:
    """72 octets are the most for bcrypt."""
    assert passwd("--scheme", "bcrypt", users_path, "alice", typed=b"x" * 73) == 1
    assert passwd("--scheme", "bcrypt", users_path, "alice", typed=b"x" * 72) == 0


@pytest.mark.parametrize(
    ("typed", "password"),
    [
        (b"secret", b"secret"),
        (b"secret\r\n", b"secret"),
        (b"  two  words \nsecond line\n", b"  two  words "),
        (b"p\xe4ss\xff\n", b"p\xe4ss\xff"),
        (b"x\n\n", b"x"),
        (b"y" * 511 + b"\n", b"y" * 511),
    ],
)
def test_first_line_of_standard_input_is_the_password(
    passwd: Passwd, users_path: Path, typed: bytes, password: bytes
) -> None:
    """For scripts: one line, octet by octet, without its end."""
    assert passwd(users_path, "alice", typed=typed) == 0
    assert verify_password(password, hash_of(users_path, "alice"))


def test_file_with_mistakes_is_not_touched(
    passwd: Passwd, users_path: Path, stamp_of: StampOf, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not understood is not rewritten; every mistake is told."""
    users_path.write_text("alice\nbob:x\n")
    before = stamp_of(users_path)

    assert passwd(users_path, "alice", typed=b"secret\n") == 1
    assert passwd("--delete", users_path, "alice") == 1
    assert stamp_of(users_path) == before
    told = capsys.readouterr().err
    assert f"{users_path}:1: " in told
    assert f"{users_path}:2: " in told
    assert "nothing was changed" in told


@pytest.mark.parametrize("target", ["elsewhere", "missing"])
def test_symbolic_link_is_not_followed(
    passwd: Passwd, users_path: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    """A link that somebody put there does not lead root to another file; the message names the target."""
    link = users_path.with_name("link")
    link.symlink_to(target)
    users_path.with_name("elsewhere").write_text(f"alice:{HASH}\n")

    assert passwd(link, "alice", typed=b"secret\n") == 1
    assert link.is_symlink()
    assert users_path.with_name("elsewhere").read_text() == f"alice:{HASH}\n"
    assert not users_path.with_name("missing").exists()
    assert f"symbolic link; name the file it leads to: {target}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".", "Is a directory"),
        ("/", "is a folder"),
        ("users/x", "Not a directory"),
        ("missing/x", "No such file or directory"),
        ("fifo", "not a regular file"),
        ("x" * 300, "File name too long"),
    ],
)
def test_what_is_no_file_is_refused(
    passwd: Passwd, users_path: Path, capsys: pytest.CaptureFixture[str], name: str, reason: str
) -> None:
    """The message has the path and the reason, and nothing hangs."""
    os.mkfifo(users_path.with_name("fifo"))
    path = users_path.parent / name

    assert passwd(path, "alice", typed=b"secret\n") == 1
    assert f"{path}" in (told := capsys.readouterr().err)
    assert reason in told


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("users",),
        ("users", "alice", "secret"),
        ("--scheme", "md5", "users", "alice"),
        ("--delete", "--scheme", "bcrypt", "users", "alice"),
        ("users", ""),
        ("users", "a:b"),
        ("users", "#alice"),
        ("users", "alice "),
        ("users", "a\nb:"),
        ("users", "\udcff"),
    ],
    ids=repr,
)
def test_wrong_command_line_is_a_usage_error(passwd: Passwd, arguments: tuple[str, ...]) -> None:
    """Exit status 2, as for every subcommand; a name that would forge a line is one of these."""
    with pytest.raises(SystemExit) as caught:
        passwd(*arguments, typed=b"secret\n")

    assert caught.value.code == 2


@given(
    others=st.lists(
        st.sampled_from(["# note", "", "bob:!", f"carol:{HASH}:uid=5", "dave:*", " # x\u2028y"]), unique=True
    ),
    place=st.integers(0, 6),
    end=st.sampled_from(["\n", "\r\n"]),
    last_end=st.booleans(),
)
def test_other_lines_stay_in_any_file(others: list[str], place: int, end: str, last_end: bool) -> None:
    """Whatever stands around a user's line, changing and removing it touches nothing else."""
    place = min(place, len(others))
    lines = [*others[:place], f"alice:{HASH}:home=/a", *others[place:]]
    content = (end.join(lines) + (end if last_end else "")).encode()
    user = parse(content, "users")["alice"]
    changed = passwd_command._with(content, "alice", user, "$new")
    removed = passwd_command._without(content, "alice", user, Path("users"))

    assert changed == content.replace(HASH.encode() + b":home=/a", b"$new:home=/a")
    left = [line for number, line in enumerate(content.split(b"\n"), 1) if number != user.line]
    assert removed == b"\n".join(left)


# --- as a process -------------------------------------------------------------------------------------------------


def test_command_works_in_a_pipe(users_path: Path) -> None:
    """The way of a script: password in, a line out, nothing else."""
    command = [sys.executable, "-m", "popframe", "passwd", str(users_path), "bob"]
    done = subprocess.run(command, input=b"secret\n", capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{users_path}: user 'bob' added\n".encode(), b"")
    assert verify_password(b"secret", hash_of(users_path, "bob"))


def test_closed_standard_input_is_an_empty_password(users_path: Path) -> None:
    """A cron job without input gets a message, not a trace."""
    command = f'"{sys.executable}" -m popframe passwd "{users_path}" alice <&-'
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == "popframe passwd: an empty password is not allowed; nothing was changed\n"


class Terminal:
    """The command at a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.master, terminal = os.openpty()
        command = [sys.executable, "-c", OWN_TERMINAL, *arguments]
        self.process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        self.shown = b""

    def wait_for(self, text: bytes) -> None:
        """Read until a text is shown."""
        deadline = time.monotonic() + TERMINAL_SECONDS
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if not self._read():
                break
        assert text in self.shown
        self.shown = self.shown.partition(text)[2]

    def type(self, octets: bytes) -> None:
        """Press keys."""
        os.write(self.master, octets)

    def end(self) -> int:
        """Read to the end and return the exit status."""
        while self._read():
            pass
        return self.process.wait(TERMINAL_SECONDS)

    def _read(self) -> bytes:
        if not select.select([self.master], [], [], TERMINAL_SECONDS)[0]:
            return b""
        try:
            octets = os.read(self.master, 4096)
        except OSError as error:  # the other side is closed
            if error.errno != errno.EIO:
                raise
            return b""
        self.shown += octets
        return octets


@pytest.fixture
def terminal(users_path: Path) -> Iterator[Terminal]:
    """Return the command at the moment at which it asks for alice's password."""
    terminal = Terminal(str(users_path), "alice")
    try:
        terminal.wait_for(b"New password for alice: ")
        yield terminal
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.master)


def test_password_is_asked_for_twice_and_not_shown(terminal: Terminal, users_path: Path) -> None:
    """Whoever looks over the shoulder sees nothing."""
    terminal.type("s\u00e9cret word\n".encode())
    terminal.wait_for(b"The same again: ")
    terminal.type("s\u00e9cret word\n".encode())

    assert terminal.end() == 0
    assert b"cret" not in terminal.shown
    assert b"changed" in terminal.shown
    assert verify_password("s\u00e9cret word".encode(), hash_of(users_path, "alice"))


def test_two_different_passwords_are_refused(terminal: Terminal, users_path: Path, quick_hash: str) -> None:
    """A slip while nothing is shown does not lock the user out."""
    terminal.type(b"secret\n")
    terminal.wait_for(b"The same again: ")
    terminal.type(b"secrte\n")

    assert terminal.end() == 1
    assert b"these were two different passwords; nothing was changed" in terminal.shown
    assert hash_of(users_path, "alice") == quick_hash


@pytest.mark.parametrize(
    ("typed", "status", "told"),
    [
        (b"\n", 1, b"an empty password is not allowed"),
        (b"\x04", 1, b"no password was typed"),
        (b"\xff\xfe\n", 1, b"not text in its own encoding"),
        (b"\x03", 128 + signal.SIGINT, b""),
    ],
    ids=["empty", "ctrl-d", "not-text", "ctrl-c"],
)
def test_no_password_is_refused(
    terminal: Terminal, users_path: Path, quick_hash: str, typed: bytes, status: int, told: bytes
) -> None:
    """Whoever thinks better of it leaves everything as it was, and gets no trace."""
    terminal.type(typed)

    assert terminal.end() == status
    assert told in terminal.shown
    assert b"Traceback" not in terminal.shown
    assert hash_of(users_path, "alice") == quick_hash
    assert os.listdir(users_path.parent) == ["users"]


@pytest.mark.parametrize("exists", [True, False])
def test_twenty_processes_at_once_lose_nothing(users_path: Path, exists: bool) -> None:
    """Each change starts from the one before it, also where each would have made the file."""
    if not exists:
        users_path.unlink()
    names = [f"user{number}" for number in range(20)]
    done = subprocess.run([sys.executable, "-c", RACE, users_path, *names], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "[0]\n"), done.stderr
    assert {*parse(users_path.read_bytes(), "users")} == {*names, *(["alice"] if exists else [])}
    assert all(verify_password(name.encode(), hash_of(users_path, name)) for name in names)
    assert os.listdir(users_path.parent) == ["users"]
