"""Whether a bearer token is good: a signed JSON Web Token (RFC 7519), checked as RFC 8725 and RFC 9068 section 4 say.

Rule of this file: which keys and which algorithms count is said by the configuration alone; a token only chooses among
them. What was refused is told to the log without anything that the token held.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import BadSignatureError, ClaimError, ExpiredTokenError, JoseError
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from popframe_auth_oauth.bounded_json import parse_json
from popframe_auth_oauth.key_set import PublicKey
from popframe_auth_oauth.key_source import KeySource
from popframe_auth_oauth.settings import AuthOauthSettings

MAX_TOKEN_OCTETS = 16_384
"""Tokens with many groups have some 6 KB; as much as a proxy lets through as one header of HTTP is never needed."""

MAX_HEADER_OCTETS = 2048
"""Of the header in base64; the largest that were seen name a certificate by two digests, some 400."""


class TokenRefused(Exception):
    """The token does not let anybody in; the message is for the log.

    Attributes:
        status: What the client is told: an error code of RFC 6750 section 3.1.
    """

    def __init__(self, reason: str, status: str = "invalid_token") -> None:
        super().__init__(reason)
        self.status = status


class TokenCheck:
    """Says whom a token belongs to."""

    def __init__(self, settings: AuthOauthSettings, keys: KeySource) -> None:
        self._settings = settings
        self._keys = keys
        self._algorithms = frozenset(settings.algorithms)
        # Header members that it does not know are ignored (RFC 7515 section 4), critical ones are not.
        self._registry = JWSRegistry(algorithms=list(settings.algorithms), strict_check_header=False)
        self._registry.max_header_length = MAX_HEADER_OCTETS
        self._claims = JWTClaimsRegistry(
            leeway=settings.leeway_seconds,
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "values": list(settings.audiences)},
            exp={"essential": True},
        )

    def username(self, token: bytes) -> str:
        """Return the name of the user whom a token belongs to.

        Raises:
            TokenRefused: It is not good, or not for this server, or not any more.
            TemporaryFailure: There are no keys to check it with.
        """
        key = self._key_for(_header(token))
        try:
            claims = jwt.decode(token, key, registry=self._registry).claims
            self._claims.validate(claims)
        except ExpiredTokenError as error:
            raise TokenRefused("it has expired") from error
        except ClaimError as error:
            raise TokenRefused(f"its claim {error.claim!r} is missing, or not right") from error
        except BadSignatureError as error:
            raise TokenRefused("its signature is wrong") from error
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise TokenRefused(f"it cannot be read: {type(error).__name__}") from error
        self._check_scopes(claims)
        return self._username_in(claims)

    def _key_for(self, header: Mapping[str, object]) -> PublicKey:
        """Return the issuer's key that the token names; the keys are looked up again when it is not among them."""
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise TokenRefused(f"its algorithm is not one of {', '.join(self._settings.algorithms)}")
        if not (kid is None or isinstance(kid, str)):
            raise TokenRefused("its kid is no text")
        known = self._keys.current()
        key = known.find(kid, algorithm)
        if key is None and (newer := self._keys.newer(known)) is not None:
            key = newer.find(kid, algorithm)
        if key is None:
            raise TokenRefused("it names no key of the issuer, or one for another algorithm")
        return key

    def _check_scopes(self, claims: Mapping[str, Any]) -> None:
        """Refuse a token that is not good for what this server does (RFC 6750 section 3.1, insufficient_scope)."""
        missing = set(self._settings.required_scopes) - _words(claims.get("scope")) - _words(claims.get("scp"))
        if missing:
            raise TokenRefused(f"it lacks the scope {', '.join(sorted(missing))}", "insufficient_scope")

    def _username_in(self, claims: Mapping[str, Any]) -> str:
        for claim in self._settings.username_claims:
            value = claims.get(claim)
            if value is None:
                continue
            if not isinstance(value, str) or not value or not value.isprintable():
                raise TokenRefused(f"its claim {claim!r} is no name")
            if claim == "email" and self._settings.require_verified_email and claims.get("email_verified") is not True:
                raise TokenRefused("its claim 'email' is not said to be verified")
            return value
        raise TokenRefused(f"it has no claim {' or '.join(map(repr, self._settings.username_claims))}")


def _header(token: bytes) -> Mapping[str, object]:
    """Return the header of a token in compact form (RFC 7515 section 7.1), checked for nothing but its form.

    Raises:
        TokenRefused: It is too long, or no such token.
    """
    if len(token) > MAX_TOKEN_OCTETS:
        raise TokenRefused(f"it has more than {MAX_TOKEN_OCTETS} octets")
    parts = token.split(b".")
    if len(parts) != 3:
        raise TokenRefused("it is no signed JSON Web Token")
    try:
        header, _ = (parse_json(_decoded(part)) for part in parts[:2])
    except ValueError as error:
        raise TokenRefused(f"it is no signed JSON Web Token: {error}") from error
    if not isinstance(header, dict):
        raise TokenRefused("it is no signed JSON Web Token: its header is no object")
    if "crit" in header:  # none is known here; b64 (RFC 7797 section 7) is forbidden in tokens
        raise TokenRefused("its header has critical members")
    return header


def _decoded(part: bytes) -> bytes:
    try:
        return base64.b64decode(part + b"=" * (-len(part) % 4), b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("it is not base64") from error


def _words(value: object) -> frozenset[str]:
    """Return the scopes of a claim: words in one text (RFC 8693 section 4.2), or a list."""
    if isinstance(value, str):
        return frozenset(value.split())
    return frozenset(word for word in value if isinstance(word, str)) if isinstance(value, list) else frozenset()
