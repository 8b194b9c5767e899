"""Whether a password belongs to what stands in the file: a hash of crypt(3), or keys of SCRAM."""

from __future__ import annotations

from collections.abc import Iterable

from popframe import ScramKeys, typical_hash, verify_password

SCRAM = "SCRAM-"
"""What the text of SCRAM keys begins with (RFC 5803), and no hash of crypt(3)."""


def verify(password: bytes, stored: str) -> bool:
    """Tell whether a password belongs to a hash, or to SCRAM keys; what is neither takes no password."""
    if stored.startswith(SCRAM):
        return ScramKeys.parsed(stored).verify(password)
    return verify_password(password, stored)


def typical(stored: Iterable[str]) -> str:
    """Return what costs as much to verify as what most users have.

    Args:
        stored: What they have; empty for those whose password can be read, which costs nothing.
    """
    all_stored = list(stored)
    scram = [text for text in all_stored if text.startswith(SCRAM)]
    hashes = [text for text in all_stored if text and not text.startswith(SCRAM)]
    return max(scram, key=_cost) if len(scram) > len(hashes) else typical_hash(hashes)


def _cost(text: str) -> tuple[str, int]:
    keys = ScramKeys.parsed(text)
    return keys.scheme, keys.iterations
