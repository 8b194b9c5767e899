"""PLAIN: name and password in one message (RFC 4616)."""

from __future__ import annotations

from typing import ClassVar

from popframe.errors import AuthenticationFailed
from popframe.extension import Challenge, MechanismContext
from popframe.model import Peer, PlainCredentials
from popframe.sasl import text


class Plain:
    """The mechanism."""

    name: ClassVar[str] = "PLAIN"
    reveals_password: ClassVar[bool] = True
    needs_secret: ClassVar[str] = ""

    def suits(self, _peer: Peer) -> bool:
        """Say that it works on every connection."""
        return True

    def start(self, _context: MechanismContext) -> PlainExchange:
        """Begin an exchange."""
        return PlainExchange()


class PlainExchange:
    """One message, after an empty challenge if it did not come with AUTH."""

    def respond(self, response: bytes | None) -> Challenge | PlainCredentials:
        """Take ``[authzid] NUL authcid NUL passwd``.

        Raises:
            AuthenticationFailed: The message is not of that form.
        """
        if response is None:
            return Challenge()
        fields = response.split(b"\0")
        if len(fields) != 3:
            raise AuthenticationFailed(f"PLAIN: {len(fields) - 1} NUL instead of 2")
        authorization, username, password = fields
        text.decoded(password, "PLAIN: the password")
        return PlainCredentials(
            username=text.name(username, "PLAIN: the user name"),
            password=password,
            authorization=text.name(authorization, "PLAIN: the name to act as") if authorization else "",
        )
