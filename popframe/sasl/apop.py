"""APOP: a digest of the greeting's timestamp and the password (RFC 1939 section 7). It is no SASL mechanism, but alike.

It needs passwords that the server can read, and MD5, of which collisions can be made: whoever sits in the middle and
makes up timestamps can find out the first letters of a password (CVE-2007-1558).
"""

from __future__ import annotations

import hashlib
from typing import ClassVar

from popframe.errors import AuthenticationFailed
from popframe.extension import MechanismContext
from popframe.model import Peer
from popframe.proof import Proven
from popframe.sasl import shared_secret, text


class Apop:
    """APOP in the shape of a mechanism."""

    name: ClassVar[str] = "APOP"
    reveals_password: ClassVar[bool] = False
    needs_secret: ClassVar[str] = shared_secret.PLAIN

    def suits(self, _peer: Peer) -> bool:
        """Say that it works on every connection."""
        return True

    def start(self, context: MechanismContext) -> ApopExchange:
        """Begin."""
        return ApopExchange(context)


class ApopExchange:
    """One message: timestamp, name and digest, with a NUL between them."""

    def __init__(self, context: MechanismContext) -> None:
        self._context = context

    def respond(self, response: bytes | None) -> Proven:
        """Check the digest.

        Raises:
            AuthenticationFailed: It is wrong.
        """
        fields = (response or b"").split(b"\0")
        if len(fields) != 3:
            raise AuthenticationFailed("APOP: not a timestamp, a name and a digest")
        timestamp, username, digest = fields
        return shared_secret.proven(
            self._context,
            Apop.name,
            text.name(username, "APOP: the user name"),
            digest,
            lambda secret: hashlib.md5(timestamp + secret, usedforsecurity=False).hexdigest(),
        )
