"""Login shells, and the file that lists them."""

from __future__ import annotations

import ast
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import Account, Peer, TemporaryFailure
from popframe.authorization.shells import MAX_FILE_OCTETS, SETTLED_NANOSECONDS, ShellsFile, listed_shells

PEER = Peer("192.0.2.7")

ODD_FILE = b"""\
# /etc/shells: valid login shells
/bin/sh
  /bin/ash
\t/bin/ksh  a comment without a sign
/bin/bash# a comment with one
#/bin/zsh
 # /bin/fish

/opt/my shell
/bin/caf\xc3\xa9
/bin/raw\xff
/bin/dash\r
/bin/sh
/last/without/an/end"""


def with_shell(shell: str) -> Account:
    """Return an account of the machine."""
    return Account("alice", uid=1000, gid=1000, shell=shell)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the list is; it is not there yet."""
    return tmp_path / "shells"


@pytest.mark.parametrize(
    ("content", "shell", "is_listed"),
    [
        (b"/bin/sh\n/bin/bash\n", "/bin/bash", True),
        (b"/bin/sh\n/bin/bash\n", "/usr/sbin/nologin", False),
        (b"/bin/sh\n/bin/bash\n", "/bin/bas", False),
        (b"/bin/sh\n/bin/bash\n", "/bin/bash ", False),
        (b"/bin/sh\n/bin/bash\n", "/bin/../bin/bash", False),
        (b"/bin/sh\n", "", True),
        (b"/bin/bash\n", "", False),
        (b"", "/bin/sh", False),
        (b"# /bin/sh\n", "/bin/sh", False),
        (b"bin/sh\nsh\n", "/sh", False),
        (b"/POPPER/ANY/SHELL/\n", "/usr/sbin/nologin", True),
        (b"/bin/sh\n/POPPER/ANY/SHELL/", "", True),
        (b"#/POPPER/ANY/SHELL/\n/bin/sh\n", "/usr/sbin/nologin", False),
        (b"/POPPER/ANY/SHELL\n", "/usr/sbin/nologin", False),
        (b"/bin/caf\xc3\xa9\n", "/bin/café", True),
        (b"/bin/raw\xff\n", "/bin/raw\udcff", True),
        (None, "/bin/sh", True),
        (None, "/bin/csh", True),
        (None, "", True),
        (None, "/bin/bash", False),
    ],
)
def test_shell_must_be_listed(path: Path, content: bytes | None, shell: str, is_listed: bool) -> None:
    """Octet for octet; an empty field means /bin/sh, a missing file the C library's two, popper's line every shell."""
    if content is not None:
        path.write_bytes(content)
    objection = ShellsFile(path).objection(PEER, with_shell(shell))

    assert objection == (None if is_listed else f"login shell {shell or '/bin/sh'!r} is not in {path}")


def test_virtual_account_needs_no_shell(path: Path) -> None:
    """It has none to log in with; one that says it has one is held to it, and one with a user id to the default."""
    path.write_text("/bin/bash\n")
    rule = ShellsFile(path)

    assert rule.objection(PEER, Account("alice@example.org")) is None
    assert rule.objection(PEER, Account("alice@example.org", shell="/bin/bash")) is None
    assert rule.objection(PEER, Account("alice@example.org", shell="/bin/false")) is not None
    assert rule.objection(PEER, Account("alice", uid=1000)) is not None


def test_odd_lines_are_read_as_the_c_library_does(probe: Callable[..., str]) -> None:
    """Blanks before, words behind, comments, no line end: what getusershell(3) gives from /etc/shells."""
    theirs, ours = probe("shells", files={"/etc/shells": ODD_FILE}).splitlines()

    assert ast.literal_eval(ours) == ast.literal_eval(theirs)
    assert set(ast.literal_eval(ours)) == listed_shells(ODD_FILE)
    assert len(listed_shells(ODD_FILE)) == 9


LINES = st.text(st.sampled_from("/#ab \t\r\v\f"), max_size=8).map(str.encode)


@given(st.lists(LINES))
def test_every_listed_shell_is_the_first_word_of_a_line(lines: list[bytes]) -> None:
    """A path without blank and comment sign; nothing else that stands in the file is taken for one."""
    words = {line.split()[0].split(b"#")[0].decode() for line in lines if line.split()}

    assert listed_shells(b"\n".join(lines)) == {word for word in words if word.startswith("/")}


def test_file_that_changes_counts_at_once(path: Path) -> None:
    """From the next login on; also when it goes, comes back, or is replaced by one of the same size and time."""
    rule = ShellsFile(path)
    old = time.time_ns() - 10 * SETTLED_NANOSECONDS

    def is_listed(shell: str) -> bool:
        return rule.objection(PEER, with_shell(shell)) is None

    assert is_listed("/bin/csh")
    for _ in range(3):
        path.write_text("/bin/aaa\n")
        os.utime(path, ns=(old, old))
        assert (is_listed("/bin/aaa"), is_listed("/bin/bbb")) == (True, False)
        path.write_text("/bin/bbb\n")
        os.utime(path, ns=(old, old))
        assert (is_listed("/bin/aaa"), is_listed("/bin/bbb")) == (False, True)
        path.unlink()
        assert is_listed("/bin/csh")


def test_file_that_has_not_changed_is_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login costs one stat(2), neither reading nor parsing."""
    later = time.time_ns() + 2 * SETTLED_NANOSECONDS
    monkeypatch.setattr(time, "time_ns", lambda: later)  # every file was changed a while ago
    path.write_text("/bin/aaa\n")
    rule = ShellsFile(path)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as page:
        page[:8] = b"/bin/aaa"
        assert rule.objection(PEER, with_shell("/bin/aaa")) is None
        page[:8] = b"/bin/bbb"  # without a sign: only a reading would tell

        assert rule.objection(PEER, with_shell("/bin/aaa")) is None
        os.utime(path)
        assert rule.objection(PEER, with_shell("/bin/aaa")) is not None


def test_file_that_changed_a_moment_ago_is_read_again(path: Path) -> None:
    """The clock of a file system may not have ticked since, so that a second change looks like the first."""
    path.write_text("/bin/aaa\n")
    rule = ShellsFile(path)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as page:
        page[:8] = b"/bin/aaa"
        assert rule.objection(PEER, with_shell("/bin/aaa")) is None
        page[:8] = b"/bin/bbb"  # without a sign

        assert rule.objection(PEER, with_shell("/bin/bbb")) is None


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "large"])
def test_list_that_cannot_be_read_lets_nobody_in_and_blames_nobody(path: Path, kind: str) -> None:
    """The client is told to come back later, and the log why."""
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.write_bytes(b"/bin/sh\n" + b"#" * MAX_FILE_OCTETS)

    with pytest.raises(TemporaryFailure, match=r"^the list of shells .*shells (cannot be read|is not|is larger)"):
        ShellsFile(path).objection(PEER, with_shell("/bin/sh"))


def test_list_that_went_bad_does_not_count_as_it_was(path: Path) -> None:
    """Nobody is let in by a list that an operator has taken away."""
    path.write_text("/bin/bash\n")
    rule = ShellsFile(path)
    assert rule.objection(PEER, with_shell("/bin/bash")) is None
    path.unlink()
    assert rule.objection(PEER, with_shell("/bin/bash")) is not None
    path.mkdir()

    with pytest.raises(TemporaryFailure):
        rule.objection(PEER, with_shell("/bin/bash"))
