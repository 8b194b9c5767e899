"""STLS and the rule for clear text, as far as the engine goes: what is announced, taken, forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest

from popframe import Peer, State, Tls
from popframe.engine import Channel, ClearText, CommandTable, Policy, Session
from popframe.testing import EngineServer, Transcript
from popframe.testing.transcript import User

AFAR = Peer("192.0.2.7", 50_110, "192.0.2.1", 110)
HERE = Peer("127.0.0.7", 50_110, "127.0.0.1", 110)
TLS = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384")
REFUSED = b"-ERR encrypt the connection first\r\n"


def session(policy: Policy, peer: Peer = AFAR) -> Session:
    """Return a session that was greeted, with an account whose password is ``secret``."""
    server = EngineServer(Transcript(name="test", users=(User("alice", b"secret"),), steps=(), policy=policy))
    return Session(peer, server, policy, CommandTable(policy))


def said(session: Session, octets: bytes) -> bytes:
    """Return what answers the octets."""
    session.receive_data(octets)
    return b"".join(octets for buffers in session.output() for octets in buffers)


def capabilities(session: Session) -> set[bytes]:
    """Return the tags of CAPA."""
    return {line.partition(b" ")[0] for line in said(session, b"CAPA\r\n").splitlines()[1:-1]}


def test_tls_of_a_proxy_is_not_that_of_its_client() -> None:
    """N-019: where the client's own ends at the proxy, another one behind it has no channel binding for the client."""
    told = Tls("TLSv1.3", "TLS_X", by_proxy=True)
    behind = session(Policy(), Peer("192.0.2.1", tls=told, proxy="10.0.0.5"))
    behind.begin_tls(Tls("TLSv1.2", "proxy", client_name="the proxy", end_point="00"))

    assert behind.peer.tls == told


@pytest.mark.parametrize(
    ("clear_text", "peer", "channel"),
    [
        (ClearText.NEVER, AFAR, Channel.CLEAR),
        (ClearText.NEVER, HERE, Channel.CLEAR),
        (ClearText.NEVER, Peer(""), Channel.CLEAR),
        (ClearText.LOCAL, AFAR, Channel.CLEAR),
        (ClearText.LOCAL, HERE, Channel.TRUSTED),
        (ClearText.LOCAL, Peer("::1"), Channel.TRUSTED),
        (ClearText.LOCAL, Peer("fe80::1%eth0"), Channel.CLEAR),
        (ClearText.LOCAL, Peer(""), Channel.TRUSTED),
        (ClearText.LOCAL, Peer("127.0.0.1", proxy="127.0.0.1"), Channel.CLEAR),
        (ClearText.LOCAL, Peer("", proxy="127.0.0.1"), Channel.CLEAR),
        (ClearText.ALWAYS, Peer("127.0.0.1", proxy="127.0.0.1"), Channel.TRUSTED),
        (ClearText.ALWAYS, AFAR, Channel.TRUSTED),
    ],
)
def test_where_passwords_are_taken_in_clear_text(clear_text: ClearText, peer: Peer, channel: Channel) -> None:
    """T-039: on the same machine, unless the site says otherwise; under TLS always."""
    policy = Policy(clear_text=clear_text)

    assert policy.channel(peer) is channel
    assert policy.channel(replace(peer, tls=TLS)) is Channel.PROTECTED


def test_no_password_is_looked_at_in_clear_text() -> None:
    """A-007, A-038, C-013, T-037, H-050: USER and PASS are neither announced nor taken, whatever follows them."""
    client = session(Policy(offers_tls=True))

    assert not capabilities(client) & {b"USER", b"SASL"}
    assert said(client, b"USER alice\r\nPASS secret\r\nUSER\r\n") == REFUSED * 2 + b"-ERR wrong number of arguments\r\n"
    assert client.state is State.AUTHORIZATION
    assert client.failed_login_count == 0

    said(client, b"STLS\r\n")
    client.begin_tls(TLS)
    assert b"USER" in capabilities(client)
    assert said(client, b"USER alice\r\nPASS secret\r\n").splitlines()[-1].startswith(b"+OK maildrop")


def test_stls_is_there_exactly_when_it_can_be_used() -> None:
    """C-030, T-002, T-003, T-004, T-005, T-012, T-013, H-030: before login, outside TLS, with a certificate."""
    bare = session(Policy(), HERE)
    assert b"STLS" not in capabilities(bare)
    assert said(bare, b"STLS\r\nCAPA\r\n").startswith(b"-ERR unknown command\r\n+OK ")

    client = session(Policy(offers_tls=True), HERE)
    assert b"STLS" in capabilities(client)
    assert said(client, b"STLS now\r\n") == b"-ERR wrong number of arguments\r\n"
    assert not client.expects_tls
    assert said(client, b"CAPA\r\n").startswith(b"+OK ")

    assert said(client, b"STLS\r\n") == b"+OK begin TLS negotiation\r\n"
    assert client.expects_tls
    client.begin_tls(TLS)
    assert b"STLS" not in capabilities(client)
    assert said(client, b"STLS\r\n") == b"-ERR command not valid in this state\r\n"

    inside = session(Policy(offers_tls=True), HERE)
    said(inside, b"USER alice\r\nPASS secret\r\n")
    assert b"STLS" not in capabilities(inside)
    assert said(inside, b"STLS\r\n") == b"-ERR command not valid in this state\r\n"


@pytest.mark.parametrize("rest", [b"CAPA\r\n", b"USER eve\r\nPASS secret\r\n", b"QU", b"QUIT\r\n"])
def test_what_was_sent_in_clear_text_is_not_carried_out_under_tls(rest: bytes) -> None:
    """T-006, T-007, T-008, H-025, H-027: thrown away, half a command too."""
    client = session(Policy(offers_tls=True), HERE)

    assert said(client, b"STLS\r\n" + rest) == b"+OK begin TLS negotiation\r\n"
    client.begin_tls(TLS)

    assert said(client, b"") == b""
    assert said(client, b"IT\r\n") == b"-ERR unknown command\r\n"
    assert client.state is State.AUTHORIZATION
    assert not client.is_closed


def test_what_was_said_in_clear_text_is_forgotten() -> None:
    """T-009, T-010, H-028, H-029: a name that somebody on the way may have put in; errors are remembered."""
    policy = Policy(offers_tls=True, max_bad_commands=10)
    client = session(policy, HERE)

    replies = said(client, b"X\r\n" * 8 + b"USER alice\r\nSTLS\r\n").splitlines()
    assert [reply[:4] for reply in replies] == [b"-ERR"] * 8 + [b"+OK "] * 2
    client.begin_tls(TLS)

    assert client.peer == replace(HERE, tls=TLS)
    assert said(client, b"PASS secret\r\n").startswith(b"-ERR")
    assert not client.is_closed
    said(client, b"X\r\n")
    assert client.is_closed
