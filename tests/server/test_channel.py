"""What front, gate and a session's process say to each other arrives as it was meant, or as a refusal."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import errors
from popframe.engine import Negotiated
from popframe.errors import AuthenticationFailed, HookContractError, MaildropInUse, PermanentFailure, TemporaryFailure
from popframe.extension import Challenge
from popframe.model import Outcome, Peer, PlainCredentials, SessionSummary
from popframe.proof import Proven
from popframe.server.isolation.channel import MAX_MESSAGE_OCTETS, Channel, FrontGone, LoginRequest
from popframe.server.observation.trace import TraceScope

Ends = tuple[Channel, Channel]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Return the front's end, and the process's."""
    front, other = Channel.pair()
    process = Channel(other)
    yield front, process
    front.close()
    process.close()


@given(st.text(), st.text(min_size=1), st.binary(min_size=1), st.integers(0, 65_535))
def test_a_request_is_read_as_it_was_written(session_id: str, username: str, password: bytes, port: int) -> None:
    """Names are text, passwords any octets."""
    request = LoginRequest(session_id, Peer("127.0.0.1", port, "::1", 110), PlainCredentials(username, password))

    assert LoginRequest.parsed(request.packed()) == request


@pytest.mark.parametrize(
    "datagram", [b"", b"{", b"null", b"[]", b"[1, 2, 3, 4]", b'["a", {}, "b", "Yw=="]', b'["a", {"x": 1}, "b", "Yw=="]']
)
def test_what_is_no_request_is_refused(datagram: bytes) -> None:
    """By one kind of error."""
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it is that json, base64 or the values say
        LoginRequest.parsed(datagram)


@pytest.mark.parametrize(
    "kind", [AuthenticationFailed, MaildropInUse, TemporaryFailure, PermanentFailure, HookContractError]
)
def test_a_refusal_arrives_as_what_it_was(ends: Ends, kind: type[errors.PopframeError]) -> None:
    """With its reason, which is for the log."""
    front, process = ends
    process.send_refusal(kind("because \u00e4"))
    with pytest.raises(kind, match="because \u00e4") as caught:
        front.receive_account(5)

    assert type(caught.value) is kind


def test_a_defect_arrives_as_a_temporary_failure(ends: Ends) -> None:
    """The client is told no more than that."""
    front, process = ends
    process.send_refusal(KeyError("name"))
    with pytest.raises(TemporaryFailure, match="KeyError: 'name'"):
        front.receive_ready(5)


@pytest.mark.parametrize("name", ["ConfigError", "Any", "annotations", "PopframeError", "__doc__"])
def test_no_other_name_means_anything(name: str) -> None:
    """What a process of a user says is not trusted to be a class."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.send(json.dumps({"refused": name, "reason": "why"}).encode())
        with pytest.raises(TemporaryFailure, match="why"):
            Channel(ours).receive_account(5)


def test_a_process_that_dies_is_noticed(ends: Ends) -> None:
    """At every step."""
    front, process = ends
    process.close()
    with pytest.raises(TemporaryFailure, match="has died"):
        front.receive_account(5)
    with pytest.raises(TemporaryFailure, match="is gone"):
        front.send_open(TraceScope.COMMANDS)
    assert front.receive_summary() is None


def test_a_process_that_says_nothing_is_not_waited_for(ends: Ends) -> None:
    """For longer than it may take."""
    with pytest.raises(TemporaryFailure, match="no answer within 1 s"):
        ends[0].receive_account(1)


@pytest.mark.parametrize("negotiated", [Negotiated(), Negotiated(is_utf8=True, language="de")])
def test_a_session_goes_its_way(ends: Ends, negotiated: Negotiated) -> None:
    """Account, leave to open, ready, leave to go on with what was sent, summary."""
    front, process = ends
    unread = bytes(range(256)) * 256
    process.send_account("alice")
    assert front.receive_account(5) == ("alice", "")
    front.send_open(TraceScope.COMMANDS)
    assert process.receive_open() is TraceScope.COMMANDS
    process.send_ready()
    front.receive_ready(5)
    front.send_go_on(negotiated, unread)
    assert process.receive_go_on() == (negotiated, unread)
    assert len(unread) < MAX_MESSAGE_OCTETS
    summary = SessionSummary("s", Peer("::1", 1), "alice", Outcome.TIMED_OUT, 1.5, retr_count=2, left_octets=2**40)
    process.send_summary(summary)
    assert front.receive_summary() == summary


@pytest.mark.parametrize("scope", TraceScope)
def test_the_front_says_how_much_of_a_session_is_traced(ends: Ends, scope: TraceScope) -> None:
    """Together with the leave to open the maildrop."""
    front, process = ends
    front.send_open(scope)

    assert process.receive_open() is scope


def test_a_summary_arrives_whatever_its_process_has_not_read(ends: Ends) -> None:
    """A server that stops while a session ends has told it to stop, and still learns what it has done."""
    front, process = ends
    summary = SessionSummary("s", Peer("::1", 1), "alice", Outcome.QUIT, 1.5, deleted_count=3)
    front.send_stop()
    process.send_summary(summary)
    process.close()

    assert front.receive_summary() == summary
    assert front.receive_summary() is None


@pytest.mark.parametrize("is_wanted", [True, False])
def test_lines_of_a_trace_come_before_the_summary(ends: Ends, is_wanted: bool) -> None:
    """Taken in their order, or left; a process that nobody listens to any more goes on."""
    front, process = ends
    lines: list[tuple[str, object]] = []
    summary = SessionSummary("s", Peer("::1", 1), "alice", Outcome.QUIT, 1.5)
    process.send_trace("command", {"command": "STAT"})
    process.send_trace("command", {"command": "QUIT"})
    process.send_summary(summary)

    assert front.receive_summary((lambda *line: lines.append(line)) if is_wanted else None) == summary
    expected = [("command", {"command": "STAT"}), ("command", {"command": "QUIT"})]
    assert lines == (expected if is_wanted else [])
    front.close()
    process.send_trace("command", {"command": "NOOP"})


def test_a_front_that_wants_no_more_is_understood(ends: Ends) -> None:
    """A limit was reached, or the front is gone."""
    front, process = ends
    front.close()

    assert process.receive_open() is None
    assert process.receive_go_on() is None


def test_a_stop_is_seen_without_being_waited_for(ends: Ends) -> None:
    """By a session whose connection has ended."""
    front, process = ends
    assert not process.is_stopped()
    front.send_stop()
    assert process.is_stopped()


def test_an_exchange_goes_its_way(ends: Ends) -> None:
    """Responses there, none among them; challenges back, and whom the exchange is about."""
    front, process = ends
    for response in (None, b"", bytes(range(256)) * 192):
        front.send_response(response)
        assert process.receive_response() == response
    assert front.username == ""
    for challenge in (Challenge(bytes(range(256)) * 192), Challenge(b"no", is_refusal=True)):
        process.send_challenge(challenge, "alice")
        assert front.receive_step(5) == challenge
    assert front.username == "alice"
    for proof in (
        PlainCredentials("Alice", b"\xffsecret", "bob"),
        PlainCredentials("a", b""),
        Proven("Alice", None, "b"),
    ):
        process.send_proof(proof)
        assert front.receive_step(5) == proof
        assert front.username == proof.username
        front.send_check()
        process.wait_for_check()
    process.send_account("alice", "boss")
    assert front.receive_account(5) == ("alice", "boss")


def test_a_refusal_says_whom_the_exchange_was_about(ends: Ends) -> None:
    """For the log, which is the front's."""
    front, process = ends
    process.send_refusal(AuthenticationFailed("wrong"), "eve")
    with pytest.raises(AuthenticationFailed):
        front.receive_step(5)

    assert front.username == "eve"


def test_a_front_that_is_gone_is_no_response() -> None:
    """Nor is anything else that a front says at the wrong time."""
    for act in (Channel.close, lambda front: front.send_open(TraceScope.NOTHING), Channel.send_stop):
        ours, theirs = Channel.pair()
        other = Channel(theirs)
        act(ours)
        if act is not Channel.close:
            act(ours)
        with pytest.raises(FrontGone):
            other.receive_response()
        with pytest.raises(FrontGone):
            other.wait_for_check()
        ours.close()
        other.close()
