"""Real users in every state that the machine's own programs put them into."""

from __future__ import annotations

import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Callable

import pytest

from popframe import Account, AuthenticationFailed
from popframe.testing import SystemUsers
from popframe_auth_shadow import AuthShadow, AuthShadowSettings
from popframe_auth_shadow.account_state import AccountState

Authenticate = Callable[[str, bytes], Account | None]

TODAY = int(time.time()) // 86_400

METHODS = (
    *("yescrypt", "gost-yescrypt", "scrypt", "bcrypt", "bcrypt-a", "sha512crypt", "sha256crypt", "sunmd5"),
    *("md5crypt", "bsdicrypt", "descrypt", "nt"),
)
"""All that mkpasswd(1) of Debian's package whois makes."""

MADE_BY_PROGRAMS = {
    "passwd --lock": (["passwd", "--lock"], AccountState.LOCKED),
    "usermod --lock": (["usermod", "--lock"], AccountState.LOCKED),
    "usermod --password *": (["usermod", "--password", "*"], AccountState.LOCKED),
    "usermod --password !!": (["usermod", "--password", "!!"], AccountState.LOCKED),
    "usermod --password x": (["usermod", "--password", "x"], AccountState.UNKNOWN_HASH),
    "passwd --delete": (["passwd", "--delete"], AccountState.EMPTY),
    "passwd --expire": (["passwd", "--expire"], AccountState.MUST_CHANGE),
    "chage --lastday 0": (["chage", "--lastday", "0"], AccountState.MUST_CHANGE),
    "usermod --expiredate": (["usermod", "--expiredate", "2020-02-29"], AccountState.EXPIRED),
    "chage --expiredate 0": (["chage", "--expiredate", "0"], AccountState.EXPIRED),
    "chage --expiredate in the future": (["chage", "--expiredate", str(TODAY + 3)], AccountState.OPEN),
    "chage --lastday --maxdays, old": (["chage", "-d", str(TODAY - 9), "-M", "5"], AccountState.TOO_OLD),
    "chage --maxdays, not so old": (["chage", "-d", str(TODAY - 9), "-M", "12"], AccountState.OPEN),
    "chage --inactive, very old": (["chage", "-d", str(TODAY - 9), "-M", "5", "-I", "2"], AccountState.INACTIVE),
    "chage --inactive, old": (["chage", "-d", str(TODAY - 9), "-M", "5", "-I", "9"], AccountState.TOO_OLD),
    "chage --lastday in the future": (["chage", "-d", str(TODAY + 9), "-M", "5"], AccountState.OPEN),
}


def answer(authenticate: Authenticate, username: str, password: bytes) -> str:
    """Return ``"in"``, ``"unknown"``, or the reason of the refusal."""
    try:
        return "unknown" if authenticate(username, password) is None else "in"
    except AuthenticationFailed as refusal:
        return str(refusal)


def expected_answers(state: AccountState) -> tuple[str, str]:
    """Return what the right and a wrong password should get."""
    right = "in" if state is AccountState.OPEN else state.value
    return right, "wrong password" if state.has_hash else state.value


@pytest.mark.parametrize("case", MADE_BY_PROGRAMS)
def test_state_made_by_a_program_counts_without_a_password(users: SystemUsers, user: str, case: str) -> None:
    """For certificates and master users an account has to be as open as for its own password."""
    plugin = AuthShadow(AuthShadowSettings())
    found = plugin.popframe_lookup_account(user)
    assert found is not None
    assert (found.username, found.uid) == (user, pwd.getpwnam(user).pw_uid)
    command, state = MADE_BY_PROGRAMS[case]
    users.run(*command, user)

    if state is AccountState.OPEN:
        assert plugin.popframe_lookup_account(user) == found
    else:
        with pytest.raises(AuthenticationFailed, match=re.escape(state.value)):
            plugin.popframe_lookup_account(user)
    assert plugin.popframe_lookup_account(user + "x") is None


@pytest.mark.parametrize("case", MADE_BY_PROGRAMS)
def test_state_made_by_a_program_counts_at_once(
    users: SystemUsers, user: str, authenticate: Authenticate, password: bytes, case: str
) -> None:
    """An account that is closed refuses the right password, proven before or not, with its own reason for the log."""
    assert answer(authenticate, user, password) == "in"
    command, state = MADE_BY_PROGRAMS[case]
    users.run(*command, user)

    assert (answer(authenticate, user, password), answer(authenticate, user, b"x")) == expected_answers(state)


def test_new_user_is_locked(users: SystemUsers, authenticate: Authenticate) -> None:
    """Nobody has set a password yet."""
    name = users.add()

    assert answer(authenticate, name, b"x") == answer(authenticate, name, b"!") == AccountState.LOCKED.value


def test_unlocked_user_is_in_again(users: SystemUsers, user: str, authenticate: Authenticate, password: bytes) -> None:
    """What a lock has hidden is there again."""
    users.run("passwd", "--lock", user)
    assert answer(authenticate, user, password) == AccountState.LOCKED.value
    users.run("passwd", "--unlock", user)

    assert answer(authenticate, user, password) == "in"


def test_user_without_entry_in_shadow_is_locked(
    users: SystemUsers, user: str, authenticate: Authenticate, password: bytes
) -> None:
    """``x`` in passwd alone is no hash, and no invitation."""
    users.edit(f"/^{user}:/d", shadow=True)

    assert {answer(authenticate, user, word) for word in (password, b"x", b"")} == {AccountState.NOT_IN_SHADOW.value}


def test_hash_in_passwd_logs_in(
    users: SystemUsers, user: str, authenticate: Authenticate, password: bytes, yescrypt: str
) -> None:
    """A machine may keep its hashes in passwd, with or without a shadow file beside it; locks in shadow still count."""
    users.edit(f"s|^{user}:x:|{user}:{yescrypt}:|")
    answers = [answer(authenticate, user, password), answer(authenticate, user, b"x")]
    users.run("usermod", "--expiredate", "2020-02-29", user)
    answers.append(answer(authenticate, user, password))
    users.edit(f"/^{user}:/d", shadow=True)
    answers.append(answer(authenticate, user, password))

    assert answers == ["in", "wrong password", AccountState.EXPIRED.value, "in"]


@pytest.mark.skipif(shutil.which("mkpasswd") is None, reason="mkpasswd is not installed (Debian package whois)")
def test_every_scheme_of_the_machine_logs_in(users: SystemUsers, authenticate: Authenticate, password: bytes) -> None:
    """What libcrypt can verify is accepted, and nothing but the password."""
    listed = subprocess.run(["mkpasswd", "-m", "help"], stdout=subprocess.PIPE, check=True, text=True).stdout
    name = users.add()
    answers = {}
    for method in METHODS:
        command = ["mkpasswd", f"--method={method}", "--stdin"]
        stored = subprocess.run(command, input=password, stdout=subprocess.PIPE, check=True).stdout.decode().strip()
        users.run("chpasswd", "--encrypted", stdin=f"{name}:{stored}\n")
        answers[method] = answer(authenticate, name, password), answer(authenticate, name, password[:7])

    assert {line.split()[0] for line in listed.splitlines()[1:]} <= set(METHODS)
    assert answers == dict.fromkeys(METHODS, ("in", "wrong password"))


@pytest.mark.parametrize("password", [b" a  b ", b"p\xe4ssw\xf6rd\xff", "pässwörd".encode(), b"x" * 255])
def test_password_of_any_octets_logs_in(users: SystemUsers, authenticate: Authenticate, password: bytes) -> None:
    """A password counts octet by octet, blanks included (RFC 1939 section 7, PASS)."""
    name = users.add()
    users.run("chpasswd", "--crypt-method", "YESCRYPT", stdin=f"{name}:{password.decode('utf-8', 'surrogateescape')}\n")

    assert answer(authenticate, name, password) == "in"
    assert answer(authenticate, name, password.strip() + b"x") == "wrong password"


def test_changed_password_counts_at_once(
    users: SystemUsers, user: str, authenticate: Authenticate, password: bytes
) -> None:
    """What was proven for one stored hash proves nothing for the next."""
    assert [answer(authenticate, user, password) for _ in range(3)] == ["in"] * 3
    users.run("chpasswd", stdin=f"{user}:another horse\n")

    assert answer(authenticate, user, password) == "wrong password"
    assert answer(authenticate, user, b"another horse") == "in"


def test_user_who_is_removed_is_unknown_at_once(
    users: SystemUsers, user: str, authenticate: Authenticate, password: bytes
) -> None:
    """Nothing that is remembered keeps a user alive."""
    assert answer(authenticate, user, password) == "in"
    users.remove()

    assert answer(authenticate, user, password) == "unknown"


def test_account_has_the_fields_of_passwd(users: SystemUsers, authenticate: Authenticate, yescrypt: str) -> None:
    """The other plugins learn whose the mail is, and what the rules ask about."""
    name = users.add("--home-dir", "/srv/häuser/eins", "--shell", "/bin/false", "--gid", "mail")
    users.run("chpasswd", "--encrypted", stdin=f"{name}:{yescrypt}\n")
    account = authenticate(name, b"correct horse")

    assert account is not None
    assert (account.username, account.home, account.shell, account.gid) == (name, "/srv/häuser/eins", "/bin/false", 8)
    assert account.uid is not None
    assert account.uid > 0
