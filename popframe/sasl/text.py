"""Texts in a client's message: UTF-8, and names prepared for comparison."""

from __future__ import annotations

from popframe.errors import AuthenticationFailed
from popframe.saslprep import prepared_name


def decoded(octets: bytes, what: str) -> str:
    """Return a text.

    Raises:
        AuthenticationFailed: It is not UTF-8 (RFC 3629 section 3).
    """
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise AuthenticationFailed(f"{what} is not UTF-8") from exc


def name(octets: bytes, what: str) -> str:
    """Return a user's name, prepared (RFC 4013), or as it is when only its directions are mixed, as USER takes it.

    Raises:
        AuthenticationFailed: It is empty, or cannot be anybody's name.
    """
    text = decoded(octets, what)
    try:
        return prepared_name(text)
    except ValueError as exc:
        raise AuthenticationFailed(f"{what}: {exc}") from exc
