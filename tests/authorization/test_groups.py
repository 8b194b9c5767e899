"""Groups of the machine, as they are at the login."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable

import pytest

from popframe import Account, Peer
from popframe.authorization import groups
from popframe.authorization.groups import GroupLists

PEER = Peer("192.0.2.7")

GROUPS = b"root:x:0:\npeople:x:4100:bob\nmail-users:x:4200:alice,bob\nbanned:x:4300:bob\n"
DENIED = "the user is in group banned, which is in login.deny_groups"
NOT_ALLOWED = "the user is in no group of login.allow_groups"


@pytest.mark.parametrize(
    ("username", "gid", "allowed", "denied", "objection"),
    [
        ("alice", 4100, "mail-users", "", None),
        ("alice", 4100, "people", "", None),
        ("alice", 4100, "root people", "banned", None),
        ("alice", 4100, "root banned", "", NOT_ALLOWED),
        ("bob", 4100, "mail-users", "banned", DENIED),
        ("bob", 4100, "", "banned", DENIED),
        ("alice", 4100, "", "banned", None),
        ("alice", 4300, "", "banned", DENIED),
        ("carol", 4100, "mail-users", "", NOT_ALLOWED),
        ("carol", 4999, "", "banned", None),
    ],
)
def test_membership_is_the_machines(
    probe: Callable[..., str], username: str, gid: int, allowed: str, denied: str, objection: str | None
) -> None:
    """A user is in the group of passwd and in those that name the user; whoever is denied stays out, allowed or not."""
    said = probe("groups", username, str(gid), allowed, denied, files={"/etc/group": GROUPS})

    assert said == f"{objection}\n"


@pytest.mark.parametrize(("allowed", "denied"), [("gone", ""), ("", "gone"), ("mail-users", "gone")])
def test_group_that_has_gone_is_no_consent(probe: Callable[..., str], allowed: str, denied: str) -> None:
    """It was there at the start: a directory service is down, or a group was renamed. Nobody is let in by that."""
    said = probe("groups", "alice", "4100", allowed, denied, files={"/etc/group": GROUPS})

    assert said == "TemporaryFailure: this machine does not know group 'gone' at present\n"


def test_membership_that_getgrouplist_leaves_out_counts(probe: Callable[..., str]) -> None:
    """The group itself names bob, although the way by which the C library collects a user's groups is broken."""
    files = {"/etc/group": GROUPS, "/etc/nsswitch.conf": b"passwd: files\ngroup: files\ninitgroups: no_such_service\n"}

    assert probe("groups", "bob", "4100", "", "banned", files=files) == f"{DENIED}\n"
    assert probe("groups", "alice", "4100", "", "banned", files=files) == "None\n"


@pytest.mark.parametrize(
    ("account", "allowed", "denied", "objection"),
    [
        (Account("alice"), ("root",), (), "the user is virtual, and login.allow_groups is set"),
        (Account("root"), None, ("root",), None),
        (Account("x", uid=1000), None, ("root",), "the account has a user id and no group id, and login has lists of "
         "groups"),
        (Account("x", uid=1000, gid=0), None, ("root",), "the user is in group root, which is in login.deny_groups"),
        (Account("no such user", gid=0), ("root",), (), None),
    ],
)  # fmt: skip
def test_account_without_a_group_id(
    account: Account, allowed: tuple[str, ...] | None, denied: tuple[str, ...], objection: str | None
) -> None:
    """A virtual user is in no group of the machine; what should have a group and has none is not let in."""
    assert GroupLists(allowed, denied).objection(PEER, account) == objection


def test_groups_are_those_that_the_standard_library_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """For every user of the machine, however little room the first call has."""
    users = pwd.getpwall()
    for room in (1, groups.USUAL_GROUP_COUNT):
        monkeypatch.setattr(groups, "USUAL_GROUP_COUNT", room)
        found = {user.pw_name: groups._group_ids(user.pw_name, user.pw_gid) for user in users}

        assert found == {user.pw_name: frozenset(os.getgrouplist(user.pw_name, user.pw_gid)) for user in users}
