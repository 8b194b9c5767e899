"""The password file: one user a line, ``name:hash`` or ``name:hash:key=value key=value``.

The hash may be missing where ``scram-sha-256=`` is among the keys, and may be ``{PLAIN}`` and the password itself.

Rule of this file: a file is taken whole or not at all, and every mistake in it is told with its line. No message quotes
a hash field: what stands there by mistake may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from popframe import Account, ConfigError, ScramKeys, is_password_hash

FIELDS = ("maildrop", "uid", "gid", "home", "shell")
"""Keys that a line may have after the hash; they become the fields of :class:`popframe.Account`."""

SCRAM_SCHEMES = ("scram-sha-256", "scram-sha-1")
"""Keys of a line whose values are what SCRAM needs, written as in RFC 5803."""

PLAIN = "{PLAIN}"
"""A hash field that begins like this has the password behind it, for APOP and CRAM-MD5."""

LARGEST_ID = 2**32 - 2
"""Largest user or group id on Linux; the one above means "none" (chown(2))."""

LOCKS = ("!", "*")
"""A hash field that begins like this belongs to a locked user, as in shadow(5)."""

_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_ID = re.compile("[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class User:
    """One user of the file.

    Attributes:
        account: Who it is.
        stored: The hash field.
        line: Where it stands, from 1.
        scram: By scheme, the texts of what SCRAM needs.
        plain: The password, if it can be read there.
    """

    account: Account
    stored: str = field(repr=False)
    line: int
    scram: Mapping[str, str] = field(repr=False, default_factory=dict)
    plain: bytes | None = field(repr=False, default=None)

    @property
    def is_locked(self) -> bool:
        """No password can match: the field is locked, or nobody has set one yet."""
        return self.stored.startswith(LOCKS) if self.stored else not self.scram

    @property
    def verifiable(self) -> str:
        """What a password is verified against: the hash, or what SCRAM needs; empty when it can be read."""
        if self.plain is not None:
            return ""
        return self.stored or next(iter(self.scram.values()), "")


def parse(content: bytes, name: str) -> Mapping[str, User]:
    """Read the users of a password file.

    Args:
        content: The file; empty lines and those that begin with ``#`` are ignored.
        name: What to call the file in messages.

    Raises:
        ConfigError: Something is wrong; one line of text for each mistake, ``name:line: what``.
    """
    users: dict[str, User] = {}
    problems: list[str] = []
    for number, octets in enumerate(content.split(b"\n"), 1):
        try:
            user = _parse_line(octets, number)
        except ValueError as error:
            problems.append(f"{name}:{number}: {error}")
            continue
        if user is None:
            continue
        first = users.setdefault(user.account.username, user)
        if first is not user:
            problems.append(f"{name}:{number}: user {user.account.username!r} is in line {first.line} already")
    if problems:
        raise ConfigError("\n".join(problems))
    return users


def check_username(username: str) -> None:
    """Refuse a name that cannot stand in the file.

    Raises:
        ValueError: The message says why.
    """
    if not username:
        raise ValueError("a user name is missing")
    if not username.isprintable() or username != username.strip():
        raise ValueError(f"user name {username!r} has blanks at its ends, or characters that cannot be printed")
    if ":" in username or username.startswith("#"):
        raise ValueError(f"user name {username!r} has a colon in it, or begins with #")


def _parse_line(octets: bytes, number: int) -> User | None:
    """Read one line; None for a comment.

    Raises:
        ValueError: It is not of the form; the message says what would be.
    """
    try:
        text = octets.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("the line is not UTF-8") from error
    if not text.strip() or text.lstrip().startswith("#"):
        return None
    username, colon, rest = text.partition(":")
    if not colon:
        raise ValueError("no colon in the line; expected name:hash or name:hash:key=value")
    check_username(username)
    stored, _, fields = rest.partition(":")
    is_plain = stored.startswith(PLAIN)
    if stored and not is_plain and not stored.startswith(LOCKS) and not is_password_hash(stored):
        raise ValueError(f"the hash of user {username!r} has no form that crypt(3) knows; run `popframe passwd`")
    values = _values(username, fields)
    scram = {scheme: _scram(scheme, username, values.pop(scheme)) for scheme in SCRAM_SCHEMES if scheme in values}
    plain = _plain(username, stored.removeprefix(PLAIN)) if is_plain else None
    return User(_account(username, values), stored, number, scram, plain)


def _scram(scheme: str, username: str, text: str) -> str:
    try:
        keys = ScramKeys.parsed(text)
    except ValueError as error:
        raise ValueError(f"{scheme} of user {username!r}: {error}") from error
    if keys.scheme != scheme:
        raise ValueError(f"{scheme} of user {username!r} is of {keys.scheme}")
    return text


def _plain(username: str, text: str) -> bytes:
    if _BAD_ESCAPE.search(text):
        raise ValueError(f"{PLAIN} of user {username!r}: after % come two hexadecimal digits; a % itself is %25")
    password = unquote_to_bytes(text)
    if not password or b"\0" in password:
        raise ValueError(f"{PLAIN} of user {username!r}: the password is empty, or has a NUL in it")
    return password


def _values(username: str, fields: str) -> dict[str, str]:
    """Return the values of the keys of a line, without their percent-encoding."""
    values: dict[str, str] = {}
    for word in fields.split():
        key, equals, value = word.partition("=")
        if not equals or key not in (*FIELDS, *SCRAM_SCHEMES):
            known = ", ".join((*FIELDS, *SCRAM_SCHEMES))
            raise ValueError(f"unknown field {key!r} of user {username!r} (known: {known}; form: key=value)")
        if key in values:
            raise ValueError(f"field {key!r} of user {username!r} is there twice")
        values[key] = value if key in SCRAM_SCHEMES else _unescape(key, value)
    return values


def _account(username: str, values: Mapping[str, str]) -> Account:
    return Account(
        username=username,
        uid=_number("uid", values),
        gid=_number("gid", values),
        home=values.get("home", ""),
        shell=values.get("shell", ""),
        maildrop=values.get("maildrop", ""),
    )


def _unescape(key: str, value: str) -> str:
    """Undo the percent-encoding; octets that are not UTF-8 come out as ``os.fsdecode`` has them in file names."""
    if not value:
        raise ValueError(f"field {key!r} has no value")
    if _BAD_ESCAPE.search(value):
        raise ValueError(f"{key}={value}: after % come two hexadecimal digits; a % itself is %25")
    text = unquote_to_bytes(value).decode("utf-8", "surrogateescape")
    if "\0" in text:
        raise ValueError(f"{key}={value}: NUL cannot be part of a path or number")
    return text


def _number(key: str, values: Mapping[str, str]) -> int | None:
    if key not in values:
        return None
    text = values[key]
    if not _ID.fullmatch(text) or int(text) > LARGEST_ID:
        raise ValueError(f"{key}={text} is not a number from 0 to {LARGEST_ID}")
    return int(text)
