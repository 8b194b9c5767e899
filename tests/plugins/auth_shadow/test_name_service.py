"""What the C library is asked, and what is believed of its answers."""

from __future__ import annotations

import os
import pwd

import pytest

from popframe.testing import SystemUsers
from popframe_auth_shadow.name_service import MAX_NAME_OCTETS, NameService

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can read /etc/shadow: run as root")


@needs_root
@pytest.mark.parametrize("octets", [1, 16, 1024])
def test_entry_is_found_whatever_room_is_offered_first(octets: int) -> None:
    """The C library says when its buffer is too small."""
    found = NameService(octets).find("root")
    expected = pwd.getpwnam("root")

    assert found is not None
    assert (found.passwd.name, found.passwd.uid, found.passwd.gid) == ("root", 0, 0)
    assert (found.passwd.home, found.passwd.shell) == (expected.pw_dir, expected.pw_shell)


def test_long_entry_is_found(users: SystemUsers) -> None:
    """A line of passwd longer than the first buffer is read whole."""
    home = "/nonexistent/" + "x" * 3000
    name = users.add("--home-dir", home)
    found = NameService().find(name)

    assert found is not None
    assert found.passwd.home == home


def test_fields_of_shadow_are_told_apart(users: SystemUsers) -> None:
    """Each number is taken from its own field, and an empty one is None."""
    name = users.add()
    users.run("chage", "-d", "11", "-m", "12", "-M", "13", "-W", "14", "-I", "15", "-E", "16", name)
    full = NameService().find(name)
    users.run("chage", "-d", "-1", "-m", "-1", "-M", "-1", "-W", "-1", "-I", "-1", "-E", "-1", name)
    empty = NameService().find(name)

    assert full is not None
    assert full.shadow is not None
    assert full.shadow.stored == "!"
    assert full.shadow.last_change_day == 11
    assert full.shadow.max_days == 13
    assert full.shadow.inactive_days == 15
    assert full.shadow.expire_day == 16
    assert empty is not None
    assert empty.shadow is not None
    assert empty.shadow.last_change_day is empty.shadow.max_days is None
    assert empty.shadow.inactive_days is empty.shadow.expire_day is None


@needs_root
@pytest.mark.parametrize(
    "name",
    [
        *("", "root\0", "root\0x", "root:", "root:x", "root\n", "+root", "-root", "+", "../root", "/etc/passwd"),
        *("root ", " root", "ROOT", "r\u043e\u043et", "\uff52oot", "root\u200b", "\udcff", "\ud800", "root\x7f"),
        *("x" * MAX_NAME_OCTETS, "x" * (MAX_NAME_OCTETS + 1), "\xe4" * 200, "x" * 1_000_000, "no-such-user"),
    ],
    ids=lambda name: repr(name[:20]),
)
def test_name_that_nobody_has_is_nobody_s(name: str) -> None:
    """No name is cut, folded or taken for something else on its way to the C library."""
    assert NameService().find(name) is None


def test_name_beyond_ascii_is_found_octet_by_octet(users: SystemUsers) -> None:
    """A name that the administrator has forced into passwd is UTF-8, as the client sends it."""
    name = users.new_name() + "ü"
    users.add("--badname", name=name)
    found = NameService().find(name)

    assert found is not None
    assert found.passwd.name == name
    assert NameService().find(name.replace("ü", "u\u0308")) is None
