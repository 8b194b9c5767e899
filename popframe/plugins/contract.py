"""What a hook may answer, checked at the door.

Rule of this file: nothing that a plugin returned goes on unless it has the form that the hook's specification promises.
A wrong answer is never taken for "no answer", which would let a weaker plugin decide.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from typing import cast

from popframe.errors import HookContractError
from popframe.extension import Challenge, Command, CommandContext, Exchange, Mechanism
from popframe.model import Account, Maildrop, PlainCredentials, SessionHold
from popframe.proof import Proven, SecretScheme, StoredSecret

MAILDROP_METHODS = ("message_octets", "message_uids", "read_message", "commit", "close")
"""The methods of :class:`popframe.Maildrop`."""

HOLD_METHODS = ("fileno", "close")
"""The methods of :class:`popframe.SessionHold`."""

LARGEST_ID = 2**32 - 2
"""Largest user or group id on Linux; the one above means "none" (chown(2)), and a larger one is cut to another id."""

SECRET_SCHEMES = ("plain", "scram-sha-1", "scram-sha-256")
"""The forms of :class:`popframe.StoredSecret`."""

LEAST_ITERATIONS = 4096
"""Of SCRAM (RFC 5802 section 5.1): a client refuses less."""

_MECHANISM_NAME = re.compile(r"[A-Z0-9_-]{1,20}\Z")
"""RFC 4422 section 3.1."""


def accept_username(source: str, answer: object) -> str:
    """Take a user name: not empty, without control characters."""
    return _checked_name(f"{source} returned", answer)


def accept_account(source: str, answer: object) -> Account:
    """Take an account whose name and numbers can be used."""
    return _checked_account(f"{source} returned", source, answer)


def accept_secret(source: str, answer: object, scheme: str) -> StoredSecret:
    """Take a stored secret in the scheme that was asked for; no message holds its value."""
    if not isinstance(answer, StoredSecret):
        raise _wrong_type(f"{source} returned", "StoredSecret", answer)
    _checked_account(f"{source}: StoredSecret.account is", source, answer.account)
    if not isinstance(answer.value, bytes):
        raise _wrong_type(f"{source}: StoredSecret.value is", "bytes", answer.value)
    if not answer.value:
        raise HookContractError(f"{source}: StoredSecret.value is empty: nobody logs in with an empty password")
    if answer.scheme != scheme:
        raise HookContractError(f"{source} was asked for scheme {scheme!r} and returned {answer.scheme!r}")
    return answer


def _checked_account(subject: str, source: str, account: object) -> Account:
    if not isinstance(account, Account):
        raise _wrong_type(subject, "Account", account)
    _checked_name(f"{source}: Account.username is", account.username)
    for field, number in (("uid", account.uid), ("gid", account.gid)):
        if number is not None and not (type(number) is int and 0 <= number <= LARGEST_ID):
            raise HookContractError(f"{source}: Account.{field} is {number!r}, not a number from 0 to {LARGEST_ID}")
    return account


def _checked_name(subject: str, name: object) -> str:
    if not isinstance(name, str):
        raise _wrong_type(subject, "str", name)
    if not name or not name.isprintable():
        raise HookContractError(f"{subject} {name!r}, which is empty or has characters that do not print")
    return name


def accept_maildrop(source: str, answer: object) -> Maildrop:
    """Take what has the methods of a maildrop; what has not all of them is closed if it can be."""
    missing = [name for name in MAILDROP_METHODS if not callable(getattr(answer, name, None))]
    if not missing:
        return cast("Maildrop", answer)
    if "close" not in missing:
        with contextlib.suppress(Exception):  # the error to tell is the one below
            cast("Maildrop", answer).close()  # it may hold a lock
    raise HookContractError(f"{source} returned {type(answer).__name__}, which lacks {', '.join(missing)}")


def accept_hold(source: str, answer: object) -> SessionHold:
    """Take what has a descriptor and can be closed."""
    missing = [name for name in HOLD_METHODS if not callable(getattr(answer, name, None))]
    if missing:
        lacking = ", ".join(missing)
        raise HookContractError(f"{source} returned {type(answer).__name__}, which lacks {lacking}")
    return cast("SessionHold", answer)


def accept_delivered(source: str, answer: object) -> bool:
    """Take True; to say no, a plugin raises or returns None."""
    if answer is not True:
        raise _wrong_type(f"{source} returned", "True or None", answer)
    return True


def accept_nothing(source: str, answer: object) -> None:
    """Take None alone: a plugin that returns False to refuse must not be taken for one that agrees."""
    if answer is not None:
        raise _wrong_type(f"{source} returned", "None; to refuse, it raises", answer)


def accept_commands(source: str, answer: object) -> tuple[Command[CommandContext], ...]:
    """Take rows of the command table."""
    return tuple(_accept_command(source, row) for row in _iterated(source, answer))


def _accept_command(source: str, row: object) -> Command[CommandContext]:
    if not isinstance(row, Command):
        raise _wrong_type(f"{source} yielded", "Command", row)
    if not callable(row.handler):
        raise HookContractError(f"{source}: the handler of {row.verb} cannot be called")
    return row


def accept_mechanisms(source: str, answer: object) -> tuple[Mechanism, ...]:
    """Take SASL mechanisms."""
    return tuple(_accept_mechanism(source, mechanism) for mechanism in _iterated(source, answer))


def _accept_mechanism(source: str, mechanism: object) -> Mechanism:
    name = getattr(mechanism, "name", None)
    if not (isinstance(name, str) and _MECHANISM_NAME.match(name)):
        raise HookContractError(f"{source}: {name!r} is not the name of a mechanism (1 to 20 of A-Z 0-9 - _)")
    if not isinstance(getattr(mechanism, "reveals_password", None), bool):
        raise HookContractError(f"{source}: {name} lacks reveals_password, a bool")
    needs = getattr(mechanism, "needs_secret", None)
    if not isinstance(needs, str):
        raise HookContractError(f"{source}: {name} lacks needs_secret, a str")
    if needs not in ("", *SECRET_SCHEMES):
        known = ", ".join(SECRET_SCHEMES)
        raise HookContractError(f"{source}: {name} needs the scheme {needs!r} (known: {known})")
    for method in ("suits", "start"):
        if not callable(getattr(mechanism, method, None)):
            raise HookContractError(f"{source}: {name} lacks {method}()")
    return cast("Mechanism", mechanism)


def accept_schemes(source: str, answer: object) -> tuple[SecretScheme, ...]:
    """Take forms of stored secrets."""
    return tuple(_accept_scheme(source, scheme) for scheme in _iterated(source, answer))


def _accept_scheme(source: str, scheme: object) -> SecretScheme:
    if not isinstance(scheme, SecretScheme):
        raise _wrong_type(f"{source} yielded", "SecretScheme", scheme)
    if scheme.name not in SECRET_SCHEMES:
        raise HookContractError(f"{source}: no scheme {scheme.name!r} (known: {', '.join(SECRET_SCHEMES)})")
    least = 0 if scheme.name == "plain" else LEAST_ITERATIONS
    if type(scheme.iterations) is not int or scheme.iterations < least:
        raise HookContractError(f"{source}: {scheme.name} with {scheme.iterations!r} iterations; at least {least}")
    return scheme


def accept_exchange(source: str, answer: object) -> Exchange:
    """Take an exchange."""
    if not callable(getattr(answer, "respond", None)):
        raise _wrong_type(f"{source} started", "an Exchange with respond()", answer)
    return cast("Exchange", answer)


def accept_step(source: str, answer: object) -> Challenge | PlainCredentials | Proven:
    """Take what an exchange answers; an account becomes the proof of it."""
    match answer:
        case Challenge():
            if not isinstance(answer.content, bytes):
                raise _wrong_type(f"{source}: Challenge.content is", "bytes", answer.content)
            if not isinstance(answer.is_refusal, bool):
                raise _wrong_type(f"{source}: Challenge.is_refusal is", "bool", answer.is_refusal)
        case PlainCredentials():
            _checked_name(f"{source}: PlainCredentials.username is", answer.username)
            if not isinstance(answer.password, bytes):
                raise _wrong_type(f"{source}: PlainCredentials.password is", "bytes", answer.password)
            _checked_authorization(source, answer.authorization)
        case Proven():
            _checked_name(f"{source}: Proven.username is", answer.username)
            if answer.account is not None:
                _checked_account(f"{source}: Proven.account is", source, answer.account)
            _checked_authorization(source, answer.authorization)
        case Account():
            return Proven(answer.username, _checked_account(f"{source} returned", source, answer))
        case _:
            raise _wrong_type(f"{source} returned", "Challenge, PlainCredentials, Proven or Account", answer)
    return answer


def _checked_authorization(source: str, authorization: object) -> None:
    if authorization != "":
        _checked_name(f"{source}: authorization is", authorization)


def _iterated(source: str, answer: object) -> Iterable[object]:
    if not isinstance(answer, Iterable):
        raise _wrong_type(f"{source} returned", "an iterable", answer)
    return answer


def _wrong_type(subject: str, wanted: str, answer: object) -> HookContractError:
    """Name the type alone: a value may be a secret."""
    given = repr(answer) if isinstance(answer, bool) else type(answer).__name__
    return HookContractError(f"{subject} {given} instead of {wanted}")
