"""The public keys of an issuer: a JWK Set (RFC 7517).

Rule of this file: a ``kid`` is compared with those in the set, and never becomes a path, an address or anything else.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from popframe_auth_oauth.bounded_json import parse_json

PublicKey = RSAKey | ECKey | OKPKey

MAX_DOCUMENT_OCTETS = 262_144
"""The sets of large providers have up to ten keys with certificates, some 20 KB; more than this is something else."""

MAX_KEYS = 100
"""Far more than any issuer has at the same time."""

RSA_BITS = range(2048, 8193)
"""Shorter keys can be broken (NIST SP 800-131A); longer ones cost milliseconds for each token."""

KEY_TYPES = ("RSA", "EC", "OKP")
"""Symmetric keys are left out: whoever may read the set could sign with one."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys that can check signatures.

    Attributes:
        keys: Each with its ``kid``, or None if it has none.
        ignored: Why other members of the document are not among them, for the log.
    """

    keys: Sequence[tuple[str | None, PublicKey]]
    ignored: Sequence[str] = ()

    def find(self, kid: str | None, algorithm: str) -> PublicKey | None:
        """Return the key that a token names; one that names none gets the only one that fits (RFC 7515 section 4.1.4).

        Args:
            kid: The name in the token's header; None when it has none.
            algorithm: Must be known to joserfc.
        """
        fitting = [key for name, key in self.keys if kid in (None, name) and _fits(key, algorithm)]
        return fitting[0] if len(fitting) == 1 or (fitting and kid is not None) else None


def parse_key_set(document: bytes) -> KeySet:
    """Read a JWK Set. A member that cannot be used is ignored (RFC 7517 section 5).

    Raises:
        ValueError: It is none, or has no key that can be used; the text says why.
    """
    if len(document) > MAX_DOCUMENT_OCTETS:
        raise ValueError(f"it has more than {MAX_DOCUMENT_OCTETS} octets")
    content = parse_json(document)
    members = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(members, list) or len(members) > MAX_KEYS:
        raise ValueError(f"it has no list 'keys' of at most {MAX_KEYS} keys: it is not a JWK Set")
    keys, ignored = [], []
    for number, member in enumerate(members, 1):
        try:
            keys.append(_key(member))
        except (JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError) as error:
            ignored.append(f"key {number}: {str(error) or type(error).__name__}")
    if not keys:
        raise ValueError("it has no key that can be used" + "".join(f"; {reason}" for reason in ignored))
    return KeySet(tuple(keys), tuple(ignored))


def _key(member: object) -> tuple[str | None, PublicKey]:
    """Return a key with its name.

    Raises:
        JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError: It cannot be used.
    """
    if not isinstance(member, dict):
        raise TypeError("is not an object")
    if member.get("kty") not in KEY_TYPES:
        raise ValueError(f"its kty is {member.get('kty')!r}, not one of {', '.join(KEY_TYPES)}")
    if member.get("use", "sig") != "sig" or "verify" not in member.get("key_ops", ["verify"]):
        raise ValueError("is not for signatures")
    # No private part is kept, whatever the document holds.
    public = {name: value for name, value in member.items() if name in ("kty", "n", "e", "crv", "x", "y", "alg", "kid")}
    if member["kty"] == "RSA":
        _check_length(member.get("n"))
    key = JWKRegistry.import_key(public)
    if not isinstance(key, RSAKey | ECKey | OKPKey):
        raise TypeError("is not a public key")
    return member.get("kid"), key


def _check_length(modulus: object) -> None:
    """Refuse an RSA key by its length, before anything is computed with it."""
    if not isinstance(modulus, str) or len(modulus) > RSA_BITS.stop // 6 + 2:
        raise ValueError("its modulus is no text, or too long")
    octets = base64.urlsafe_b64decode(modulus + "==")
    if int.from_bytes(octets, "big").bit_length() not in RSA_BITS:
        raise ValueError(f"its modulus does not have {RSA_BITS.start} to {RSA_BITS.stop - 1} bits")


def _fits(key: PublicKey, algorithm: str) -> bool:
    try:
        JWSRegistry.algorithms[algorithm].check_key(key)
    except JoseError:
        return False
    return True
