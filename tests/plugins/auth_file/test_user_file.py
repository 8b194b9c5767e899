"""The password file's form, and what is said of mistakes in it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import Account, ConfigError
from popframe_auth_file.user_file import check_username, parse

HASH = "$1$iH8nh9Ru$10vWy2kL3UYutmsYQeq6X1"


def test_line_with_every_field_becomes_an_account() -> None:
    """Name, hash and fields are all that a line has."""
    line = f"alice:{HASH}:maildrop=/srv/mail/alice uid=1000 gid=100  home=/home/alice shell=/bin/sh\n"
    user = parse(line.encode(), "users")["alice"]

    assert user.account == Account(
        username="alice", uid=1000, gid=100, home="/home/alice", shell="/bin/sh", maildrop="/srv/mail/alice"
    )
    assert user.stored == HASH
    assert user.line == 1


@pytest.mark.parametrize(
    "name", ["alice", "bob@example.org", "bob+detail", "Änne", "a b", "a#b", "-", "=", "a/../b", "*", "x" * 300]
)
def test_name_may_be_any_printable_text_without_colon(name: str) -> None:
    """Names are what clients send; the file takes them as they are."""
    check_username(name)

    assert list(parse(f"{name}:{HASH}".encode(), "users")) == [name]


@pytest.mark.parametrize("line", ["", "  ", "\t", "# alice:secret", "  # indented", "#"])
def test_comment_or_empty_line_is_ignored(line: str) -> None:
    """A comment may say anything, line separators of Unicode included."""
    text = f"{line}\u2028bob:secret\nalice:{HASH}\n" if line.lstrip().startswith("#") else f"{line}\nalice:{HASH}\n"

    assert list(parse(text.encode(), "users")) == ["alice"]


def test_line_ends_may_be_those_of_dos() -> None:
    """A file that was edited elsewhere works, with and without fields and a last line end."""
    users = parse(f"# users\r\nalice:{HASH}\r\nbob:{HASH}:maildrop=/m\r\n\r\ncarol:{HASH}".encode(), "users")

    assert {name: user.stored for name, user in users.items()} == dict.fromkeys(("alice", "bob", "carol"), HASH)
    assert users["bob"].account.maildrop == "/m"
    assert users["carol"].line == 5


@pytest.mark.parametrize("stored", ["", "!", "!!", "*", "!" + HASH, "*locked*", "!*"])
def test_field_without_usable_hash_is_a_locked_user(stored: str) -> None:
    """A user without a password yet, or locked as in shadow(5), is no mistake."""
    assert parse(f"alice:{stored}".encode(), "users")["alice"].is_locked


def test_value_is_percent_encoded() -> None:
    """Blanks, percent signs and octets that are not UTF-8 can be written."""
    line = f"alice:{HASH}:maildrop=/srv/my%20mail/100%25/%C3%A4%ff:x home=/h=1"
    account = parse(line.encode(), "users")["alice"].account

    assert account.maildrop == "/srv/my mail/100%/ä\udcff:x"
    assert account.home == "/h=1"


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    """The operator mends a file in one go."""
    content = b"\n".join(
        [
            b"# users",
            b"alice:" + HASH.encode(),
            b"no colon",
            b":" + HASH.encode(),
            b"bob:plain-text",
            b"alice:!",
            b"carol:" + HASH.encode() + b":gecos=Carol",
            b"dave:" + HASH.encode() + b":uid=x",
            b"eve\xff:!",
            b" mallory:!",
        ]
    )
    with pytest.raises(ConfigError) as caught:
        parse(content, "/etc/users")

    assert str(caught.value).splitlines() == [
        "/etc/users:3: no colon in the line; expected name:hash or name:hash:key=value",
        "/etc/users:4: a user name is missing",
        "/etc/users:5: the hash of user 'bob' has no form that crypt(3) knows; run `popframe passwd`",
        "/etc/users:6: user 'alice' is in line 2 already",
        "/etc/users:7: unknown field 'gecos' of user 'carol' (known: maildrop, uid, gid, home, shell, "
        "scram-sha-256, scram-sha-1; form: key=value)",
        "/etc/users:8: uid=x is not a number from 0 to 4294967294",
        "/etc/users:9: the line is not UTF-8",
        "/etc/users:10: user name ' mallory' has blanks at its ends, or characters that cannot be printed",
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("maildrop", "unknown field 'maildrop'"),
        ("maildrop=", "'maildrop' has no value"),
        ("uid=1 uid=1", "'uid' of user 'alice' is there twice"),
        ("uid=-1", "not a number"),
        ("uid=4294967295", "not a number"),
        ("uid=" + "1" * 5000, "not a number"),
        ("gid=%31x", "not a number"),
        ("gid=\uff11", "not a number"),
        ("home=/100%", "after % come two hexadecimal digits"),
        ("home=/%zz", "after % come two hexadecimal digits"),
        ("home=/a%00b", "NUL"),
        ("scram-sha-512=x", "unknown field 'scram-sha-512'"),
        ("scram-sha-256=x", "scram-sha-256 of user 'alice': not of the form SCRAM-SHA-256"),
        ("0:99999:7:::", "unknown field '0:99999:7:::'"),
    ],
)
def test_bad_field_is_refused(fields: str, message: str) -> None:
    """A field that would be read otherwise than it was meant is a mistake."""
    with pytest.raises(ConfigError, match=message):
        parse(f"alice:{HASH}:{fields}".encode(), "users")


@pytest.mark.parametrize("name", ["", "a:b", "#a", " a", "a ", "a\tb", "a\nb", "a\0b", "\ufeffa", "\u202ea", "\udcff"])
def test_name_that_cannot_stand_in_the_file_is_refused(name: str) -> None:
    """What would split a line, hide it, or look like another name is no name."""
    with pytest.raises(ValueError, match="user name"):
        check_username(name)


def test_password_in_clear_text_is_not_quoted() -> None:
    """The message goes to a terminal and a log; what stands in the hash field by mistake may be a password."""
    with pytest.raises(ConfigError) as caught:
        parse(b"alice:my secret word\n", "users")

    assert "secret" not in str(caught.value)


def test_hash_is_not_shown() -> None:
    """A user in a message or a traceback does not give the hash away."""
    assert HASH not in repr(parse(f"alice:{HASH}".encode(), "users")["alice"])


@given(st.binary() | st.text(alphabet="ab:#=%\n\r !$1").map(str.encode))
def test_any_content_is_taken_whole_or_refused_by_line(content: bytes) -> None:
    """Octets of any kind give users or messages, and nothing else."""
    lines = content.split(b"\n")
    try:
        found = [(user.line, name) for name, user in parse(content, "users").items()]
        messages = []
    except ConfigError as error:
        found, messages = [], str(error).split("\n")

    assert all(lines[number - 1].startswith(name.encode() + b":") for number, name in found)
    assert all(re.match("users:[0-9]+: ", message) for message in messages)
