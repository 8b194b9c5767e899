"""Unique-ids: made from a message alone, so that they need no memory and no two programs can disagree on them.

Rule of this file: what other programs write into a message after its delivery has no part in its unique-id, and what
a sender wrote never becomes one.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Protocol

MAX_HASHED_OCTETS = 128 * 1024
"""How much of a header has a part in the unique-id; real headers have a hundredth of it."""

_FIELD = rb"\n(?:Status|X-Status|X-UIDL|X-UID|X-IMAP|X-IMAPbase|X-Keywords|Content-Length|Lines)[ \t]*:"
_VOLATILE = re.compile(_FIELD, re.IGNORECASE)
_VOLATILE_WHOLE = re.compile(_FIELD + rb"[^\n]*(?:\n[ \t][^\n]*)*", re.IGNORECASE)


def has_volatile_fields(head: bytes) -> bool:
    """Tell whether a head has fields that mail programs write into stored messages."""
    return _VOLATILE.search(head) is not None


def without_volatile_fields(head: bytes) -> bytes:
    """Return the head without these fields and the lines that continue them."""
    return _VOLATILE_WHOLE.sub(b"", head)


def head_digest(stable_head: bytes) -> str:
    """Return the digest of a message, 32 hexadecimal digits.

    Args:
        stable_head: The From_ line and the header without volatile fields; the line end of its last line, which other
            programs may add, does not count.
    """
    return blake2b(stable_head[:MAX_HASHED_OCTETS].rstrip(b"\r\n"), digest_size=16).hexdigest()


class Series(Protocol):
    """Gives the messages of one maildrop their unique-ids, in the order of the file."""

    def uid_for(self, digest: str) -> str:
        """Return the unique-id of the next message."""
        ...


class UidSeries:
    """Gives the messages of one maildrop their unique-ids, in the order of the file."""

    def __init__(self) -> None:
        self._copies: dict[str, int] = {}

    def uid_for(self, digest: str) -> str:
        """Return the digest, with ``-2``, ``-3`` … for a message whose head was there before."""
        copy = self._copies.get(digest, 0) + 1
        self._copies[digest] = copy
        return digest if copy == 1 else f"{digest}-{copy}"


def digest_of(uid: str) -> str:
    """Return the digest that a unique-id was made from."""
    return uid.partition("-")[0]
