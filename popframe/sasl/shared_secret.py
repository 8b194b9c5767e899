"""Proofs by a keyed hash of a password that the server can read: the common part of APOP and CRAM-MD5."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from popframe.errors import AuthenticationFailed
from popframe.extension import MechanismContext
from popframe.proof import Proven

PLAIN = "plain"
"""The scheme of the stored secret."""

DECOY_OCTETS = 16
"""Of the secret of a user who does not exist."""


def proven(
    context: MechanismContext, mechanism: str, username: str, digest: bytes, digest_for: Callable[[bytes], str]
) -> Proven:
    """Compare a client's digest with the one that it should be.

    Args:
        context: Where the secret is asked for.
        mechanism: Its name, for the log.
        username: Whose digest it is to be.
        digest: What the client sent: 32 hexadecimal digits in lower case.
        digest_for: Computes the right digest from a secret.

    Raises:
        AuthenticationFailed: There is no such user, or the digest is another one.
        Refusal: The secret cannot be looked up.
    """
    secret = context.lookup_secret(username, PLAIN)
    value = context.decoy_octets(f"secret of {username}", DECOY_OCTETS) if secret is None else secret.value
    is_right = hmac.compare_digest(digest_for(value).encode("ascii"), digest)
    if secret is None:
        raise AuthenticationFailed(f"{mechanism}: unknown user, or one without a readable password")
    if not is_right:
        raise AuthenticationFailed(f"{mechanism}: wrong digest")
    return Proven(username, secret.account)
