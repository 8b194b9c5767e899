"""What a server stores of a password for SCRAM (RFC 5802 section 3), written as RFC 5803 has it.

Rule of this file: the keys let nobody log in who steals them, but let guesses be tried, like a hash of crypt(3); no
message and no representation holds one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

from popframe.saslprep import saslprep

SCHEMES: Mapping[str, str] = MappingProxyType({"scram-sha-256": "sha256", "scram-sha-1": "sha1"})
"""Hash function by scheme."""

LEAST_ITERATIONS = 4096
"""RFC 5802 section 5.1, RFC 7677 section 4."""

MOST_ITERATIONS = 10_000_000
"""Several seconds of work; the client has to do it too."""

DEFAULT_ITERATIONS = 100_000
"""Some 25 ms with SHA-256: as much as the hashes that ``hash_password`` makes. Phones take it in their stride."""

SALT_OCTETS = 16

_FORM = re.compile(
    r"(SCRAM-SHA-(?:1|256))\$([1-9][0-9]{0,8}):([A-Za-z0-9+/]+={0,2})\$([A-Za-z0-9+/]+={0,2}):([A-Za-z0-9+/]+={0,2})"
)


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """The stored secret of one user for one SCRAM scheme.

    Attributes:
        scheme: ``"scram-sha-256"`` or ``"scram-sha-1"``.
        iterations: How often the hash is computed.
        salt: At least 12 octets.
        stored_key: What proves that the client knows the password.
        server_key: What proves the server to the client.
    """

    scheme: str
    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    @classmethod
    def made(
        cls,
        password: bytes,
        scheme: str = "scram-sha-256",
        iterations: int = DEFAULT_ITERATIONS,
        salt: bytes | None = None,
    ) -> Self:
        """Compute the keys of a password.

        Args:
            password: UTF-8 that SASLprep allows (RFC 4013).
            scheme: ``"scram-sha-256"`` or ``"scram-sha-1"``.
            iterations: 4096 to 10,000,000.
            salt: A fresh one, unless given.

        Raises:
            ValueError: The password cannot be used, or there is no such scheme.
        """
        if scheme not in SCHEMES:
            raise ValueError(f"unknown scheme {scheme!r} (known: {', '.join(SCHEMES)})")
        if not LEAST_ITERATIONS <= iterations <= MOST_ITERATIONS:
            raise ValueError(f"{iterations} iterations: SCRAM takes {LEAST_ITERATIONS} to {MOST_ITERATIONS}")
        salt = secrets.token_bytes(SALT_OCTETS) if salt is None else salt
        digest = SCHEMES[scheme]
        salted = hashlib.pbkdf2_hmac(digest, _prepared(password), salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", digest)
        stored_key = hashlib.new(digest, client_key).digest()
        return cls(scheme, iterations, salt, stored_key, hmac.digest(salted, b"Server Key", digest))

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Read what :attr:`text` has written, or another server in the form of RFC 5803.

        Raises:
            ValueError: It is not of that form; the message does not quote it.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError("not of the form SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey")
        scheme, iterations = match[1].lower(), int(match[2])
        try:
            salt, stored_key, server_key = (base64.b64decode(match[group], validate=True) for group in (3, 4, 5))
        except binascii.Error as exc:
            raise ValueError("a salt or key that is not base64") from exc
        if not LEAST_ITERATIONS <= iterations <= MOST_ITERATIONS:
            raise ValueError(f"{iterations} iterations: SCRAM takes {LEAST_ITERATIONS} to {MOST_ITERATIONS}")
        octets = hashlib.new(SCHEMES[scheme]).digest_size
        if len(salt) < 12 or len(stored_key) != octets or len(server_key) != octets:
            raise ValueError(f"a salt of less than 12 octets, or a key that has not {octets}")
        return cls(scheme, iterations, salt, stored_key, server_key)

    @property
    def text(self) -> str:
        """The keys as RFC 5803 writes them."""
        salt, stored, server = (
            base64.b64encode(octets).decode() for octets in (self.salt, self.stored_key, self.server_key)
        )
        return f"{self.scheme.upper()}${self.iterations}:{salt}${stored}:{server}"

    def verify(self, password: bytes) -> bool:
        """Tell whether a password belongs to the keys, in a time that does not depend on where they differ."""
        try:
            made = self.made(password, self.scheme, self.iterations, self.salt)
        except ValueError:
            return False
        return hmac.compare_digest(made.stored_key, self.stored_key)


def _prepared(password: bytes) -> bytes:
    """Return a password as both sides have to prepare it (RFC 4013).

    Raises:
        ValueError: It is not UTF-8, has characters that are prohibited, or nothing is left of it.
    """
    try:
        text = saslprep(password.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("the password is not UTF-8") from None  # its cause would hold a part of the password
    if not text:
        raise ValueError("nothing is left of the password when it is prepared")
    return text.encode()
