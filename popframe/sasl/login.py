"""LOGIN: name and password in two messages, for old clients that know nothing else.

It never became an RFC; what clients do stands in draft-murchison-sasl-login.
"""

from __future__ import annotations

from typing import ClassVar

from popframe.errors import AuthenticationFailed
from popframe.extension import Challenge, MechanismContext
from popframe.model import Peer, PlainCredentials
from popframe.sasl import text

ASK_USERNAME = Challenge(b"Username:")
"""Exactly this: some clients look at the words."""

ASK_PASSWORD = Challenge(b"Password:")
"""The same."""


class Login:
    """The mechanism."""

    name: ClassVar[str] = "LOGIN"
    reveals_password: ClassVar[bool] = True
    needs_secret: ClassVar[str] = ""

    def suits(self, _peer: Peer) -> bool:
        """Say that it works on every connection."""
        return True

    def start(self, _context: MechanismContext) -> LoginExchange:
        """Begin an exchange."""
        return LoginExchange()


class LoginExchange:
    """Two questions; an answer to the first may come with AUTH."""

    def __init__(self) -> None:
        self._username = ""

    def respond(self, response: bytes | None) -> Challenge | PlainCredentials:
        """Take the name, then the password.

        Raises:
            AuthenticationFailed: The name is nobody's, or the password has a NUL.
        """
        if response is None:
            return ASK_USERNAME
        if not self._username:
            self._username = text.name(response, "LOGIN: the user name")
            return ASK_PASSWORD
        if b"\0" in response:
            raise AuthenticationFailed("LOGIN: a NUL in the password")
        return PlainCredentials(self._username, response)
