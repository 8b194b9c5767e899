"""What PAM says of real accounts, and what the server makes of it."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from popframe import Account, AuthenticationFailed, ConfigError, Peer
from popframe_auth_pam import AuthPam, AuthPamSettings

PAM_UNIX = "auth required pam_unix.so nodelay\naccount required pam_unix.so\n"
PASSWORD = b"correct horse"

Attempt = Callable[..., Account | str]
StartPlugin = Callable[..., AuthPam]
Users = Mapping[str, str]


def test_account_is_that_of_passwd(plugin: AuthPam, users: Users, attempt: Attempt) -> None:
    """User id, group id, home and shell come from passwd; the shell is for others to judge."""
    for state in ("alice", "nologin"):
        entry = pwd.getpwnam(users[state])

        assert attempt(plugin, users[state], PASSWORD) == Account(
            entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid, home=entry.pw_dir, shell=entry.pw_shell
        )


@pytest.mark.parametrize(
    ("state", "password", "reason"),
    [
        ("alice", b"wrong", "wrong: wrong password, or locked (PAM_AUTH_ERR)"),
        ("nobody", PASSWORD, "wrong: unknown user (PAM_USER_UNKNOWN)"),
        ("locked", PASSWORD, "wrong: wrong password, or locked (PAM_AUTH_ERR)"),
        ("expired", PASSWORD, "wrong: the account has expired (PAM_ACCT_EXPIRED)"),
        ("inactive", PASSWORD, "wrong: the password has expired (PAM_AUTHTOK_EXPIRED)"),
        ("mustchange", PASSWORD, "wrong: the password must be changed (PAM_NEW_AUTHTOK_REQD)"),
        ("expired", b"wrong", "wrong: wrong password, or locked (PAM_AUTH_ERR)"),
    ],
)
def test_refusal_has_its_reason_in_the_log(
    plugin: AuthPam, users: Users, attempt: Attempt, state: str, password: bytes, reason: str
) -> None:
    """Each state of an account is refused, for its own reason; that it is closed is found out after the password."""
    answer = attempt(plugin, users[state], password)

    assert str(answer).startswith(reason)


@pytest.mark.parametrize("password", [b"x", b"", PASSWORD])
def test_account_without_a_password_is_refused_whatever_is_sent(
    start_plugin: StartPlugin, users: Users, attempt: Attempt, password: bytes
) -> None:
    """With nullok, as Debian's common-auth has it, pam_unix itself would take any password for this account."""
    plugin = start_plugin("auth required pam_unix.so nodelay nullok\naccount required pam_unix.so\n")

    assert str(attempt(plugin, users["empty"], password)).startswith("wrong: ")
    assert isinstance(attempt(plugin, users["alice"], PASSWORD), Account)


@pytest.mark.parametrize("password", [b"p\xe4ssw\xf6rd", "pässwörd".encode(), b"\xff\xfe", b" a  b ", b"x" * 511])
def test_password_reaches_pam_as_it_was_sent(
    plugin: AuthPam,
    users: Users,
    attempt: Attempt,
    set_password: Callable[[str, bytes], None],
    password: bytes,
) -> None:
    """A password is octets, in whatever encoding."""
    set_password(users["changing"], password)

    assert isinstance(attempt(plugin, users["changing"], password), Account)
    assert str(attempt(plugin, users["changing"], password[:-1])).startswith("wrong: ")


@pytest.mark.parametrize("octets", [b"", b"a\0b", b"x" * 512])
def test_what_libpam_cannot_take_does_not_reach_it(start_plugin: StartPlugin, attempt: Attempt, octets: bytes) -> None:
    """NUL, nothing, and more than PAM_MAX_RESP_SIZE: refused although this service accepts everything."""
    plugin = start_plugin("auth required pam_permit.so\naccount required pam_permit.so\n")

    assert str(attempt(plugin, "root", octets)).startswith("wrong: a password ")
    assert str(attempt(plugin, octets.decode(), PASSWORD)).startswith("wrong: a user name ")


def test_user_whom_passwd_does_not_know_is_refused(start_plugin: StartPlugin, users: Users, attempt: Attempt) -> None:
    """PAM may accept anybody; mail belongs to a user id."""
    plugin = start_plugin("auth required pam_permit.so\naccount required pam_permit.so\n")

    assert attempt(plugin, users["nobody"], PASSWORD) == (
        "wrong: PAM accepts the user, but passwd does not know it, and mail needs a user id"
    )
    assert isinstance(attempt(plugin, users["alice"], b"anything"), Account)


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ("auth_err", "wrong: "),
        ("user_unknown", "wrong: "),
        ("maxtries", "wrong: "),
        ("perm_denied", "wrong: "),
        ("acct_expired", "wrong: "),
        ("new_authtok_reqd", "wrong: "),
        ("authtok_expired", "wrong: "),
        ("cred_expired", "wrong: "),
        ("open_err", "later: "),
        ("symbol_err", "later: "),
        ("service_err", "later: "),
        ("system_err", "later: "),
        ("buf_err", "later: "),
        ("conv_err", "later: "),
        ("authinfo_unavail", "later: "),
        ("cred_insufficient", "later: "),
        ("cred_unavail", "later: "),
        ("authtok_recover_err", "later: "),
        ("abort", "later: "),
        ("try_again", "later: "),
        ("module_unknown", "later: "),
        ("incomplete", "later: "),
    ],
)
def test_every_result_of_pam_is_told_apart(
    start_plugin: StartPlugin, users: Users, attempt: Attempt, result: str, answer: str
) -> None:
    """Wrong is wrong, and "cannot tell now" is never "wrong"; whether from auth or from account management."""
    in_auth = f"auth required pam_debug.so auth={result}\naccount required pam_permit.so\n"
    in_account = f"auth required pam_permit.so\naccount required pam_debug.so acct={result}\n"
    plugins = [start_plugin(in_auth)]
    if result != "new_authtok_reqd":  # libpam itself lets this one pass in account management unless told otherwise
        plugins.append(start_plugin(in_account))

    for plugin in plugins:
        told = str(attempt(plugin, users["alice"], PASSWORD))
        assert told.startswith(answer)
        assert f"PAM_{result.upper()}" in told or "PAM result" in told


def test_service_that_denies_all_denies_all(start_plugin: StartPlugin, users: Users, attempt: Attempt) -> None:
    """pam_deny in either place."""
    for rules in (
        "auth required pam_deny.so\naccount required pam_permit.so\n",
        "auth required pam_permit.so\naccount required pam_deny.so\n",
    ):
        assert str(attempt(start_plugin(rules), users["alice"], PASSWORD)).startswith("wrong: ")


def test_missing_module_is_no_wrong_password(
    start_plugin: StartPlugin, users: Users, attempt: Attempt, caplog: pytest.LogCaptureFixture
) -> None:
    """A module that cannot be loaded is for the administrator to mend; the user's password is not in doubt."""
    plugin = start_plugin("auth required pam_no_such_module.so\naccount required pam_permit.so\n")

    assert str(attempt(plugin, users["alice"], PASSWORD)).startswith("later: ")
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("rules", ["", "auth optional pam_faildelay.so delay=4000000\n"])
def test_no_delay_of_pam_tells_a_wrong_password_from_a_right_one(
    start_plugin: StartPlugin, users: Users, attempt: Attempt, rules: str
) -> None:
    """Modules ask libpam to wait after a wrong password; nothing waits when account management refuses a right one."""
    plugin = start_plugin(f"{rules}auth required pam_unix.so\naccount required pam_unix.so\n")
    for state, password in (("alice", b"wrong"), ("nobody", PASSWORD), ("locked", PASSWORD), ("expired", PASSWORD)):
        seconds = []
        for _ in range(3):
            started = time.monotonic()
            assert str(attempt(plugin, users[state], password)).startswith("wrong: ")
            seconds.append(time.monotonic() - started)

        assert min(seconds) < 0.9, state  # libpam itself waits for one second at least, when it is asked for two


# --- where the client is


def test_pam_access_decides_by_the_clients_address(
    start_plugin: StartPlugin, users: Users, attempt: Attempt, tmp_path: Path
) -> None:
    """PAM_RHOST is the client's address: one network is allowed, all others are not."""
    table = tmp_path / "access.conf"
    table.write_text(f"+:{users['alice']}:127.0.0.1\n-:ALL:ALL\n")
    plugin = start_plugin(f"{PAM_UNIX}account required pam_access.so accessfile={table} nodefgroup\n")

    assert isinstance(attempt(plugin, users["alice"], PASSWORD, "127.0.0.1"), Account)
    for user, address in (
        ("alice", "127.0.0.9"),
        ("alice", "192.0.2.7"),
        ("alice", "2001:db8::1"),
        ("nologin", "127.0.0.1"),
    ):
        assert attempt(plugin, users[user], PASSWORD, address) == "wrong: access denied (PAM_PERM_DENIED)"


@pytest.mark.parametrize("address", ["127.0.0.1", "2001:db8::7", ""])
def test_module_sees_client_and_terminal(
    start_plugin: StartPlugin, users: Users, attempt: Attempt, tmp_path: Path, address: str
) -> None:
    """What pam_exec gives to a program: the address if there is one, a name for the terminal, no remote user."""
    told = tmp_path / "environment"
    program = tmp_path / "tell"
    program.write_text(f"#!/bin/sh\nenv > {told}\n")
    program.chmod(0o755)
    plugin = start_plugin(f"auth required pam_exec.so {program}\naccount required pam_permit.so\n")
    assert isinstance(attempt(plugin, users["alice"], PASSWORD, address), Account)

    environment = dict(line.split("=", 1) for line in told.read_text().splitlines())
    assert environment.get("PAM_RHOST", "") == address
    assert environment["PAM_TTY"] == "popframe"
    assert environment["PAM_USER"] == users["alice"]
    assert "PAM_RUSER" not in environment


def test_display_of_the_administrator_is_not_the_clients_terminal(
    start_plugin: StartPlugin, users: Users, attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """python-pam takes PAM_TTY from DISPLAY when there is one."""
    monkeypatch.setenv("DISPLAY", "admin:0")

    test_module_sees_client_and_terminal(start_plugin, users, attempt, tmp_path, "127.0.0.1")


def test_pam_faillock_counts_by_user(start_plugin: StartPlugin, users: Users, attempt: Attempt, tmp_path: Path) -> None:
    """Three wrong passwords lock a user out, with the right one as well; no other is concerned."""
    options = f"dir={tmp_path} deny=3 unlock_time=600 nodelay"
    plugin = start_plugin(
        f"auth required pam_faillock.so preauth {options}\n"
        "auth [success=1 default=ignore] pam_unix.so nodelay\n"
        f"auth [default=die] pam_faillock.so authfail {options}\n"
        f"auth sufficient pam_faillock.so authsucc {options}\n"
        "auth required pam_deny.so\n"
        f"account required pam_faillock.so {options}\naccount required pam_unix.so\n"
    )
    assert isinstance(attempt(plugin, users["alice"], PASSWORD), Account)
    for _ in range(3):
        assert str(attempt(plugin, users["alice"], b"wrong")).startswith("wrong: ")

    answer = str(attempt(plugin, users["alice"], PASSWORD))
    assert answer.startswith("wrong: ")
    assert "locked due to 3 failed logins" in answer
    assert isinstance(attempt(plugin, users["nologin"], PASSWORD), Account)


# --- modules that talk


@pytest.mark.parametrize("said", ["good morning", "gr\xfc\xdf Gott", ""])
def test_module_that_prints_does_not_disturb(
    start_plugin: StartPlugin, users: Users, attempt: Attempt, tmp_path: Path, said: str
) -> None:
    """pam_echo's text, in an encoding that is not UTF-8, goes nowhere when the login is right, and to the log else."""
    (tmp_path / "text").write_bytes(said.encode("latin-1"))
    plugin = start_plugin(f"auth optional pam_echo.so file={tmp_path}/text\n{PAM_UNIX}")

    assert isinstance(attempt(plugin, users["alice"], PASSWORD), Account)
    assert said in str(attempt(plugin, users["alice"], b"wrong"))


def test_module_that_asks_again_gets_the_password_again(
    start_plugin: StartPlugin, users: Users, attempt: Attempt
) -> None:
    """Two modules, two prompts, one password; a wrong one fails at the first and does not hang."""
    plugin = start_plugin(f"auth required pam_unix.so nodelay\n{PAM_UNIX}")

    assert isinstance(attempt(plugin, users["alice"], PASSWORD), Account)
    assert str(attempt(plugin, users["alice"], b"wrong")).startswith("wrong: ")


# --- the service's file


def test_service_without_a_file_stops_the_start(users: Users) -> None:
    """For a service without one libpam would take "other", which on Debian asks for a password and nothing else."""
    assert users
    with pytest.raises(
        ConfigError, match=r"no PAM service file 'popframe-test-none' in /etc/pam\.d or /usr/lib/pam\.d"
    ):
        AuthPam.before_run_as(AuthPamSettings(service="popframe-test-none"))


def test_service_whose_file_is_removed_later_accepts_nobody(
    make_service: Callable[[str], str], users: Users, attempt: Attempt
) -> None:
    """Nor does it fall back on "other" then."""
    settings = AuthPamSettings(service=make_service(PAM_UNIX))
    verifier = AuthPam.before_run_as(settings)
    try:
        plugin = AuthPam(settings, verifier)
        assert isinstance(attempt(plugin, users["alice"], PASSWORD), Account)
        Path("/etc/pam.d", settings.service).unlink()

        assert str(attempt(plugin, users["alice"], PASSWORD)).startswith("later: no PAM service file")
    finally:
        verifier.close()


@pytest.mark.checkout
def test_shipped_service_file_checks_passwords(start_plugin: StartPlugin, users: Users, attempt: Attempt) -> None:
    """packaging/pam.d/popframe is whole as it stands, on Debian."""
    shipped = Path(__file__).parents[3] / "packaging" / "pam.d" / "popframe"
    plugin = start_plugin(shipped.read_text())

    assert isinstance(attempt(plugin, users["alice"], PASSWORD), Account)
    for state, password in (("alice", b"wrong"), ("empty", b"x"), ("expired", PASSWORD), ("mustchange", PASSWORD)):
        assert str(attempt(plugin, users[state], password)).startswith("wrong: ")


# --- settings


@pytest.mark.parametrize("service", ["", "../su", "Popframe", "a/b", ".hidden", "x" * 65, "a b", "a\0"])
def test_service_is_a_plain_name_in_lower_case(service: str) -> None:
    """PAM lowers it, and takes it for a part of a path."""
    with pytest.raises(ValidationError):
        AuthPamSettings(service=service)


def test_start_without_root_is_warned_of(
    make_service: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The administrator learns at the start, not from users, whom pam_unix can check."""
    settings = AuthPamSettings(service=make_service(PAM_UNIX))
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    AuthPam.before_run_as(settings).close()

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "user id 4711 alone" in caplog.text


def test_verifier_does_not_load_the_server() -> None:
    """It is forked for every attempt, so it carries nothing that it does not need."""
    code = "import sys, popframe_auth_pam.verifier; print(*{'popframe', 'pydantic', 'logging'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "\n"


# --- without a password


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("nobody", "PAM_USER_UNKNOWN"),
        ("expired", "PAM_ACCT_EXPIRED"),
        ("inactive", "PAM_AUTHTOK_EXPIRED"),
        ("mustchange", "PAM_NEW_AUTHTOK_REQD"),
    ],
)
def test_an_account_that_is_closed_is_so_without_a_password(
    plugin: AuthPam, users: Users, state: str, reason: str
) -> None:
    """For certificates and master users, the service's ``account`` modules are asked."""
    with pytest.raises(AuthenticationFailed, match=reason):
        plugin.popframe_lookup_account(Peer("192.0.2.1"), users[state])


def test_an_account_that_is_open_needs_no_password(plugin: AuthPam, users: Users) -> None:
    """Its identity is proven already."""
    entry = pwd.getpwnam(users["alice"])

    assert plugin.popframe_lookup_account(Peer("192.0.2.1"), users["alice"]) == Account(
        entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid, home=entry.pw_dir, shell=entry.pw_shell
    )


def test_no_auth_module_is_asked_without_a_password(start_plugin: StartPlugin, users: Users) -> None:
    """One that lets nobody in says nothing of the account."""
    plugin = start_plugin("auth required pam_deny.so\naccount required pam_unix.so\n")
    assert plugin.popframe_lookup_account(Peer("192.0.2.1"), users["alice"]).username == users["alice"]

    plugin = start_plugin("auth required pam_permit.so\naccount required pam_deny.so\n")
    with pytest.raises(AuthenticationFailed):
        plugin.popframe_lookup_account(Peer("192.0.2.1"), users["alice"])
