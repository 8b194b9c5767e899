"""Names and passwords in UTF-8: what is tried, how often, and what is refused unasked (RFC 6856 section 2.2)."""

from __future__ import annotations

import pytest

from popframe import Account, AuthenticationFailed, PlainCredentials, TemporaryFailure
from popframe.engine import BackendExchange, CommandTable, Login, Policy, Session, Utf8Support
from popframe.model import Peer
from popframe.testing import MemoryMaildrop

DECOMPOSED = "e\u0301t\u00e9".encode()
COMPOSED = "\u00e9t\u00e9".encode()


class Backend:
    """Knows one password, and remembers what was tried."""

    def __init__(self, right: bytes, error: Exception | None = None) -> None:
        self.right = right
        self.tried: list[tuple[str, bytes]] = []
        self.reported: list[str] = []
        self._error = error

    def log_in(self, peer: Peer, credentials: PlainCredentials) -> Login:
        """Compare octets."""
        self.tried.append((credentials.username, credentials.password))
        if self._error:
            raise self._error
        if credentials.password != self.right:
            raise AuthenticationFailed("wrong")
        return Login(Account(credentials.username), MemoryMaildrop({}))

    def begin_exchange(self, peer: Peer, mechanism: str) -> BackendExchange:
        """Fail the test."""
        raise AssertionError(mechanism)

    def report_error(self, doing: str, error: Exception) -> None:
        """Remember what would be logged."""
        self.reported.append(f"{doing}: {type(error).__name__}: {error}")


def log_in(backend: Backend, username: bytes, password: bytes, policy: Policy | None = None) -> tuple[Session, bytes]:
    """Log in; return the session and what it says."""
    policy = policy or Policy()
    session = Session(Peer(""), backend, policy, CommandTable(policy))
    session.receive_data(b"USER %b\r\nPASS %b\r\n" % (username, password))
    return session, b"".join(octets for buffers in session.output() for octets in buffers)


@pytest.mark.parametrize("right", [COMPOSED, DECOMPOSED])
def test_a_password_is_right_as_it_is_prepared_and_as_it_was_sent(right: bytes) -> None:
    """U-016: nobody is locked out whose hash was made before, or elsewhere."""
    session, said = log_in(Backend(right), b"alice", DECOMPOSED)

    assert said.endswith(b"+OK maildrop has 0 messages (0 octets)\r\n")
    assert session.failed_login_count == 0


@pytest.mark.parametrize("sent", [b"secret", COMPOSED, "\u05e9\u05dc\u05d5\u05dd1".encode(), "\u00ad".encode()])
def test_what_stays_as_it_is_is_tried_once(sent: bytes) -> None:
    """U-016: a wrong password costs one attempt; mixed directions alone are no reason to refuse one."""
    backend = Backend(b"other")
    session, said = log_in(backend, b"alice", sent)

    assert said.endswith(b"-ERR [AUTH] user name or password not accepted\r\n")
    assert backend.tried == [("alice", sent)]
    assert session.failed_login_count == 1


def test_two_attempts_are_one_failed_login() -> None:
    """U-016, A-003: the limit on wrong passwords counts what the client has sent."""
    backend = Backend(b"other")
    session, said = log_in(backend, b"alice", DECOMPOSED, Policy(max_failed_logins=2))

    assert said.count(b"-ERR [AUTH]") == 1
    assert backend.tried == [("alice", COMPOSED), ("alice", DECOMPOSED)]
    assert (session.failed_login_count, session.is_closed) == (1, False)


def test_trouble_is_not_tried_again() -> None:
    """U-016, C-036: only a wrong password leads to another attempt."""
    backend = Backend(b"other", TemporaryFailure("why"))
    _, said = log_in(backend, b"alice", DECOMPOSED)

    assert said.endswith(b"-ERR [SYS/TEMP] temporary problem on the server, try again later\r\n")
    assert len(backend.tried) == 1


@pytest.mark.parametrize(
    "password",
    [b"\xc0\xaf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc3", b"caf\xe9", b"a\xee\x80\x80",
     b"a\xef\xbf\xb9", b"a\xc2\x85"],
)  # fmt: skip
def test_no_password_is_ill_formed_or_prohibited(password: bytes) -> None:
    """U-016, U-018, H-009, I-6: nobody is asked, the words are the usual ones, and the log knows why but not what."""
    backend = Backend(password)
    session, said = log_in(backend, b"alice", password)

    assert said.endswith(b"-ERR [AUTH] user name or password not accepted\r\n")
    assert backend.tried == []
    assert session.failed_login_count == 1
    (reported,) = backend.reported
    assert reported.startswith("logging in: AuthenticationFailed: ")


@pytest.mark.parametrize("utf8", [Utf8Support.MESSAGES, Utf8Support.OFF])
@pytest.mark.parametrize("password", [b"caf\xe9", DECOMPOSED, b"a\xee\x80\x80"])
def test_without_user_a_password_is_any_octets(password: bytes, utf8: Utf8Support) -> None:
    """U-019: as RFC 1939 has it."""
    backend = Backend(password)
    _, said = log_in(backend, "a\u0308".encode(), password, Policy(utf8=utf8))

    assert said.endswith(b"+OK maildrop has 0 messages (0 octets)\r\n")
    assert backend.tried == [("a\u0308", password)]


@pytest.mark.parametrize(
    ("sent", "prepared"),
    [("bj\u00f6rn", "bj\u00f6rn"), ("bjo\u0308rn", "bj\u00f6rn"), ("\u00aa", "a"), ("\u05d31", "\u05d31")],
)
def test_a_name_is_prepared(sent: str, prepared: str) -> None:
    """U-015, U-016: once, before anybody sees it."""
    backend = Backend(b"secret")
    _, said = log_in(backend, sent.encode(), b"secret")

    assert said.endswith(b"+OK maildrop has 0 messages (0 octets)\r\n")
    assert backend.tried == [(prepared, b"secret")]
