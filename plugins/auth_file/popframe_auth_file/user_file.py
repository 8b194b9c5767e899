"""The password file: one user a line, ``name:hash`` or ``name:hash:key=value key=value``.

Rule of this file: a file is taken whole or not at all, and every mistake in it is told with its line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from popframe import Account, ConfigError, is_password_hash

FIELDS = ("maildrop", "uid", "gid", "home")
"""Keys that a line may have after the hash; they become the fields of :class:`popframe.Account`."""

LARGEST_ID = 2**32 - 2
"""Largest user or group id on Linux; the one above means "none"."""

LOCKS = ("!", "*")
"""A hash field that begins like this belongs to a locked user, as in shadow(5)."""


@dataclass(frozen=True, slots=True)
class User:
    """One line of the file."""

    account: Account
    stored: str = field(repr=False)

    @property
    def is_locked(self) -> bool:
        """No password can match, by the operator's will."""
        return self.stored.startswith(LOCKS)


def parse(lines: Iterable[str], name: str) -> Mapping[str, User]:
    """Read the users of a password file.

    Args:
        lines: Its lines; empty ones and those that begin with ``#`` are ignored.
        name: What to call the file in messages.

    Raises:
        ConfigError: Something is wrong; one line of text for each mistake, ``name:line: what``.
    """
    users: dict[str, User] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if not text.strip() or text.startswith("#"):
            continue
        try:
            user = parse_line(text)
        except ValueError as error:
            problems.append(f"{name}:{number}: {error}")
            continue
        if user.account.username in users:
            problems.append(f"{name}:{number}: user {user.account.username!r} is there twice")
        users[user.account.username] = user
    if problems:
        raise ConfigError("\n".join(problems))
    return users


def parse_line(text: str) -> User:
    """Read one line.

    Raises:
        ValueError: It is not of the form; the message says what would be.
    """
    username, colon, rest = text.partition(":")
    if not colon or not username:
        raise ValueError("expected name:hash")
    if not username.isprintable() or username != username.strip():
        raise ValueError(f"user name {username!r} has blanks at its ends or characters that cannot be printed")
    stored, _, fields = rest.partition(":")
    if not stored:
        raise ValueError(f"user {username!r} has no hash; write ! to lock the user, or run `popframe passwd`")
    if not stored.startswith(LOCKS) and not is_password_hash(stored):
        raise ValueError(f"the hash of {username!r} has no form that crypt(3) knows; run `popframe passwd`")
    return User(_account(username, fields), stored)


def _account(username: str, fields: str) -> Account:
    values: dict[str, str] = {}
    for word in fields.split():
        key, equals, value = word.partition("=")
        if not equals or key not in FIELDS:
            known = ", ".join(FIELDS)
            raise ValueError(f"unknown field {word!r} of user {username!r} (known: {known}; form: key=value)")
        if key in values:
            raise ValueError(f"field {key!r} of user {username!r} is there twice")
        values[key] = unquote(value, errors="surrogateescape")
    return Account(
        username=username,
        uid=_number("uid", values),
        gid=_number("gid", values),
        home=values.get("home", ""),
        maildrop=values.get("maildrop", ""),
    )


def _number(key: str, values: Mapping[str, str]) -> int | None:
    if key not in values:
        return None
    text = values[key]
    if not (text.isascii() and text.isdigit()) or int(text) > LARGEST_ID:
        raise ValueError(f"{key}={text!r} is not a number from 0 to {LARGEST_ID}")
    return int(text)
