"""Which passwords were found right, so that the next login need not compute a hash that is meant to be slow.

Rule of this file: only what was proven is kept, and only as a keyed hash. The key is made at start and never leaves the
process and its children; the stored hash is part of what is hashed, so a password that was changed proves nothing any
more. What a child has proven reaches its parent as such keyed hashes, if both wish it.
"""

from __future__ import annotations

import secrets
import struct
import threading
from collections.abc import Callable
from hashlib import blake2b
from itertools import count
from typing import ClassVar
from weakref import WeakValueDictionary

from popframe.password import verify_password

MAX_PROVEN = 10_000
"""Passwords kept, about 200 octets each: more users than log in to one server within minutes."""


PROOF_OCTETS = 32
"""Of a keyed hash: nobody finds another pair of password and stored hash that has it."""

_RECORD = struct.Struct(f"<Q{PROOF_OCTETS}s")


class ProvenPasswords:
    """A memory of right passwords, bounded; it forgets the oldest first."""

    _numbers: ClassVar[count[int]] = count()
    _by_number: ClassVar[WeakValueDictionary[int, ProvenPasswords]] = WeakValueDictionary()
    _records: ClassVar[list[bytes] | None] = None

    def __init__(self, limit: int = MAX_PROVEN) -> None:
        """Start with none, and a fresh key.

        Args:
            limit: How many to keep.
        """
        self._limit = limit
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._proofs: dict[bytes, None] = {}
        self._number = next(self._numbers)
        self._by_number[self._number] = self

    def __len__(self) -> int:
        """Return how many passwords are kept."""
        return len(self._proofs)

    def verify(self, password: bytes, stored: str, verify: Callable[[bytes, str], bool] | None = None) -> bool:
        """Tell whether a password belongs to a stored hash; a right one is found out slowly only once.

        No lock is held while a hash is computed.

        Args:
            password: What the client sent.
            stored: What is stored of the right one: text without NUL.
            verify: Finds out slowly whether they belong together; :func:`popframe.verify_password` unless given.
        """
        # Neither a stored hash nor a password that can be right holds a NUL: no other pair gives the same octets.
        proof = blake2b(stored.encode() + b"\0" + password, key=self._key, digest_size=PROOF_OCTETS).digest()
        if proof in self._proofs:
            return True
        if not (verify or verify_password)(password, stored):
            return False
        self._keep(proof)
        if self._records is not None:
            self._records.append(_RECORD.pack(self._number, proof))
        return True

    def _keep(self, proof: bytes) -> None:
        with self._lock:
            while len(self._proofs) >= self._limit:
                del self._proofs[next(iter(self._proofs))]
            self._proofs[proof] = None

    # --- between a child process and its parent

    @classmethod
    def record(cls) -> None:
        """Take down, from now on, what is proven in this process; for a child that its parent is to learn from."""
        cls._records = []

    @classmethod
    def recorded(cls) -> bytes:
        """Return what was proven since :meth:`record`, for :meth:`learn` in the parent; empty for nothing."""
        return b"".join(cls._records or ())

    @classmethod
    def learn(cls, records: bytes) -> None:
        """Keep what a child has proven; what is of an object that is gone is of no use, and left out."""
        whole = len(records) - len(records) % _RECORD.size
        for number, proof in _RECORD.iter_unpack(records[:whole]):
            memory = cls._by_number.get(number)
            if memory is not None:
                memory._keep(proof)  # another object of this class
