"""Memory: what a session holds does not grow with a message, a maildrop, a pipeline, or a client's patience."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager

import pytest

from popframe import Outcome
from popframe.engine import Session
from popframe.engine.policy import BATCH_BUFFERS, BATCH_OCTETS
from popframe.testing.engine_server import EngineTransport

Connect = Callable[..., EngineTransport]

READ_OCTETS = 65_536
"""What a driver reads at once."""

SESSION_OCTETS = 1 << 20
"""How much a session may hold above what it held when it was idle (conformance list, I-4)."""

PIECE = b"0123456789012345678901234567890123456789012345678901234567890\r\n.\n" * 1000
"""65,000 octets as stored, with lines that must be stuffed; 67,000 on the wire."""


class Generated:
    """A maildrop with one message that is made while it is read."""

    def __init__(self, pieces: int, piece: bytes = PIECE) -> None:
        self._pieces = pieces
        self._piece = piece

    def message_octets(self) -> Sequence[int]:
        """Return the size as sent."""
        bare = self._piece.count(b"\n") - self._piece.count(b"\r\n")
        return [self._pieces * (len(self._piece) + bare) + 2 * (not self._piece.endswith(b"\n"))]

    def message_uids(self) -> Sequence[str]:
        """Return one unique-id."""
        return ["generated"]

    def read_message(self, index: int) -> Iterator[bytes]:
        """Yield the same piece again and again."""
        for _ in range(self._pieces):
            yield self._piece

    def commit(self, deleted: AbstractSet[int], seen: AbstractSet[int]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@contextmanager
def peak_below(limit: int) -> Iterator[None]:
    """Fail when more than so many octets were in use at the same time, above what was there before."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak - before < limit


def drive(session: Session, octets: bytes) -> tuple[int, int, int]:
    """Feed octets as a driver does; return the replies' octets, the largest batch, and its most buffers."""
    total = largest = most = 0
    for start in range(0, len(octets), READ_OCTETS):
        session.receive_data(octets[start : start + READ_OCTETS])
        for buffers in session.output():
            size = sum(map(len, buffers))
            total += size
            largest = max(largest, size)
            most = max(most, len(buffers))
    return total, largest, most


def test_a_hundred_thousand_pipelined_commands_need_no_memory(log_in: Connect) -> None:
    """C-023, H-022, Q-027: input and output are bounded by a read and a batch (RFC 2449 section 6.6)."""
    client = log_in([b"Subject: a\n\nhi\n"])
    octets = b"NOOP\r\nSTAT\r\nRETR 1\r\nLIST 1\r\n" * 25_000
    with peak_below(SESSION_OCTETS):
        total, largest, most = drive(client.session, octets)

    assert client.session.command_count == 2 + 100_000
    assert total == 25_000 * len(b"+OK done\r\n+OK 1 18\r\n+OK 18 octets\r\nSubject: a\r\n\r\nhi\r\n.\r\n+OK 1 18\r\n")
    assert largest <= BATCH_OCTETS
    assert most <= BATCH_BUFFERS + 1


@pytest.mark.parametrize("size", [0, 100, 4096, 30_000, 65_000])
def test_replies_are_gathered_up_to_what_one_send_should_take(log_in: Connect, size: int) -> None:
    """Q-037: a batch is as large as it can be and no larger; only the end of a reply may make it three octets more."""
    client = log_in([b"x" * size + b"\n"])
    client.session.receive_data(b"RETR 1\r\n" * 2000)
    batches = [(sum(map(len, buffers)), len(buffers)) for buffers in client.session.output()]
    largest_buffer = size + 2

    assert all(octets <= BATCH_OCTETS + 3 and count <= BATCH_BUFFERS + 1 for octets, count in batches)
    assert all(octets > BATCH_OCTETS - largest_buffer or count >= BATCH_BUFFERS for octets, count in batches[:-1])


def test_a_message_of_two_hundred_megabytes_is_streamed(log_in: Connect) -> None:
    """H-060, I-4: memory does not depend on the size of a message."""
    pieces = 3_100
    client = log_in(maildrop=Generated(pieces))
    with peak_below(SESSION_OCTETS):
        total, largest, _ = drive(client.session, b"RETR 1\r\n")

    assert total > 200_000_000
    assert largest <= BATCH_OCTETS + 2 * len(PIECE)
    assert client.session.summary("s", 0.0).retr_octets == pieces * 66_000


@pytest.mark.parametrize(
    "piece", [b"X-Header: value\n" * 4096, b"x" * 65_536, b"\n" * 65_536, b"\r" * 65_536, b".\n" * 32_768]
)
def test_odd_messages_of_many_megabytes_are_streamed(log_in: Connect, piece: bytes) -> None:
    """H-060, H-069: a header without end, a line without end, nothing but empty lines, CRs or dots; RETR and TOP."""
    client = log_in(maildrop=Generated(160, piece))
    with peak_below(2 * SESSION_OCTETS):  # 64 KiB of dots are 256 KiB on the wire, and live twice for a moment
        for command in (b"RETR 1\r\n", b"TOP 1 0\r\n", b"TOP 1 1\r\n"):
            drive(client.session, command)

    assert not client.session.is_closed


def test_a_client_that_does_not_read_stops_its_own_session(log_in: Connect) -> None:
    """C-023, C-024, H-022: a command runs only when everything before it was taken."""
    message = b"x" * 40_000 + b"\n"
    client = log_in([message])
    session = client.session
    session.receive_data(b"RETR 1\r\n" * 5000 + b"DELE 1\r\nSTAT\r\n")
    output = session.output()
    taken = [b"".join(next(output))]
    assert session.command_count <= 2 + 3

    taken += [b"".join(buffers) for buffers in output]
    assert b"".join(taken).endswith(b".\r\n+OK message 1 deleted\r\n+OK 0 0\r\n")
    assert b"".join(taken).count(b"+OK 40002 octets\r\n") == 5000


def test_commands_that_come_during_a_long_reply_are_answered_behind_it(log_in: Connect) -> None:
    """C-024: new commands may arrive in the middle of a reply (RFC 2449 section 6.6)."""
    client = log_in(maildrop=Generated(100))
    session = client.session
    session.receive_data(b"RETR 1\r\nSTAT\r\nDE")
    said = b""
    for number, buffers in enumerate(session.output()):
        said += b"".join(buffers)
        if number == 20:
            session.receive_data(b"LE 1\r\nNOOP\r\n")
    said += b"".join(octets for buffers in session.output() for octets in buffers)

    assert said.endswith(b"\r\n.\r\n+OK 1 6600000\r\n+OK message 1 deleted\r\n+OK done\r\n")


def test_a_hundred_thousand_unknown_commands_are_cheap(connect: Connect) -> None:
    """H-016: after the limit nothing is looked at any more."""
    client = connect()
    with peak_below(SESSION_OCTETS):
        total, _, _ = drive(client.session, b"FROB\r\n" * 100_000)

    assert total == 20 * len(b"-ERR unknown command\r\n")
    assert client.session.command_count == 20


@pytest.mark.parametrize("is_logged_in", [False, True])
def test_a_line_of_sixteen_megabytes_is_neither_kept_nor_read_to_its_end(
    connect: Connect, *, is_logged_in: bool
) -> None:
    """H-001: one error, then the end; what still comes is not kept."""
    client = connect()
    if is_logged_in:
        client.log_in("alice", "secret")
    read = b"A" * READ_OCTETS
    with peak_below(SESSION_OCTETS // 4):
        for _ in range(256):
            client.send(read)

    assert client.receive(0.0) == b"-ERR line too long\r\n"
    assert client.session.outcome is Outcome.TOO_MANY_ERRORS


def test_a_listing_of_a_hundred_thousand_messages_is_streamed(log_in: Connect) -> None:
    """H-059: a maildrop of any size is listed in pieces."""
    count = 100_000

    class Many(Generated):
        """Many messages that nobody reads."""

        def message_octets(self) -> Sequence[int]:
            return range(1000, 1000 + count)

        def message_uids(self) -> Sequence[str]:
            return ["x"] * count

    client = log_in(maildrop=Many(0))
    with peak_below(SESSION_OCTETS):
        total, largest, _ = drive(client.session, b"LIST\r\nUIDL\r\n")

    assert total > 2_000_000
    assert largest <= 2 * BATCH_OCTETS
