"""A context for exchanges, with secrets that a test gives it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pytest

from popframe import Account, Peer, StoredSecret

ITERATIONS = 4096


class Context:
    """What a mechanism may ask; nothing of it is random.

    Attributes:
        secrets: Values by user name and scheme.
        asked: Names and schemes that were looked up.
        peer: Where the client connects from.
    """

    def __init__(self) -> None:
        self.secrets: dict[tuple[str, str], bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.peer = Peer("192.0.2.7")

    def claim(self, username: str) -> None:
        """Keep no log."""

    def lookup_secret(self, username: str, scheme: str) -> StoredSecret | None:
        """Return what the test has put in."""
        self.asked.append((username, scheme))
        value = self.secrets.get((username, scheme))
        return None if value is None else StoredSecret(Account(username), scheme, value)

    def random_octets(self, count: int) -> bytes:
        """Return octets that count."""
        return bytes(range(count))

    def decoy_octets(self, label: str, count: int) -> bytes:
        """Return octets that depend on the label."""
        return hashlib.blake2b(label.encode(), digest_size=count).digest()

    def typical_iterations(self, scheme: str) -> int:
        """Return what all have."""
        return ITERATIONS

    def put(self, secrets: Mapping[tuple[str, str], bytes]) -> None:
        """Add secrets."""
        self.secrets.update(secrets)


@pytest.fixture
def context() -> Context:
    """Return a context without secrets."""
    return Context()
