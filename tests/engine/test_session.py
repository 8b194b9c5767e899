"""The session: its states, its end, its limits, and what it tells when it is over."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from popframe import (
    AuthenticationFailed,
    HookContractError,
    MaildropInUse,
    Outcome,
    Peer,
    PlainCredentials,
    State,
    TemporaryFailure,
)
from popframe.engine import BackendExchange, CommandTable, Login, Policy, Session
from popframe.testing import EngineServer, parse_transcript
from popframe.testing.engine_server import PEER, EngineTransport

Connect = Callable[..., EngineTransport]

THREE = [b"Subject: a\n\nhi\n", b"Subject: b\n\nthere\n", b"Subject: c\n\n.\n"]
"""18, 21 and 17 octets as sent."""


class FailingBackend:
    """Accounts of which each attempt to log in fails as the test wants."""

    def __init__(self, *errors: Exception) -> None:
        self.reported: list[str] = []
        self._errors = list(errors)

    def log_in(self, peer: Peer, credentials: PlainCredentials) -> Login:
        """Raise the next error; the last one for ever."""
        raise self._errors.pop(0) if len(self._errors) > 1 else self._errors[0]

    def begin_exchange(self, peer: Peer, mechanism: str) -> BackendExchange:
        """Fail the test."""
        raise AssertionError(mechanism)

    def report_error(self, doing: str, error: Exception) -> None:
        """Keep what an operator would be told."""
        self.reported.append(f"{doing}: {error}")


def session_with(backend: FailingBackend, policy: Policy) -> Session:
    """Return a session before login."""
    return Session(PEER, backend, policy, CommandTable(policy))


def answers(session: Session, *commands: str) -> list[bytes]:
    """Return the lines that answer the commands."""
    session.receive_data("".join(f"{command}\r\n" for command in commands).encode())
    return b"".join(octets for buffers in session.output() for octets in buffers).splitlines(keepends=True)


# --- the states


def test_the_greeting_is_one_positive_line(connect: Connect) -> None:
    """P-001: the server speaks first, without being asked (RFC 1939 section 4)."""
    session = connect(policy=Policy(greeting="mail.example.org ready")).session

    assert session.greeting() == b"+OK mail.example.org ready\r\n"
    assert session.state is State.AUTHORIZATION
    assert list(session.output()) == []


def test_a_login_leads_to_the_transaction_and_quit_to_the_update(connect: Connect) -> None:
    """The three states follow one another (RFC 1939 section 3)."""
    client = connect(THREE)
    states = []
    for command in ("USER alice", "PASS secret", "QUIT"):
        client.ask(command)
        states.append(client.session.state)

    assert states == [State.AUTHORIZATION, State.TRANSACTION, State.UPDATE]
    assert client.session.is_closed


@pytest.mark.parametrize("commands", [["FROB"], ["PASS x"], ["USER bob", "PASS x"], ["STAT"], ["USER alice", "QUIT"]])
def test_without_the_right_password_nobody_gets_further(connect: Connect, commands: list[str]) -> None:
    """A-002, A-009: only a name and its password lead out of the AUTHORIZATION state (RFC 1939 section 4)."""
    client = connect(THREE)
    client.ask(*commands)

    assert client.session.state is State.AUTHORIZATION
    assert client.session.summary("s", 0.0).username == ""


def test_capa_may_be_asked_for_fifty_times_before_login(connect: Connect) -> None:
    """C-007: asking for capabilities costs nothing and counts for nothing (RFC 2449 section 5)."""
    client = connect(THREE)

    assert client.ask(*["CAPA"] * 50).count(b"+OK") == 50
    assert client.log_in("alice", "secret").startswith(b"+OK")


def test_a_password_is_nowhere_kept(connect: Connect) -> None:
    """What a client sent as its password is gone from the session when the login was answered."""
    client = connect(THREE)
    client.log_in("alice", "secret")
    session = client.session

    assert session.username == ""
    assert "secret" not in repr([getattr(session, name) for name in vars(session) if name != "_backend"])


# --- the end


def test_what_comes_after_quit_is_neither_carried_out_nor_answered(log_in: Connect) -> None:
    """P-031, H-023: QUIT is the last command, also when more was sent with it or after it (RFC 1939 section 6)."""
    client = log_in(THREE)
    said = client.ask("QUIT", "DELE 1", "QUIT", "STAT")

    assert said == b"+OK bye, 3 messages left\r\n"
    assert client.ask("STAT") == b""
    assert client.session.command_count == 3  # USER, PASS, QUIT


def test_quit_counts_although_the_client_is_gone(log_in: Connect) -> None:
    """P-078, Q-031: the update has run when there is a reply to send; nobody need read it (RFC 1939 section 6)."""
    client = log_in(THREE)
    client.session.receive_data(b"DELE 1\r\nQUIT\r\n")
    next(client.session.output())
    client.close()

    assert client.session.summary("s", 0.0).outcome is Outcome.QUIT
    assert client.server.connect().log_in("alice", "secret") == b"+OK maildrop has 2 messages (38 octets)\r\n"


def test_a_connection_that_ends_without_quit_removes_nothing(log_in: Connect) -> None:
    """P-030, Q-029: marks are forgotten, and the maildrop can be opened at once (RFC 1939 sections 3 and 6)."""
    client = log_in(THREE)
    client.ask("DELE 1", "DELE 2", "DELE 3")
    client.close()

    assert client.server.connect().log_in("alice", "secret") == b"+OK maildrop has 3 messages (56 octets)\r\n"


def test_a_maildrop_can_be_opened_again_as_soon_as_quit_is_answered(connect: Connect) -> None:
    """P-076, P-081: two hundred sessions in a row never meet their own lock (RFC 1081, RFC 1939 section 6)."""
    server = connect(THREE).server

    for _ in range(200):
        client = server.connect()
        assert client.log_in("alice", "secret").startswith(b"+OK")
        assert client.ask("QUIT") == b"+OK bye, 3 messages left\r\n"


def test_a_second_session_is_refused_while_the_first_is_open(connect: Connect) -> None:
    """P-079, P-080, C-034: in use is told to the right password alone, and the first session goes on undisturbed."""
    first = connect(THREE)
    first.log_in("alice", "secret")
    second = first.server.connect()
    wrong = second.log_in("alice", "wrong")
    right = second.log_in("alice", "secret")

    assert wrong.startswith(b"-ERR [AUTH]")
    assert right.startswith(b"-ERR [IN-USE]")
    assert first.ask("STAT") == b"+OK 3 56\r\n"
    first.ask("QUIT")
    assert second.log_in("alice", "secret").startswith(b"+OK")


def test_mail_that_arrives_is_not_seen_before_the_next_session(log_in: Connect) -> None:
    """P-034, P-077: the set of messages is that of the login, after RSET too (RFC 1939 section 4)."""
    client = log_in(THREE)
    before = client.ask("STAT", "LIST", "UIDL")
    client.server.deliver("alice", b"Subject: d\n\n")
    after = client.ask("STAT", "LIST", "UIDL")
    client.ask("DELE 1", "RSET")
    after_rset = client.ask("STAT", "LIST", "UIDL")
    client.ask("DELE 2", "QUIT")

    assert before == after == after_rset
    assert client.server.connect().log_in("alice", "secret") == b"+OK maildrop has 3 messages (49 octets)\r\n"


@pytest.mark.parametrize("outcome", [Outcome.DISCONNECTED, Outcome.TIMED_OUT, Outcome.SHUT_DOWN])
@pytest.mark.parametrize("is_logged_in", [False, True])
def test_an_aborted_session_says_and_reads_nothing_more(
    connect: Connect, outcome: Outcome, *, is_logged_in: bool
) -> None:
    """P-037, P-038: an end from outside is silent, and the first one counts (RFC 1939 section 3)."""
    client = connect(THREE)
    if is_logged_in:
        client.log_in("alice", "secret")
    client.session.receive_data(b"CAPA\r\n")
    client.session.abort(outcome)
    client.session.abort(Outcome.STORAGE_FAILED)
    client.session.receive_data(b"QUIT\r\n")

    assert list(client.session.output()) == []
    assert client.session.outcome is outcome


# --- the limits


@pytest.mark.parametrize("limit", [1, 10, 20])
def test_too_many_bad_commands_end_the_session(connect: Connect, limit: int) -> None:
    """H-016, Q-009: each has its reply, the last one too, and nothing after it is read."""
    client = connect(policy=Policy(max_bad_commands=limit))
    said = client.ask(*["FROB"] * 100_000 if limit == 20 else ["FROB"] * (limit + 5))

    assert said == b"-ERR unknown command\r\n" * limit
    assert client.session.is_closed
    assert client.session.outcome is Outcome.TOO_MANY_ERRORS


def test_a_good_command_before_login_does_not_forgive_bad_ones(connect: Connect) -> None:
    """Before login bad commands count in all: CAPA costs nothing and would make the limit none."""
    client = connect(policy=Policy(max_bad_commands=3))
    client.ask("FROB", "CAPA", "FROB", "CAPA")
    assert not client.session.is_closed
    client.ask("FROB")

    assert client.session.is_closed


def test_bad_commands_before_login_are_forgiven_by_the_login(connect: Connect) -> None:
    """Q-009: a client that probed a lot before login has not used up what it may do after it."""
    client = connect(policy=Policy(max_bad_commands=3))
    client.ask("FROB", "FROB")
    client.log_in("alice", "secret")
    client.ask("FROB", "FROB")

    assert client.ask("NOOP") == b"+OK done\r\n"


@pytest.mark.parametrize(
    "verb", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "get"]
)
@pytest.mark.parametrize("is_logged_in", [False, True])
def test_a_request_of_http_ends_the_session_at_once(connect: Connect, verb: str, *, is_logged_in: bool) -> None:
    """H-015: what a browser was made to send behind its request is not read, and nothing is removed."""
    client = connect(THREE)
    if is_logged_in:
        client.log_in("alice", "secret")
        client.ask("DELE 1")
    said = client.ask(f"{verb} / HTTP/1.1", "Host: mail.example.org", "", "USER alice", "PASS secret", "QUIT")

    assert said == b"-ERR unknown command\r\n"
    assert client.session.outcome is Outcome.TOO_MANY_ERRORS
    assert client.server.connect().log_in("alice", "secret") == b"+OK maildrop has 3 messages (56 octets)\r\n"


def test_too_many_wrong_passwords_end_the_session(connect: Connect) -> None:
    """P-033, Q-012: the fifth one by default, after its reply, whether or not the user exists."""
    client = connect(THREE)
    replies = [client.log_in(name, "wrong") for name in ("alice", "bob", "alice", "carol", "alice")]

    assert replies == [b"-ERR [AUTH] user name or password not accepted\r\n"] * 5
    assert client.session.outcome is Outcome.TOO_MANY_ERRORS
    assert client.ask("USER alice", "PASS secret") == b""


@pytest.mark.parametrize(
    "error", [MaildropInUse("busy"), TemporaryFailure("down"), HookContractError("wrong"), RuntimeError("defect")]
)
def test_a_login_that_failed_for_another_reason_may_be_tried_again(error: Exception) -> None:
    """C-038, P-081: trouble that is not the client's does not use up its attempts."""
    backend = FailingBackend(*[error] * 9, AuthenticationFailed("wrong password"))
    session = session_with(backend, Policy(max_failed_logins=2))
    for _ in range(9):
        answers(session, "USER alice", "PASS secret")
    answers(session, "USER alice", "PASS wrong")

    assert not session.is_closed
    assert session.failed_login_count == 10
    answers(session, "USER alice", "PASS wrong")
    assert session.is_closed


@pytest.mark.parametrize(
    ("error", "code", "is_reported"),
    [
        (AuthenticationFailed("no"), b"[AUTH]", False),
        (MaildropInUse("no"), b"[IN-USE]", False),
        (TemporaryFailure("no"), b"[SYS/TEMP]", False),
        (HookContractError("no"), b"[SYS/PERM]", True),
        (RuntimeError("no"), b"[SYS/TEMP]", True),
        (OSError(5, "no"), b"[SYS/TEMP]", True),
    ],
)
def test_a_login_that_fails_has_the_code_of_its_reason(error: Exception, code: bytes, *, is_reported: bool) -> None:
    """C-031, C-036, C-037, C-038, P-032: never [AUTH] when the fault is ours, and the session stays before login."""
    backend = FailingBackend(error)
    session = session_with(backend, Policy())
    lines = answers(session, "USER alice", "PASS secret", "STAT")

    assert lines[1].startswith(b"-ERR " + code + b" ")
    assert lines[2] == b"-ERR command not valid in this state\r\n"
    assert len(backend.reported) == is_reported


def test_the_words_of_an_exception_never_reach_the_client() -> None:
    """C-041: replies are constants; paths and names are for the log."""
    errors: list[Exception] = [TemporaryFailure("/etc/x"), HookContractError("/etc/x"), RuntimeError("/etc/x")]
    session = session_with(FailingBackend(*errors), Policy())
    lines = answers(session, *["USER alice", "PASS secret"] * 3)

    assert b"/etc" not in b"".join(lines)
    assert len(lines) == 6


def test_the_text_for_wrong_credentials_has_none_of_the_words_that_old_clients_look_for() -> None:
    """C-041: they take "lock", "wait" and "service unavailable" for something that will pass; [IN-USE] says "lock"."""
    wrong = AuthenticationFailed.wire_text.lower()

    assert not any(word in wrong for word in ("lock", "wait", "service unavailable", "in use"))
    assert "lock" in MaildropInUse.wire_text
    assert "in use" in MaildropInUse.wire_text


# --- what it tells


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ([], (Outcome.DISCONNECTED, 2, 0, 0, 0, 0, 0, 0, 3, 56)),
        (["QUIT"], (Outcome.QUIT, 3, 0, 0, 0, 0, 0, 0, 3, 56)),
        (["RETR 1", "RETR 1", "TOP 2 0", "QUIT"], (Outcome.QUIT, 6, 2, 36, 1, 14, 0, 0, 3, 56)),
        (["RETR 2", "DELE 2", "DELE 3", "QUIT"], (Outcome.QUIT, 6, 1, 21, 0, 0, 2, 38, 1, 18)),
        (["DELE 1", "RSET", "QUIT"], (Outcome.QUIT, 5, 0, 0, 0, 0, 0, 0, 3, 56)),
        (["DELE 1"], (Outcome.DISCONNECTED, 3, 0, 0, 0, 0, 0, 0, 3, 56)),
        (["RETR 9", "TOP 9 0", "FROB"], (Outcome.DISCONNECTED, 5, 0, 0, 0, 0, 0, 0, 3, 56)),
        (["DELE 1", *["FROB"] * 20], (Outcome.TOO_MANY_ERRORS, 23, 0, 0, 0, 0, 0, 0, 3, 56)),
    ],
)
def test_the_summary_counts_what_was_done(log_in: Connect, commands: list[str], expected: tuple[object, ...]) -> None:
    """Octets are counted as LIST counts them; what was marked counts only when QUIT has removed it."""
    client = log_in(THREE)
    client.ask(*commands)
    client.close()
    summary = client.session.summary("session-7", 1.5)

    assert (summary.session_id, summary.peer, summary.username) == ("session-7", PEER, "alice")
    assert summary.duration_seconds == 1.5
    assert (
        summary.outcome,
        summary.command_count,
        summary.retr_count,
        summary.retr_octets,
        summary.top_count,
        summary.top_octets,
        summary.deleted_count,
        summary.deleted_octets,
        summary.left_count,
        summary.left_octets,
    ) == expected


def test_the_summary_of_a_session_without_login_has_no_name_and_no_mail(connect: Connect) -> None:
    """Wrong passwords are counted, and nobody is named."""
    client = connect(THREE)
    client.log_in("alice", "wrong")
    client.ask("QUIT")
    summary = client.session.summary("s", 0.0)

    assert (summary.outcome, summary.username) == (Outcome.QUIT, "")
    assert (summary.command_count, summary.failed_login_count) == (3, 1)
    assert (summary.left_count, summary.left_octets, summary.deleted_count) == (0, 0, 0)


@pytest.mark.parametrize(
    ("failure", "commands", "outcome"),
    [
        ("update TemporaryFailure", ["DELE 1", "QUIT"], Outcome.UPDATE_FAILED),
        ("read-on 1 TemporaryFailure", ["DELE 2", "RETR 1"], Outcome.STORAGE_FAILED),
        ("read 1 defect", ["DELE 2", "RETR 1"], Outcome.STORAGE_FAILED),
    ],
)
def test_the_summary_of_a_failure_says_that_nothing_was_removed(
    failure: str, commands: list[str], outcome: Outcome
) -> None:
    """P-073: what is marked is still there when the update failed or did not come (RFC 1939 section 6)."""
    scene = parse_transcript(f"@ messages 2 S: a\\n\\nhi hi hi\\n\n@ failure {failure}\nC: x\n")
    client = EngineServer(scene).connect()
    client.log_in("alice", "secret")
    client.ask(*commands)
    summary = client.session.summary("s", 0.0)

    assert (summary.outcome, summary.deleted_count, summary.deleted_octets) == (outcome, 0, 0)
    assert (summary.left_count, summary.left_octets) == (2, 36)
    assert (summary.retr_count, summary.retr_octets) == (0, 0)
