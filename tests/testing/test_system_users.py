"""Real users for tests: there while they are needed, gone afterwards, whatever happened."""

from __future__ import annotations

import pwd
import subprocess
import sys

import pytest

from popframe.testing import SystemUsers

pytestmark = pytest.mark.skipif(
    not SystemUsers.is_possible(),
    reason="only root can make users of the machine, with useradd (Debian: passwd): run as root",
)

MAKE_SOME = """\
from popframe.testing import SystemUsers
with SystemUsers() as users:
    print(len({users.add() for _ in range(5)}))
"""


def exists(name: str) -> bool:
    """Tell whether the machine has a user."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def test_users_are_there_and_then_gone() -> None:
    """They are users like any other as long as the block lasts."""
    with SystemUsers() as users:
        names = [users.add(), users.add("--shell", "/bin/false")]
        users.edit(f"s|^{names[0]}:\\(.*\\):[^:]*$|{names[0]}:\\1:/bin/true|")
        users.edit(f"s|^{names[1]}:\\(.*\\):[^:]*$|{names[1]}:\\1:/bin/true|")  # within the same second
        shells = [pwd.getpwnam(name).pw_shell for name in names]

    assert shells == ["/bin/true"] * 2
    assert not any(exists(name) for name in names)


def test_users_are_removed_after_a_failure() -> None:
    """A test that fails leaves nobody behind, and a program that fails says why."""
    with SystemUsers() as users:
        name = users.add()
        with pytest.raises(AssertionError, match="chage ended with status 1"):
            users.run("chage", "--lastday", "0", "no-such-user")
        with pytest.raises(AssertionError, match="already exists"):
            users.add(name=name)
        users.remove()

        assert not exists(name)


def test_processes_make_users_at_the_same_time() -> None:
    """None fails because another one has passwd locked."""
    command = [sys.executable, "-c", MAKE_SOME]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]

    assert [process.communicate()[0].strip() for process in processes] == ["5"] * 4
