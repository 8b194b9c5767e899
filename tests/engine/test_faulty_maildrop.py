"""Storage that fails: at every place where it can, no half message looks whole, and the maildrop is closed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import pytest

from popframe import (
    AuthenticationFailed,
    HookContractError,
    LoginDelayed,
    MaildropInUse,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
)
from popframe.engine import Policy
from popframe.testing.engine_server import EngineTransport

Connect = Callable[..., EngineTransport]

HEADER = b"Subject: a\n\n"
WHOLE = (HEADER, b"hi\n")
"""18 octets as sent."""


@dataclass
class ScriptedMaildrop:
    """A maildrop that does what a test wants, and counts.

    Attributes:
        messages: The pieces of each message; an exception among them is raised in its place.
        octets: The sizes that it promises, or what asking for them raises.
        uids: Its unique-ids, or what asking for them raises.
        commit_error: What ``commit`` raises.
        close_error: What ``close`` raises.
        commits: What was committed.
        closed: How often it was closed.
    """

    messages: Sequence[Sequence[bytes | Exception]] = (WHOLE, WHOLE)
    octets: Sequence[int] | Exception = (18, 18)
    uids: Sequence[str] | Exception = ("a", "b")
    commit_error: Exception | None = None
    close_error: Exception | None = None
    commits: list[tuple[AbstractSet[int], AbstractSet[int]]] = field(default_factory=list)
    closed: int = 0

    def message_octets(self) -> Sequence[int]:
        """Return the sizes."""
        if isinstance(self.octets, Exception):
            raise self.octets
        return self.octets

    def message_uids(self) -> Sequence[str]:
        """Return the unique-ids."""
        if isinstance(self.uids, Exception):
            raise self.uids
        return self.uids

    def read_message(self, index: int) -> Iterator[bytes]:
        """Yield the pieces of a message."""
        assert not self.closed, "read after close"
        for piece in self.messages[index]:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def commit(self, deleted: AbstractSet[int], seen: AbstractSet[int]) -> None:
        """Note what is to be removed."""
        assert not self.closed, "commit after close"
        self.commits.append((deleted, seen))
        if self.commit_error is not None:
            raise self.commit_error

    def close(self) -> None:
        """Count."""
        self.closed += 1
        if self.close_error is not None:
            raise self.close_error


REFUSALS = [
    (TemporaryFailure("why"), b"[SYS/TEMP]"),
    (PermanentFailure("why"), b"[SYS/PERM]"),
    (HookContractError("why"), b"[SYS/PERM]"),
    (MaildropInUse("why"), b"[SYS/TEMP]"),
    (LoginDelayed("why"), b"[SYS/TEMP]"),
    (AuthenticationFailed("why"), b"[SYS/TEMP]"),
]
"""What a maildrop may raise after login, and the code that the client then gets."""

DEFECTS: list[Exception] = [OSError(5, "why"), KeyError("why"), MemoryError("why"), StopIteration("why")]
"""What it must not raise, and sometimes will."""


# --- at login


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TemporaryFailure("why"), b"[SYS/TEMP]"),
        (PermanentFailure("why"), b"[SYS/PERM]"),
        (HookContractError("why"), b"[SYS/PERM]"),
        (MaildropInUse("why"), b"[IN-USE]"),
        (OSError(5, "why"), b"[SYS/TEMP]"),
    ],
)
@pytest.mark.parametrize("place", ["octets", "uids"])
def test_a_maildrop_that_cannot_be_listed_refuses_the_login(
    connect: Connect, place: str, error: Exception, code: bytes
) -> None:
    """P-032, C-036, C-037: its lock is released, and the session is where it was (RFC 1939 section 4)."""
    maildrop = ScriptedMaildrop(octets=error) if place == "octets" else ScriptedMaildrop(uids=error)
    client = connect(maildrop=maildrop)

    assert client.log_in("alice", "secret").startswith(b"-ERR " + code)
    assert client.ask("STAT") == b"-ERR command not valid in this state\r\n"
    assert maildrop.closed == 1
    assert client.session.failed_login_count == 1
    client.close()
    assert maildrop.closed == 1


def test_a_maildrop_that_contradicts_itself_refuses_the_login(connect: Connect) -> None:
    """C-037: a size without a unique-id is the plugin's fault, for the log; a close that fails too changes nothing."""
    maildrop = ScriptedMaildrop(uids=("a",), close_error=OSError("why"))
    client = connect(maildrop=maildrop)

    assert client.log_in("alice", "secret").startswith(b"-ERR [SYS/PERM]")
    assert [doing for doing, _ in client.server.errors] == ["closing the maildrop", "PASS"]
    assert maildrop.closed == 1


# --- while reading


@pytest.mark.parametrize(("error", "code"), REFUSALS)
@pytest.mark.parametrize("command", ["RETR 1", "TOP 1 0", "TOP 1 9"])
@pytest.mark.parametrize("first", [(), (b"",), (b"\r",), (b"Subject: a\n",), (b"Subject: a\n", b"X: ")])
def test_a_message_that_cannot_be_read_is_refused_before_ok(
    log_in: Connect, command: str, first: tuple[bytes, ...], error: Exception, code: bytes
) -> None:
    """C-034, C-036, C-037: before anything was said the truth can be told, and the session goes on (RFC 3206 s. 4)."""
    maildrop = ScriptedMaildrop(messages=((*first, error), WHOLE))
    client = log_in(maildrop=maildrop)
    said = client.ask(command, "RETR 2")

    assert said.startswith(b"-ERR " + code)
    assert said.endswith(b"\r\n+OK 18 octets\r\nSubject: a\r\n\r\nhi\r\n.\r\n")
    client.ask("QUIT")
    assert maildrop.commits == [(set(), {1})]


@pytest.mark.parametrize("error", DEFECTS)
@pytest.mark.parametrize("command", ["RETR 1", "TOP 1 0"])
def test_an_unforeseen_failure_to_read_ends_the_session(log_in: Connect, command: str, error: Exception) -> None:
    """C-036: it is refused before +OK, closed, and nothing is removed."""
    maildrop = ScriptedMaildrop(messages=((error,), WHOLE))
    client = log_in(maildrop=maildrop)
    said = client.ask("DELE 2", command, "QUIT")

    assert said.startswith(b"+OK message 2 deleted\r\n-ERR [SYS/TEMP] ")
    assert said.count(b"\r\n") == 2
    assert (maildrop.commits, maildrop.closed) == ([], 1)
    assert client.session.outcome is Outcome.STORAGE_FAILED


@pytest.mark.parametrize("error", [*(error for error, _ in REFUSALS), *DEFECTS])
@pytest.mark.parametrize(
    ("command", "pieces", "sent"),
    [
        ("RETR 1", (HEADER,), b"Subject: a\r\n\r\n"),
        ("RETR 1", (HEADER, b"h"), b"Subject: a\r\n\r\nh"),
        ("RETR 1", (HEADER, b"hi\n"), b"Subject: a\r\n\r\nhi\r\n"),
        ("TOP 1 5", (HEADER,), b"Subject: a\r\n\r\n"),
    ],
)
def test_a_message_that_breaks_off_ends_the_connection_without_a_dot(
    log_in: Connect, command: str, pieces: tuple[bytes, ...], sent: bytes, error: Exception
) -> None:
    """P-030: a client that deletes what it has got must not take half of it for all (RFC 1939 section 3)."""
    maildrop = ScriptedMaildrop(messages=((*pieces, error), WHOLE))
    client = log_in(maildrop=maildrop)
    said = client.ask("DELE 2", command, "DELE 1", "QUIT")

    assert said.partition(b"\r\n")[2].partition(b"\r\n")[2] == sent
    assert (maildrop.commits, maildrop.closed) == ([], 1)
    assert client.session.outcome is Outcome.STORAGE_FAILED
    assert [doing for doing, _ in client.server.errors] == ["sending a reply"]


def test_top_does_not_read_what_it_does_not_need(log_in: Connect) -> None:
    """P-084: a message that cannot be read to its end has a header all the same."""
    client = log_in(maildrop=ScriptedMaildrop(messages=((HEADER, b"1\n2\n", TemporaryFailure("why")), WHOLE)))

    assert client.ask("TOP 1 0").endswith(b"\r\nSubject: a\r\n\r\n.\r\n")
    assert client.ask("TOP 1 1").endswith(b"\r\nSubject: a\r\n\r\n1\r\n.\r\n")
    assert not client.session.is_closed


@pytest.mark.parametrize(
    ("pieces", "is_refused"),
    [
        ((HEADER + b"hi\n" + b"more\n",), True),
        ((HEADER, b"hi\n", b"more\n"), False),
        ((), True),
        ((b"",), True),
        ((HEADER,), False),
        ((HEADER, b"hi"), False),
        ((HEADER, b"hi\n", b"."), False),
    ],
)
def test_a_maildrop_that_lies_about_a_size_never_ends_the_reply(
    log_in: Connect, pieces: tuple[bytes, ...], *, is_refused: bool
) -> None:
    """P-047, P-063: +OK 18 octets is followed by 18 octets and a dot, or by no dot (RFC 1939 section 11)."""
    maildrop = ScriptedMaildrop(messages=(pieces, WHOLE), octets=(18 if pieces != (HEADER, b"hi") else 20, 18))
    client = log_in(maildrop=maildrop)
    said = client.ask("RETR 1")

    assert not said.endswith(b"\r\n.\r\n")
    assert said.startswith(b"-ERR [SYS/TEMP]" if is_refused else b"+OK ")
    assert client.session.is_closed is not is_refused
    assert [type(error) for _, error in client.server.errors] == [TemporaryFailure]
    client.close()
    assert maildrop.closed == 1


@pytest.mark.parametrize("size", [-1, 0, 17, 19, 2**64])
def test_only_the_exact_size_is_the_right_one(log_in: Connect, size: int) -> None:
    """P-047: one octet more or less is a lie as any."""
    said = log_in(maildrop=ScriptedMaildrop(octets=(size, 18))).ask("RETR 1")

    assert not said.endswith(b".\r\n")


@pytest.mark.parametrize("uid", ["", "a b", "x" * 71])
def test_an_illegal_unique_id_is_never_sent(log_in: Connect, uid: str) -> None:
    """P-091, P-092, C-037: the listing is refused, the other messages can be asked for one by one."""
    client = log_in(maildrop=ScriptedMaildrop(uids=("a", uid)))
    said = client.ask("UIDL", "UIDL 2", "UIDL 1")

    assert said.count(b"-ERR [SYS/PERM]") == 2
    assert said.endswith(b"+OK 1 a\r\n")


def test_an_illegal_unique_id_far_down_ends_the_connection(log_in: Connect) -> None:
    """P-092: when the listing has begun, only its missing end can tell."""
    count = 5000
    uids = [str(index) for index in range(count)]
    uids[-1] = "not legal"
    client = log_in(maildrop=ScriptedMaildrop(messages=[WHOLE] * count, octets=[18] * count, uids=uids))
    said = client.ask("UIDL")

    assert said.startswith(b"+OK ")
    assert b"not legal" not in said
    assert not said.endswith(b".\r\n")
    assert client.session.outcome is Outcome.STORAGE_FAILED


# --- at QUIT


@pytest.mark.parametrize(("error", "code"), [*REFUSALS, *((defect, b"[SYS/TEMP]") for defect in DEFECTS)])
def test_an_update_that_fails_is_told_and_the_maildrop_closed(log_in: Connect, error: Exception, code: bytes) -> None:
    """P-073, P-074, C-034: never +OK, the lock released, the connection closed (RFC 1939 section 6)."""
    maildrop = ScriptedMaildrop(commit_error=error)
    client = log_in(maildrop=maildrop)
    said = client.ask("RETR 1", "DELE 2", "QUIT", "NOOP")

    assert said.endswith(b"\r\n-ERR " + code + b" some deleted messages not removed\r\n")
    assert maildrop.commits == [({1}, {0})]
    assert maildrop.closed == 1
    assert client.session.outcome is Outcome.UPDATE_FAILED
    assert client.server.errors == [("removing messages", error)]


def test_quit_commits_also_when_nothing_is_marked(log_in: Connect) -> None:
    """The storage is told what was seen; what it does with that is its own affair."""
    maildrop = ScriptedMaildrop()
    log_in(maildrop=maildrop).ask("RETR 2", "TOP 1 9", "QUIT")

    assert maildrop.commits == [(set(), {1})]
    assert maildrop.closed == 1


def test_a_close_that_fails_after_the_update_does_not_make_it_fail(log_in: Connect) -> None:
    """P-073: what is removed is removed; the operator is told the rest."""
    error = OSError("why")
    maildrop = ScriptedMaildrop(close_error=error)
    client = log_in(maildrop=maildrop)

    assert client.ask("DELE 1", "QUIT").endswith(b"\r\n+OK bye, 1 messages left\r\n")
    assert client.session.outcome is Outcome.QUIT
    assert client.server.errors == [("closing the maildrop", error)]
    assert maildrop.closed == 1


# --- however it ends


@pytest.mark.parametrize("close_error", [None, OSError("why")])
@pytest.mark.parametrize(
    ("commands", "outcome"),
    [
        (["QUIT"], Outcome.QUIT),
        (["DELE 1", "QUIT", "QUIT"], Outcome.QUIT),
        (["DELE 1"], Outcome.TIMED_OUT),
        (["FROB"] * 20, Outcome.TOO_MANY_ERRORS),
        (["GET / HTTP/1.1"], Outcome.TOO_MANY_ERRORS),
        (["x" * 70_000, "NOOP"], Outcome.TOO_MANY_ERRORS),
        (["RETR 2"], Outcome.STORAGE_FAILED),
    ],
)
def test_a_maildrop_is_closed_exactly_once(
    log_in: Connect, commands: list[str], outcome: Outcome, close_error: Exception | None
) -> None:
    """However a session ends, and whatever comes after its end, ``close`` is called once."""
    maildrop = ScriptedMaildrop(messages=(WHOLE, (HEADER, OSError("why"))), close_error=close_error)
    client = log_in(maildrop=maildrop)
    client.ask(*commands)
    client.session.abort(Outcome.TIMED_OUT)
    client.session.abort(Outcome.SHUT_DOWN)
    client.ask("QUIT", "NOOP")

    assert maildrop.closed == 1
    assert client.session.outcome is outcome


def test_a_client_that_goes_in_the_middle_of_a_message_leaves_a_closed_maildrop(log_in: Connect) -> None:
    """P-030: the reply is given up where it is, nothing is read after the end, nothing removed."""
    maildrop = ScriptedMaildrop(messages=([b"x" * 70_000 + b"\n"] * 9, WHOLE), octets=(9 * 70_002, 18))
    client = log_in(maildrop=maildrop)
    client.session.receive_data(b"DELE 2\r\nRETR 1\r\nQUIT\r\n")
    output = client.session.output()
    for _ in range(3):
        next(output)
    client.session.abort(Outcome.DISCONNECTED)
    del output

    assert (maildrop.closed, maildrop.commits) == (1, [])
    assert client.session.summary("s", 0.0).retr_count == 0
    assert client.session.outcome is Outcome.DISCONNECTED


# --- when the connection ends without QUIT


@pytest.mark.parametrize("outcome", [Outcome.DISCONNECTED, Outcome.TIMED_OUT])
def test_marks_count_without_quit_only_if_the_site_wants_it(connect: Connect, outcome: Outcome) -> None:
    """P-030: the default is RFC 1939 section 6; the other is popper 2.1."""
    for wants_it in (False, True):
        maildrop = ScriptedMaildrop()
        client = connect(maildrop=maildrop, policy=Policy(update_on_abort=wants_it))
        client.log_in("alice", "secret")
        client.ask("RETR 1", "DELE 2")
        client.session.abort(outcome)
        summary = client.session.summary("id", 1.0)

        assert maildrop.commits == ([({1}, {0})] if wants_it else [])
        assert maildrop.closed == 1
        assert (summary.outcome, summary.deleted_count, summary.left_count) == (outcome, wants_it, 2 - wants_it)


@pytest.mark.parametrize("outcome", [Outcome.SHUT_DOWN, Outcome.STORAGE_FAILED, Outcome.TOO_MANY_ERRORS])
def test_an_end_that_is_not_the_clients_removes_nothing(connect: Connect, outcome: Outcome) -> None:
    """A server that stops, or cannot read on, has been told nothing."""
    maildrop = ScriptedMaildrop()
    client = connect(maildrop=maildrop, policy=Policy(update_on_abort=True))
    client.log_in("alice", "secret")
    client.ask("DELE 1")
    client.session.abort(outcome)

    assert maildrop.commits == []


def test_a_removal_without_quit_that_fails_is_told_to_the_log(connect: Connect) -> None:
    """There is nobody else to tell."""
    maildrop = ScriptedMaildrop(commit_error=TemporaryFailure("why"))
    client = connect(maildrop=maildrop, policy=Policy(update_on_abort=True))
    client.log_in("alice", "secret")
    client.ask("DELE 1")
    client.close()
    summary = client.session.summary("id", 1.0)

    assert [doing for doing, _ in client.server.errors] == ["removing messages"]
    assert (maildrop.closed, summary.deleted_count, summary.left_count) == (1, 0, 2)


def test_a_session_before_login_has_nothing_to_remove(connect: Connect) -> None:
    """Its end is like any other."""
    client = connect(policy=Policy(update_on_abort=True))
    client.ask("USER alice")
    client.close()

    assert client.session.outcome is Outcome.DISCONNECTED
