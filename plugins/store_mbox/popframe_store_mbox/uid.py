"""Unique-ids: made from a message alone, so that they need no memory and no two programs can disagree on them.

Rule of this file: what other programs write into a message after its delivery has no part in its unique-id, and what
a sender wrote never becomes one, unless the site wants the fields of another server to count.
"""

from __future__ import annotations

import re
import sys
from array import array
from binascii import hexlify
from collections.abc import Callable
from hashlib import blake2b
from itertools import islice, pairwise

MAX_HASHED_OCTETS = 128 * 1024
"""How much of a header has a part in the unique-id; real headers have a hundredth of it."""

DIGEST_OCTETS = 16
"""128 bits: that two different heads have one digest is not to be expected before the end of the world."""

SORTED_AT_ONCE = 250_000
"""Digests; they take some 10 MB meanwhile."""

MAX_UID_LENGTH = 70
"""RFC 1939 section 7, UIDL."""

_STORED_UID = re.compile(
    rb"\nX-UIDL[ \t]*:[ \t]*([!-~]{1,%d})[ \t]*\r?(?=\n(?![ \t])|\Z)" % MAX_UID_LENGTH, re.IGNORECASE
)
_FIELD = rb"\n(?:Status|X-Status|X-UIDL|X-UID|X-IMAP|X-IMAPbase|X-Keywords|Content-Length|Lines)[ \t]*:"
_VOLATILE = re.compile(_FIELD, re.IGNORECASE)
_VOLATILE_WHOLE = re.compile(_FIELD + rb"[^\n]*(?:\n[ \t][^\n]*)*", re.IGNORECASE)


def has_volatile_fields(head: bytes) -> bool:
    """Tell whether a head has fields that mail programs write into stored messages."""
    return _VOLATILE.search(head) is not None


def without_volatile_fields(head: bytes) -> bytes:
    """Return the head without these fields and the lines that continue them."""
    return _VOLATILE_WHOLE.sub(b"", head)


def head_digest(stable_head: bytes) -> bytes:
    """Return the digest of a message, :data:`DIGEST_OCTETS` long.

    Args:
        stable_head: The From_ line and the header without volatile fields; the line end of its last line, which other
            programs may add, does not count.
    """
    return blake2b(stable_head[:MAX_HASHED_OCTETS].rstrip(b"\r\n"), digest_size=DIGEST_OCTETS).digest()


def uid_of(digest: bytes, copy: int) -> bytes:
    """Return the unique-id of a message: its digest, with ``-2``, ``-3`` … for one whose head was there before."""
    return hexlify(digest) if copy == 1 else b"%b-%d" % (hexlify(digest), copy)


def stored_uid(head: bytes) -> str:
    """Return the unique-id that another server has written into a message; empty when there is none that can be one.

    Args:
        head: The From_ line and the header.
    """
    found = _STORED_UID.search(head)
    return found[1].decode("ascii") if found else ""


def further_copies(digests: bytes | bytearray, copies_before: Callable[[bytes], int] | None = None) -> dict[int, int]:
    """Number the messages whose head was there before.

    Args:
        digests: Those of all messages, one behind the other.
        copies_before: Tells how many messages with a digest come before these; None when there are none.

    Returns:
        By index, the place of each such message among those with its digest, from 2.
    """
    count = len(digests) // DIGEST_OCTETS
    repeated = None if copies_before else _repeated(digests)
    if repeated is not None and not repeated:
        return {}
    seen: dict[bytes, int] = {}
    copies = {}
    for message in range(count):
        digest = bytes(digests[message * DIGEST_OCTETS : (message + 1) * DIGEST_OCTETS])
        if repeated is not None and _first_half(digest) not in repeated:
            continue
        before = seen.get(digest)
        if before is None:
            before = copies_before(digest) if copies_before else 0
        seen[digest] = before + 1
        if before:
            copies[message] = before + 1
    return copies


def _repeated(digests: bytes | bytearray) -> set[int]:
    """Return the first halves that more than one digest has; a part of all is sorted at a time, to bound the memory."""
    halves = array("Q")
    halves.frombytes(digests)
    count = len(halves) // 2
    parts = count // SORTED_AT_ONCE + 1
    repeated: set[int] = set()
    for part in range(parts):
        values = sorted(half for half in islice(halves, 0, None, 2) if half % parts == part)
        repeated.update(value for value, following in pairwise(values) if value == following)
    return repeated


def _first_half(digest: bytes) -> int:
    return int.from_bytes(digest[: DIGEST_OCTETS // 2], sys.byteorder)
