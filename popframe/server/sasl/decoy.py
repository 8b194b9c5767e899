"""Octets for users who do not exist, the same whenever they are asked for, so that they look like stored ones."""

from __future__ import annotations

import contextlib
import secrets
from functools import cache
from hashlib import blake2b
from pathlib import Path

MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
"""A random number that never leaves the machine and never changes (machine-id(5)), so that neither a restart nor the
next process of inetd gives other octets. Nobody from outside knows it; users of the machine know who exists anyway."""


def decoy_octets(label: str, count: int) -> bytes:
    """Return octets for a label.

    Args:
        label: What they are for.
        count: How many, 1 to 64.
    """
    return blake2b(label.encode("utf-8", "surrogateescape"), key=_key(), digest_size=count).digest()


@cache
def _key() -> bytes:
    """Return a key made of the machine's number; where there is none, a random one, for all processes forked later."""
    for path in MACHINE_ID_FILES:
        with contextlib.suppress(OSError):
            if number := path.read_bytes().strip():
                return blake2b(number, person=b"popframe decoy").digest()
    return secrets.token_bytes(blake2b.MAX_KEY_SIZE)
