"""Rules about names, user ids and nologin; and the order of all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import Account, AuthenticationFailed, Peer, TemporaryFailure
from popframe.authorization import LoginRules
from popframe.authorization.nologin import NologinFile
from popframe.authorization.uids import UidFloor
from popframe.authorization.users import UserLists
from popframe.config import LoginSettings

PEER = Peer("192.0.2.7", 50_110)
ALICE = Account("alice", uid=1000, gid=1000, shell="/bin/sh")
VIRTUAL = Account("alice@example.org")

NAMES = st.sampled_from(["alice", "bob", "carol", "dave"])


# --- users


@pytest.mark.parametrize(
    ("allowed", "denied", "objection"),
    [
        (None, (), None),
        (("alice",), (), None),
        (("bob", "alice"), ("bob",), None),
        (("Alice", "alice ", "alic"), (), "the user is not in login.allow_users"),
        (None, ("alice",), "the user is in login.deny_users"),
        (("alice",), ("alice",), "the user is in login.deny_users"),
        (None, ("ALICE", "alice@example.org", "alic"), None),
    ],
)
def test_names_are_compared_as_they_are(
    allowed: tuple[str, ...] | None, denied: tuple[str, ...], objection: str | None
) -> None:
    """The canonical name counts, and a list of whom to refuse wins."""
    assert UserLists(allowed, denied).objection(PEER, ALICE) == objection


@given(name=NAMES, allowed=st.none() | st.lists(NAMES), denied=st.lists(NAMES))
def test_only_who_is_allowed_and_not_denied_comes_in(name: str, allowed: list[str] | None, denied: list[str]) -> None:
    """Whatever the lists, whoever is denied stays out, and so does who is not on a list of those allowed."""
    may = (allowed is None or name in allowed) and name not in denied

    assert (UserLists(allowed, denied).objection(PEER, Account(name)) is None) is may


# --- user ids


@pytest.mark.parametrize(
    ("smallest", "uid", "objection"),
    [
        (1000, 1000, None),
        (1000, 2**32 - 2, None),
        (1000, 999, "user id 999 is below login.min_uid, which is 1000"),
        (1000, 0, "root may not log in"),
        (1, 1, None),
        (1, 0, "root may not log in"),
        (0, 0, "root may not log in"),
        (1000, None, None),
    ],
)
def test_smallest_user_id(smallest: int, uid: int | None, objection: str | None) -> None:
    """Services stay out by a setting, root always; a virtual account has no user id."""
    assert UidFloor(smallest).objection(PEER, Account("x", uid=uid)) == objection


# --- nologin


def test_nologin_keeps_the_accounts_of_the_machine_out_for_now(tmp_path: Path) -> None:
    """Looked at anew for each login; what stands in the file does not matter."""
    path = tmp_path / "nologin"
    rule = NologinFile(path)
    rule.objection(PEER, ALICE)
    path.touch()
    with pytest.raises(TemporaryFailure, match=r"nologin exists: no logins at present$"):
        rule.objection(PEER, ALICE)
    rule.objection(PEER, VIRTUAL)
    path.unlink()

    rule.objection(PEER, ALICE)


def test_nologin_that_cannot_be_looked_for_counts_as_there(tmp_path: Path) -> None:
    """What cannot be told is no consent; a path through something that is no folder leads to nothing."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(TemporaryFailure, match=r"loop exists cannot be told: Too many levels of symbolic links$"):
        NologinFile(loop).objection(PEER, ALICE)
    (tmp_path / "file").touch()

    NologinFile(tmp_path / "file" / "nologin").objection(PEER, ALICE)


# --- all together


@pytest.fixture
def machine(tmp_path: Path) -> LoginSettings:
    """Return the settings of a machine with one shell and without nologin."""
    (tmp_path / "shells").write_text("/bin/sh\n")
    return LoginSettings(shells_file=tmp_path / "shells", nologin_file=tmp_path / "nologin")


@pytest.mark.parametrize(
    ("account", "reason"),
    [
        (ALICE, None),
        (VIRTUAL, None),
        (Account("carol", uid=1001, shell="/usr/sbin/nologin"), "login shell '/usr/sbin/nologin' is not in "),
        (Account("www-data", uid=33, shell="/bin/sh"), "user id 33 is below login.min_uid, which is 1000"),
        (Account("root", uid=0, gid=0, shell="/bin/sh"), "root may not log in"),
    ],
    ids=lambda value: value.username if isinstance(value, Account) else None,
)
def test_defaults_are_safe(machine: LoginSettings, account: Account, reason: str | None) -> None:
    """Without a table [login], persons and virtual users come in, services and root do not (A-009)."""
    rules = LoginRules(machine)
    if reason is None:
        rules.check(PEER, account)
        return

    with pytest.raises(AuthenticationFailed) as caught:
        rules.check(PEER, account)
    assert str(caught.value).startswith(reason)


def test_default_files_are_those_of_the_machine() -> None:
    """Where shells(5) and nologin(5) say that they are."""
    settings = LoginSettings()

    assert (settings.require_shell, settings.shells_file) == (True, Path("/etc/shells"))
    assert (settings.respect_nologin, settings.nologin_file) == (True, Path("/etc/nologin"))


def test_rules_can_be_switched_off(machine: LoginSettings) -> None:
    """Each by its own setting; root stays out."""
    machine.nologin_file.touch()
    changes = {"require_shell": False, "respect_nologin": False, "min_uid": 1}
    rules = LoginRules(machine.model_copy(update=changes))
    rules.check(PEER, Account("sync", uid=4, gid=4, shell="/bin/sync"))

    with pytest.raises(AuthenticationFailed, match=r"^root may not log in$"):
        rules.check(PEER, Account("root", uid=0, gid=0, shell="/bin/sh"))


@pytest.mark.parametrize(
    ("peer", "account"),
    [
        (Peer("198.51.100.1"), ALICE),
        (PEER, Account("mallory", uid=1000, gid=1000, shell="/bin/sh")),
        (PEER, Account("alice", uid=999, gid=1000, shell="/bin/sh")),
        (PEER, Account("alice", uid=1000, gid=1000, shell="/bin/false")),
        (PEER, Account("alice", uid=1000, gid=0, shell="/bin/sh")),
    ],
)
def test_only_who_may_log_in_is_told_of_nologin(machine: LoginSettings, peer: Peer, account: Account) -> None:
    """[SYS/TEMP] tells that the password was right; whoever is refused anyway gets the words of a wrong one."""
    machine.nologin_file.touch()
    changes = {"deny_networks": ("198.51.100.0/24",), "deny_users": ("mallory",), "deny_groups": ("root",)}
    rules = LoginRules(machine.model_copy(update=changes))
    with pytest.raises(TemporaryFailure):
        rules.check(PEER, ALICE)

    with pytest.raises(AuthenticationFailed):
        rules.check(peer, account)
