"""A prepared maildrop saves the engine work and changes nothing on the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from popframe import Account, HookContractError, Outcome, PlainCredentials, TemporaryFailure
from popframe.engine import BackendExchange, CommandTable, Login, Policy, Session
from popframe.model import Maildrop, Peer
from popframe.testing import MemoryMaildrop
from popframe.testing.engine_server import EngineTransport

Connect = Callable[..., EngineTransport]

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

    def log_in(self, peer: Peer, credentials: PlainCredentials) -> Login:
        """Let anybody in."""
        return Login(Account(credentials.username), self.maildrop)

    def begin_exchange(self, peer: Peer, mechanism: str) -> BackendExchange:
        """Fail the test."""
        raise AssertionError(mechanism)

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


class Sparing(Prepared):
    """A prepared maildrop whose columns are wrong, so that it shows who looks at them."""

    def total_octets(self) -> int:
        """Return what is no sum of the sizes."""
        return 1_000_000

    def scan_listing(self) -> Iterator[bytes]:
        """Yield what is not in the sizes."""
        return iter([b"1 77\r\n2 7", b"8\r", b"\n"])

    def uid_listing(self) -> Iterator[bytes]:
        """Yield what is not in the unique-ids."""
        return iter([b"1 ready", b"\r\n2 too\r\n"])

    def has_dot_lines(self, index: int) -> bool:
        """Say no, although there are some."""
        return False


def test_what_is_ready_is_not_worked_out_again(log_in: Connect) -> None:
    """Neither sums nor listings nor the search for dots cost anything when the maildrop has them."""
    client = log_in(maildrop=Sparing(MemoryMaildrop({"a": b"\n.\n", "b": b"\n..\n"})))

    assert client.ask("STAT") == b"+OK 2 1000000\r\n"
    assert client.ask("LIST") == b"+OK 2 messages (1000000 octets)\r\n1 77\r\n2 78\r\n.\r\n"
    assert client.ask("UIDL") == b"+OK unique-id listing follows\r\n1 ready\r\n2 too\r\n.\r\n"
    assert client.ask("RETR 2") == b"+OK 6 octets\r\n\r\n..\r\n.\r\n"
    assert client.ask("TOP 2 9") == b"+OK top of message follows\r\n\r\n..\r\n.\r\n"


@pytest.mark.parametrize("missing", ["total_octets", "scan_listing", "uid_listing", "has_dot_lines"])
def test_a_maildrop_that_has_only_some_things_ready_is_not_prepared(log_in: Connect, missing: str) -> None:
    """All or nothing, so that no two of its answers can contradict each other."""
    kind = type("Half", (Sparing,), {missing: None})
    client = log_in(maildrop=kind(MemoryMaildrop({"a": b"\n.\n"})))

    assert client.ask("STAT", "LIST", "UIDL", "RETR 1") == (
        b"+OK 1 5\r\n+OK 1 messages (5 octets)\r\n1 5\r\n.\r\n"
        b"+OK unique-id listing follows\r\n1 a\r\n.\r\n+OK 5 octets\r\n\r\n..\r\n.\r\n"
    )


class Failing(Prepared):
    """A prepared maildrop that fails after so many pieces of a listing, or at once."""

    error: Exception
    pieces: tuple[bytes, ...] = ()

    def scan_listing(self) -> Iterator[bytes]:
        """Yield some lines, then fail."""
        yield from self.pieces
        raise self.error

    uid_listing = scan_listing

    def has_dot_lines(self, index: int) -> bool:
        """Fail."""
        raise self.error


@pytest.mark.parametrize("command", ["LIST", "UIDL", "RETR 1", "TOP 1 0"])
@pytest.mark.parametrize(
    ("error", "code", "is_closed"),
    [
        (TemporaryFailure("why"), b"[SYS/TEMP]", False),
        (HookContractError("why"), b"[SYS/PERM]", False),
        (OSError("why"), b"[SYS/TEMP]", True),
    ],
)
def test_what_should_be_ready_and_is_not_is_refused(
    log_in: Connect, command: str, error: Exception, code: bytes, *, is_closed: bool
) -> None:
    """C-036, C-037: before +OK the truth can be told (RFC 3206 section 4)."""
    failing = Failing(maildrop())
    failing.error = error
    client = log_in(maildrop=failing)

    assert client.ask(command).startswith(b"-ERR " + code)
    assert client.session.is_closed is is_closed


@pytest.mark.parametrize("mark", [[], ["DELE 1"]])
def test_a_ready_listing_that_breaks_off_never_looks_whole(log_in: Connect, mark: list[str]) -> None:
    """Half a listing ends without a dot, and the session with it (RFC 1939 section 3)."""
    failing = Failing(maildrop())
    failing.error, failing.pieces = TemporaryFailure("why"), (b"1 18\r\n2 18\r\n", b"3 ")
    client = log_in(maildrop=failing)
    client.ask(*mark)
    said = client.ask("LIST", "NOOP")

    assert b"\r\n2 18\r\n" in said
    assert not said.endswith(b".\r\n")
    assert client.session.outcome is Outcome.STORAGE_FAILED


def test_a_total_that_cannot_be_told_refuses_the_login(connect: Connect) -> None:
    """P-032: the maildrop is closed again, and the session is where it was (RFC 1939 section 4)."""

    class Unsure(Prepared):
        """A prepared maildrop that does not know its total."""

        def total_octets(self) -> int:
            """Fail."""
            raise TemporaryFailure("why")

    closed: list[bool] = []
    inner = MemoryMaildrop({"a": b"x\n"}, lambda: closed.append(True))
    client = connect(maildrop=Unsure(inner))

    assert client.log_in("alice", "secret").startswith(b"-ERR [SYS/TEMP]")
    assert client.ask("STAT").startswith(b"-ERR")
    assert closed == [True]
