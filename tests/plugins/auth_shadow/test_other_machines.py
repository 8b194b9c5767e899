"""Machines that are not like this one: a folder in the place of /etc, for one process and its children alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a folder over /etc: run as root")

ENTER = 'mount --bind "$1" /etc || exit 9; shift; exec "$@"'

LOG_IN = """\
import os, sys
from popframe import AuthenticationFailed, ConfigError, PlainCredentials, TemporaryFailure
from popframe_auth_shadow import AuthShadow, AuthShadowSettings
try:
    plugin = AuthShadow(AuthShadowSettings())
except ConfigError as error:
    sys.exit(f"does not start: {error}")
if sys.argv[1] == "nobody":
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
for word in sys.argv[2:]:
    username, password = word.split(":")
    try:
        account = plugin.popframe_authenticate(PlainCredentials(username, password.encode()))
        print("unknown" if account is None else account.username)
    except (AuthenticationFailed, TemporaryFailure) as error:
        print(f"{error.code}: {error}")
"""

ALICE = "alice:x:1000:1000::/home/alice:/bin/sh\n"

Logins = Callable[..., list[str]]


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """Return a folder with the files of a machine that has a user alice, and no other source of users."""
    path = tmp_path / "etc"
    path.mkdir()
    (path / "nsswitch.conf").write_text("passwd: files\nshadow: files\n")
    (path / "passwd").write_text(ALICE)
    return path


@pytest.fixture
def log_in(etc: Path) -> Logins:
    """Return what logs users in on that machine, ``alice:password``, and returns the answers."""

    def log_in(*words: str, user: str = "root") -> list[str]:
        inside = ["sh", "-c", ENTER, "sh", str(etc), sys.executable, "-c", LOG_IN, user, *words]
        command = ["unshare", "--mount", "--propagation", "private", *inside]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 9 or "unshare" in done.stderr:
            pytest.skip(f"root may not mount here: {done.stderr.strip()}")
        return (done.stdout + done.stderr).splitlines()

    return log_in


def test_machine_without_shadow_file(etc: Path, log_in: Logins, yescrypt: str) -> None:
    """Where all hashes are in passwd, shadow is not missed; only ``x`` refers to it in vain."""
    (etc / "passwd").write_text(ALICE + f"bob:{yescrypt}:1001:1000::/home/bob:/bin/sh\ncarol::1002:1000::/:\n")

    assert log_in("bob:correct horse", "bob:x", "nobody:x", "alice:x", "carol:x") == [
        "bob",
        "AUTH: wrong password",
        "unknown",
        "AUTH: the account is locked: passwd refers to shadow, which has no entry for it",
        "AUTH: the account has no password, and an empty one is never accepted",
    ]


def test_machine_without_passwd_file_does_not_start(etc: Path, log_in: Logins) -> None:
    """There is always one; if not, nobody knows who exists."""
    (etc / "passwd").unlink()

    assert log_in() == ["does not start: as user id 0: /etc/passwd cannot be read: No such file or directory"]


def test_shadow_that_is_lost_to_the_server_is_no_wrong_password(etc: Path, log_in: Logins, yescrypt: str) -> None:
    """Without another source behind the files it is the C library that complains; the answer is the same."""
    (etc / "shadow").write_text(f"alice:{yescrypt}:20000:0:99999:7:::\n")
    (etc / "shadow").chmod(0o600)
    etc.chmod(0o755)
    told = (
        "SYS/TEMP: /etc/shadow cannot be read: Permission denied; the server must run as a user who may read it "
        "(for shadow, on Debian: a member of the group shadow)"
    )

    assert log_in("alice:correct horse") == ["alice"]
    assert log_in("alice:correct horse", "alice:x", "bob:x", user="nobody") == [told] * 3


@pytest.mark.parametrize("name", ["passwd", "shadow"])
def test_file_that_is_none_stops_the_start(etc: Path, log_in: Logins, name: str) -> None:
    """Whatever keeps a file from being read is told."""
    (etc / name).unlink(missing_ok=True)
    (etc / name).mkdir()

    assert log_in() == [f"does not start: as user id 0: /etc/{name} cannot be read: Is a directory"]


def test_entry_without_end_is_a_temporary_failure(etc: Path, log_in: Logins) -> None:
    """A source that asks for ever more room does not get all memory."""
    (etc / "shadow").write_text(f"alice:{'x' * 5_000_000}:20000:0:99999:7:::\n")

    assert log_in("alice:x") == ["SYS/TEMP: shadow cannot be asked: Numerical result out of range"]


@pytest.mark.parametrize("line", ["alice:x:nonsense:1000::/home/alice:/bin/sh", "alice:x", "alice:x:1000:-:::"])
def test_line_that_the_c_library_does_not_read_is_no_unknown_user(etc: Path, log_in: Logins, line: str) -> None:
    """Where the file has the user and the C library has not, nobody knows who that is."""
    (etc / "passwd").write_text(f"{line}\n")

    assert log_in("alice:x", "bob:x") == [
        "SYS/TEMP: /etc/passwd has a line of this user, and the C library did not find it",
        "unknown",
    ]


@pytest.mark.parametrize(
    "line", ["+::::::", "+alice::::::", "-bob::::::", "+@staff::::::", "*:x:0:0::/:", ":x:0:0::/:"]
)
def test_line_that_stands_for_other_sources_is_nobody(etc: Path, log_in: Logins, line: str) -> None:
    """What NIS once made of such a line is no user with a name of that form."""
    (etc / "passwd").write_text(f"{line}\n")
    name = line.partition(":")[0]

    assert log_in(f"{name}:x", "alice:x")[1] == "unknown"
    assert log_in(f"{name}:x")[0].partition(":")[0] in {"unknown", "AUTH"}
