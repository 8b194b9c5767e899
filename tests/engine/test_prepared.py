"""A prepared maildrop saves the engine work and changes nothing on the wire."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from popframe import Account, PlainCredentials
from popframe.engine import CommandTable, Login, Policy, Session
from popframe.model import Maildrop, Peer
from popframe.testing import MemoryMaildrop

MESSAGES = [b"Subject: %d\n\n%b\n" % (number, b".dots" if number % 3 else b"none") for number in range(50)]


class Prepared:
    """A maildrop around another one that has everything ready, in pieces that end anywhere."""

    def __init__(self, inner: Maildrop) -> None:
        self.inner = inner
        self.message_octets = inner.message_octets
        self.message_uids = inner.message_uids
        self.read_message = inner.read_message
        self.commit = inner.commit
        self.close = inner.close

    def total_octets(self) -> int:
        """Return the sum of the sizes."""
        return sum(self.inner.message_octets())

    def scan_listing(self) -> Iterator[bytes]:
        """Yield LIST in pieces of seven octets."""
        return self._in_pieces(self.inner.message_octets())

    def uid_listing(self) -> Iterator[bytes]:
        """Yield UIDL in pieces of seven octets."""
        return self._in_pieces(self.inner.message_uids())

    def has_dot_lines(self, index: int) -> bool:
        """Tell it from the number."""
        return bool(index % 3)

    @staticmethod
    def _in_pieces(column: object) -> Iterator[bytes]:
        assert isinstance(column, (list, tuple))
        text = "".join(f"{number} {value}\r\n" for number, value in enumerate(column, 1)).encode()
        return (text[at : at + 7] for at in range(0, len(text), 7))


class Backend:
    """Logs anybody in to one maildrop."""

    def __init__(self, maildrop: Maildrop) -> None:
        self.maildrop = maildrop

    def log_in(self, credentials: PlainCredentials) -> Login:
        """Let anybody in."""
        return Login(Account(credentials.username), self.maildrop)

    def report_error(self, doing: str, error: Exception) -> None:
        """Fail the test."""
        raise AssertionError(doing) from error


def transcript(maildrop: Maildrop, commands: bytes) -> bytes:
    """Return what a session answers."""
    policy = Policy()
    session = Session(Peer("192.0.2.1"), Backend(maildrop), policy, CommandTable(policy))
    session.receive_data(b"USER alice\r\nPASS secret\r\n" + commands)
    return b"".join(octets for buffers in session.output() for octets in buffers)


def maildrop() -> Maildrop:
    """Return a maildrop with fifty messages."""
    return MemoryMaildrop({f"uid-{number}": message for number, message in enumerate(MESSAGES)})


@pytest.mark.parametrize("marks", [[], [1], [50], [1, 2, 3], [7, 8, 30, 49], list(range(1, 51))])
def test_every_reply_is_the_same(marks: list[int]) -> None:
    """LIST, UIDL, STAT, RETR and TOP, with and without messages marked as deleted (RFC 1939 section 5)."""
    lines = [b"DELE %d" % number for number in marks]
    lines += [b"STAT", b"LIST", b"UIDL", b"LIST 9", b"UIDL 9", b"RETR 4", b"RETR 5", b"TOP 5 1", b"RSET", b"LIST"]
    commands = b"".join(line + b"\r\n" for line in lines)

    assert transcript(Prepared(maildrop()), commands) == transcript(maildrop(), commands)
