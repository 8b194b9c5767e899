"""The timestamp in the greeting, on which APOP rests (RFC 1939 section 7)."""

from __future__ import annotations

import secrets
import time

RANDOM_OCTETS = 16
"""Enough that no two are the same, whatever clocks, processes and machines do."""


def timestamp() -> str:
    """Return a new one, in the form of a msg-id (RFC 822): nobody has seen it before, nor can anybody guess it.

    It names no host, which is nobody's business.
    """
    return f"<{secrets.token_hex(RANDOM_OCTETS)}.{time.time_ns()}@popframe>"
