"""Which passwords were found right, so that the next login need not compute a hash that is meant to be slow.

Rule of this file: only what was proven is kept, and only as a keyed hash. The key is made at start and never leaves the
process; the stored hash is part of what is hashed, so a password that was changed proves nothing any more.
"""

from __future__ import annotations

import secrets
import threading
from hashlib import blake2b

from popframe.password import verify_password

MAX_PROVEN = 10_000
"""Passwords kept, about 200 octets each: more users than log in to one server within minutes."""


class ProvenPasswords:
    """A memory of right passwords, bounded; it forgets the oldest first."""

    def __init__(self, limit: int = MAX_PROVEN) -> None:
        """Start with none, and a fresh key.

        Args:
            limit: How many to keep.
        """
        self._limit = limit
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._proofs: dict[bytes, None] = {}

    def __len__(self) -> int:
        """Return how many passwords are kept."""
        return len(self._proofs)

    def verify(self, password: bytes, stored: str) -> bool:
        """Tell whether a password belongs to a stored hash; a right one is found out slowly only once.

        No lock is held while a hash is computed.
        """
        # Neither a stored hash nor a password that can be right holds a NUL: no other pair gives the same octets.
        proof = blake2b(stored.encode() + b"\0" + password, key=self._key, digest_size=32).digest()
        if proof in self._proofs:
            return True
        if not verify_password(password, stored):
            return False
        with self._lock:
            while len(self._proofs) >= self._limit:
                del self._proofs[next(iter(self._proofs))]
            self._proofs[proof] = None
        return True
