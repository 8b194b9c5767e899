"""What a password file has for SCRAM, APOP and CRAM-MD5, and who is known without a password."""

from __future__ import annotations

import argparse
import io
import logging
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from popframe import Account, AuthenticationFailed, ConfigError, PlainCredentials, ScramKeys, SecretScheme
from popframe_auth_file import AuthFile, AuthFileSettings, passwd_command
from popframe_auth_file.user_file import parse

KEYS = ScramKeys.made(b"correct horse", iterations=4096)
KEYS_SHA_1 = ScramKeys.made(b"correct horse", "scram-sha-1", 4096)
BOTH = f"scram-sha-256={KEYS.text} scram-sha-1={KEYS_SHA_1.text}"

Start = Callable[..., AuthFile]
Passwd = Callable[..., int]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Return what starts the plugin on these lines."""

    def start(*lines: str, cache: bool = True) -> AuthFile:
        path = tmp_path / "users"
        path.write_text("".join(f"{line}\n" for line in lines))
        path.chmod(0o600)
        return AuthFile(AuthFileSettings(path=path, cache_verified_passwords=cache))

    return start


@pytest.fixture
def passwd(monkeypatch: pytest.MonkeyPatch) -> Passwd:
    """Return ``popframe passwd`` in this process."""

    def passwd(*arguments: object, typed: bytes = b"") -> int:
        parser = argparse.ArgumentParser()
        passwd_command.add_arguments(parser)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed)))
        return passwd_command.run(parser.parse_args([str(argument) for argument in arguments]))

    return passwd


def logs_in(plugin: AuthFile, username: str, password: bytes) -> bool:
    """Tell whether a password is right."""
    try:
        return plugin.popframe_authenticate(PlainCredentials(username, password)) == Account(username)
    except AuthenticationFailed:
        return False


def schemes(plugin: AuthFile) -> list[SecretScheme]:
    """Return what the plugin says that it has."""
    return list(plugin.popframe_register_secret_schemes())


# --- passwords


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("line", [f"alice::scram-sha-256={KEYS.text}", f"alice::{BOTH}", "alice:{PLAIN}correct horse"])
def test_a_user_without_a_hash_logs_in_by_password(start: Start, line: str, cache: bool) -> None:
    """What SCRAM needs is enough to check one, and so is the password itself."""
    plugin = start(line, cache=cache)

    for _ in range(2):
        assert logs_in(plugin, "alice", b"correct horse")
        assert not logs_in(plugin, "alice", b"correct horsf")
        assert not logs_in(plugin, "alice", b"{PLAIN}correct horse")


@pytest.mark.parametrize(
    ("field", "password"),
    [("a%3Ab", b"a:b"), ("%25", b"%"), (" a ", b" a "), ("%ff", b"\xff"), ("\u00e4", b"\xc3\xa4"), ("$1$x", b"$1$x")],
)
def test_a_readable_password_is_percent_encoded(start: Start, field: str, password: bytes) -> None:
    """So that any octets but NUL can stand there."""
    assert logs_in(start(f"alice:{{PLAIN}}{field}"), "alice", password)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("alice:{PLAIN}", "{PLAIN} of user 'alice': the password is empty, or has a NUL in it"),
        ("alice:{PLAIN}s%00", "{PLAIN} of user 'alice': the password is empty, or has a NUL in it"),
        ("alice:{PLAIN}s%zz", "{PLAIN} of user 'alice': after % come two hexadecimal digits; a % itself is %25"),
        ("alice:{plain}s", "the hash of user 'alice' has no form that crypt(3) knows; run `popframe passwd`"),
        (f"alice::scram-sha-1={KEYS.text}", "scram-sha-1 of user 'alice' is of scram-sha-256"),
        (f"alice::scram-sha-256={KEYS.text}x", "scram-sha-256 of user 'alice': not of the form "),
        (f"alice::{BOTH} scram-sha-1=x", "field 'scram-sha-1' of user 'alice' is there twice"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_without_the_secret(line: str, problem: str) -> None:
    """The file is taken whole, or not at all."""
    with pytest.raises(ConfigError) as caught:
        parse(f"# users\n{line}\n".encode(), "users")

    assert str(caught.value).startswith(f"users:2: {problem}")
    assert KEYS.text[20:40] not in str(caught.value)


def test_a_user_without_anything_is_locked_as_before(start: Start) -> None:
    """An empty field alone means that nobody has set a password yet; a lock holds for SCRAM too."""
    plugin = start("alice:", f"bob:!:{BOTH}", f"carol:!{{PLAIN}}x:{BOTH}", f"dave:*:{BOTH}")

    for name in ("alice", "bob", "carol", "dave"):
        assert not logs_in(plugin, name, b"correct horse")
        assert plugin.popframe_lookup_secret(name, "scram-sha-256") is None
        assert plugin.popframe_lookup_secret(name, "plain") is None
        with pytest.raises(AuthenticationFailed, match="locked"):
            plugin.popframe_lookup_account(name)
    assert schemes(plugin) == []


def test_refusals_take_the_same_time_where_users_have_no_hashes(start: Start) -> None:
    """H-047: an unknown user costs what most users cost, SCRAM's keys here."""
    slow = ScramKeys.made(b"correct horse", iterations=200_000)
    plugin = start(*(f"user{number}::scram-sha-256={slow.text}" for number in range(3)), f"old:{HASH}", cache=False)

    def seconds(username: str) -> float:
        times = []
        for _ in range(7):
            started = time.perf_counter()
            assert not logs_in(plugin, username, b"wrong")
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    known, unknown = seconds("user1"), seconds("nobody")
    assert unknown == pytest.approx(known, rel=0.5)


HASH = "$1$iH8nh9Ru$10vWy2kL3UYutmsYQeq6X1"


# --- secrets


def test_secrets_are_given_in_their_scheme(start: Start) -> None:
    """A-011: exactly as they stand in the file."""
    plugin = start(f"alice:{HASH}:uid=1001 gid=1001 {BOTH}", "bob:{PLAIN}s%3Acret")
    secret = plugin.popframe_lookup_secret("alice", "scram-sha-1")

    assert secret is not None
    assert (secret.account, secret.scheme) == (Account("alice", uid=1001, gid=1001), "scram-sha-1")
    assert secret.value.decode() == KEYS_SHA_1.text
    assert plugin.popframe_lookup_secret("alice", "plain") is None
    readable = plugin.popframe_lookup_secret("bob", "plain")
    assert readable is not None
    assert readable.value == b"s:cret"
    assert plugin.popframe_lookup_secret("bob", "scram-sha-256") is None
    assert plugin.popframe_lookup_secret("nobody", "plain") is None


def test_scram_is_named_only_if_every_user_can_use_it(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """A client that sees it tries nothing else; the log says why it is missing."""
    caplog.set_level(logging.INFO)
    other = ScramKeys.made(b"x", iterations=5000)

    assert schemes(start(f"alice::scram-sha-256={KEYS.text}", f"bob:{HASH}:{BOTH}", "carol:!")) == [
        SecretScheme("scram-sha-256", 4096)
    ]
    assert "scram-sha-1 is not offered: 1 of 2 users have no keys for it" in caplog.text
    assert schemes(start(f"alice::{BOTH}", f"bob:{HASH}")) == []
    lines = [f"user{number}::scram-sha-256={keys.text}" for number, keys in enumerate((other, KEYS, KEYS))]
    assert schemes(start(*lines)) == [SecretScheme("scram-sha-256", 4096)]
    assert schemes(start()) == []


def test_readable_passwords_are_named_if_there_are_any(start: Start) -> None:
    """A-018, A-053: nobody uses them unless the site turns APOP or CRAM-MD5 on."""
    assert schemes(start("alice:{PLAIN}secret", f"bob:{HASH}")) == [SecretScheme("plain")]
    assert schemes(start("alice:!{PLAIN}secret", f"bob:{HASH}")) == []


def test_an_account_is_known_without_a_password(start: Start) -> None:
    """For certificates and master users."""
    plugin = start(f"alice:{HASH}:uid=1001 maildrop=/srv/a")

    assert plugin.popframe_lookup_account("alice") == Account("alice", uid=1001, maildrop="/srv/a")
    assert plugin.popframe_lookup_account("nobody") is None


# --- popframe passwd


@pytest.mark.parametrize(
    ("options", "names", "hash_start"),
    [
        ((), set(), "$y$"),
        (("--scram",), {"scram-sha-256"}, "$y$"),
        (("--scram-sha-1",), {"scram-sha-1"}, "$y$"),
        (("--scram", "--scram-sha-1", "--scheme", "none"), {"scram-sha-256", "scram-sha-1"}, ""),
        (("--scheme", "plain"), set(), "{PLAIN}"),
        (("--scheme", "plain", "--scram"), {"scram-sha-256"}, "{PLAIN}"),
    ],
)
def test_passwd_writes_what_is_wanted(
    tmp_path: Path, passwd: Passwd, options: tuple[str, ...], names: set[str], hash_start: str
) -> None:
    """A-056: for a new user, and for one who is there with fields that stay."""
    path = tmp_path / "users"
    path.write_text(f"# ours\nalice:{HASH}:maildrop=/srv/a  uid=7\nbob:{HASH}\r\n")
    plugin_path = AuthFileSettings(path=path)
    for name in ("alice", "bob", "carol"):
        assert passwd(*options, path, name, typed="p\u00e4:s %w".encode()) == 0
        user = parse(path.read_bytes(), "users")[name]
        assert set(user.scram) == names
        assert user.stored.startswith(hash_start)
        assert bool(user.stored) is bool(hash_start)

    users = parse(path.read_bytes(), "users")
    assert path.read_text().startswith("# ours\n")
    assert users["alice"].account == Account("alice", uid=7, maildrop="/srv/a")
    plugin = AuthFile(plugin_path)
    for name in ("bob", "carol"):
        assert logs_in(plugin, name, "p\u00e4:s %w".encode())
        assert not logs_in(plugin, name, b"p")


def test_a_new_password_leaves_nothing_of_the_old_one(tmp_path: Path, passwd: Passwd) -> None:
    """What SCRAM needs is made anew without being asked for; and twice the same leaves one of each."""
    path = tmp_path / "users"
    path.write_text(f"alice:{HASH}:{BOTH} uid=7\nbob::{BOTH}\n")
    for password in (b"new", b"newer"):
        for name in ("alice", "bob"):
            assert passwd(path, name, typed=password) == 0

    for user in parse(path.read_bytes(), "users").values():
        assert set(user.scram) == {"scram-sha-256", "scram-sha-1"}
        for text in user.scram.values():
            assert ScramKeys.parsed(text).verify(b"newer")
    assert path.read_text().count("uid=7") == 1


@pytest.mark.parametrize(
    ("options", "typed", "reason"),
    [
        (("--scheme", "none"), b"secret", "--scheme none leaves nothing to log in with"),
        (("--scram",), b"\xff", "the password is not UTF-8"),
        (("--scram", "--scheme", "none"), b"a\x07", "a character that can be part of no name and no password"),
        (("--scheme", "plain"), b"a\0b", "a password has no NUL"),
    ],
)
def test_what_cannot_be_written_changes_nothing(
    tmp_path: Path,
    passwd: Passwd,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    typed: bytes,
    reason: str,
) -> None:
    """The message says why, and not what was typed."""
    path = tmp_path / "users"
    path.write_text(f"alice:{HASH}\n")

    assert passwd(*options, path, "alice", typed=typed) == 1
    assert reason in capsys.readouterr().err
    assert path.read_text() == f"alice:{HASH}\n"
