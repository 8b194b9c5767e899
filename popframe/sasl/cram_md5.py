"""CRAM-MD5: a digest of challenge and password (RFC 2195). It needs passwords that the server can read."""

from __future__ import annotations

import hmac
from typing import ClassVar

from popframe.errors import AuthenticationFailed
from popframe.extension import Challenge, MechanismContext
from popframe.model import Peer
from popframe.proof import Proven
from popframe.sasl import shared_secret, text

CHALLENGE_OCTETS = 16
"""Random octets in a challenge: no two are the same."""


class CramMd5:
    """The mechanism."""

    name: ClassVar[str] = "CRAM-MD5"
    reveals_password: ClassVar[bool] = False
    needs_secret: ClassVar[str] = shared_secret.PLAIN

    def suits(self, _peer: Peer) -> bool:
        """Say that it works on every connection."""
        return True

    def start(self, context: MechanismContext) -> CramMd5Exchange:
        """Begin an exchange."""
        return CramMd5Exchange(context, f"<{context.random_octets(CHALLENGE_OCTETS).hex()}@popframe>".encode())


class CramMd5Exchange:
    """The server speaks first; one response."""

    def __init__(self, context: MechanismContext, challenge: bytes) -> None:
        """Begin.

        Args:
            context: Where the secret is asked for.
            challenge: In the form of a msg-id (RFC 822), never used before.
        """
        self._context = context
        self._challenge = challenge
        self._is_asked = False

    def respond(self, response: bytes | None) -> Challenge | Proven:
        """Take name, space, and digest.

        Raises:
            AuthenticationFailed: The digest is wrong, or came before the challenge.
        """
        if response is None and not self._is_asked:
            self._is_asked = True
            return Challenge(self._challenge)
        if response is None or not self._is_asked:
            raise AuthenticationFailed("CRAM-MD5: a response before the challenge")
        username, _, digest = response.rpartition(b" ")
        return shared_secret.proven(
            self._context,
            CramMd5.name,
            text.name(username, "CRAM-MD5: the user name"),
            digest,
            lambda secret: hmac.new(secret, self._challenge, "md5").hexdigest(),
        )
