"""When passwd or shadow cannot be read: nobody is told "wrong password", and nobody gets lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from popframe.testing import CrashHarness, Point, SystemUsers

SCENARIO = Path(__file__).with_name("login_scenario.py")

needs_strace = pytest.mark.skipif(
    not CrashHarness.is_possible(), reason="needs strace (Debian: apt-get install strace)"
)

LOGGED_IN, REFUSED, TRY_LATER, UNKNOWN = 0, 3, 4, 5
"""What the scenario ends with."""

WHO = {
    "right password": ("user", "correct horse", LOGGED_IN),
    "wrong password": ("user", "x", REFUSED),
    "unknown user": ("no-such-user", "x", UNKNOWN),
}

START_AS_NOBODY = """\
import os
from popframe import ConfigError
from popframe_auth_shadow import AuthShadow, AuthShadowSettings
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
try:
    AuthShadow(AuthShadowSettings())
except ConfigError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def harness() -> Iterator[CrashHarness]:
    """Return what runs a login in a child; it was started by root."""
    if not SystemUsers.is_possible():
        pytest.skip("only root can make users of the machine, with useradd (Debian: passwd): run as root")
    with CrashHarness(SCENARIO) as harness:
        yield harness


@pytest.mark.usefixtures("users")
def test_start_as_nobody_is_a_configuration_error() -> None:
    """Who may not read shadow learns so at once, and what to do; not from users whose passwords are refused."""
    command = [sys.executable, "-c", START_AS_NOBODY]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout

    assert said == (
        "as user id 65534: /etc/shadow cannot be read: Permission denied; the server must run as a user who may read "
        "it (for shadow, on Debian: a member of the group shadow)\n"
    )


def login(user: str, who: str, reason: str = "", without: str = "") -> dict[str, str]:
    """Return what the scenario is to do."""
    username, password, _ = WHO[who]
    named = user if username == "user" else username
    return {"username": named, "password": password, "reason": reason, "without": without}


@needs_strace
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("call", "error"), [("openat", "EIO"), ("openat", "EMFILE"), ("openat", "EACCES"), ("read", "EIO")]
)
@pytest.mark.parametrize("who", WHO)
def test_any_call_may_fail(harness: CrashHarness, user: str, who: str, call: str, error: str) -> None:
    """Whatever cannot be opened or read during a login, the answer is the right one or a temporary failure."""
    right = WHO[who][2]
    answers: list[int] = []
    struck = True
    while struck:
        status, struck = harness.run(login(user, who), Point(call, len(answers) + 1), error)
        answers.append(status)

    assert answers[-1] == right
    assert set(answers) == {right, TRY_LATER}


@needs_strace
@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(
    ("without", "reason"),
    [
        (
            "root",
            "/etc/shadow cannot be read: Permission denied; the server must run as a user who may read it "
            "(for shadow, on Debian: a member of the group shadow)",
        ),
        ("descriptors", "/etc/passwd cannot be read: Too many open files"),
    ],
)
def test_right_or_means_that_are_lost_are_no_wrong_password(
    harness: CrashHarness, user: str, tmp_path: Path, who: str, without: str, reason: str
) -> None:
    """A server that can read shadow no more says so to the log, and "try again later" to every user alike."""
    path = tmp_path / "reason"
    status, _ = harness.run(login(user, who, str(path), without), Point("fsync", 1), "EIO")

    assert (status, path.read_text()) == (TRY_LATER, reason)
