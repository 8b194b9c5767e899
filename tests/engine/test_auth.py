"""AUTH, as far as the engine goes: base64, the limits, what is announced, and what a failure leaves behind."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramClient

from popframe import AuthenticationFailed, Challenge, ConfigError, Outcome, Peer, State, Tls
from popframe.engine import Channel, CommandTable, Policy, Session
from popframe.engine.authentication import decoded
from popframe.engine.policy import MAX_RESPONSE_OCTETS, MAX_RESPONSES
from popframe.errors import InvalidResponse
from popframe.sasl import BUILT_IN, built_in
from popframe.testing import EngineServer, Transcript
from popframe.testing.engine_server import EngineTransport
from popframe.testing.transcript import User

AFAR = Peer("192.0.2.7", 50_110, "192.0.2.1", 110)
BINDING = bytes(range(32))
TLS = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", client_name="alice", end_point=BINDING.hex())
FAILED = b"-ERR [AUTH] user name or password not accepted\r\n"
CLEAR_TEXT = b"-ERR encrypt the connection first\r\n"
NOT_AVAILABLE = b"-ERR mechanism not available\r\n"
INVALID = b"-ERR not a valid response\r\n"
LOGGED_IN = b"+OK maildrop has 0 messages (0 octets)\r\n"
RIGHT = base64.b64encode(b"\0alice\0secret").decode()
WRONG = base64.b64encode(b"\0alice\0wrong").decode()


def server(*mechanisms: str, policy: Policy | None = None) -> EngineServer:
    """Return a server with an account whose password is ``secret``; it has all mechanisms unless some are named."""
    users = (User("alice", b"secret"), User("bob", b"secret"))
    return EngineServer(Transcript("test", users, (), policy or Policy(), mechanisms=mechanisms or tuple(BUILT_IN)))


def connect(*mechanisms: str, peer: Peer | None = None, policy: Policy | None = None) -> EngineTransport:
    """Return a client that was greeted, from the same machine unless it comes from elsewhere."""
    made = server(*mechanisms, policy=policy)
    if peer is not None:
        made.peer = peer
    client = made.connect()
    client.ask()
    return client


def announced(client: EngineTransport) -> list[str]:
    """Return what stands behind SASL in the reply to CAPA; nothing where there is no such line."""
    lines = client.ask("CAPA").decode().splitlines()
    found = [line.split()[1:] for line in lines if line.split()[0] == "SASL"]
    assert len(found) <= 1
    assert [] not in found
    return found[0] if found else []


# --- what is announced, and taken

SECRET = ["SCRAM-SHA-256", "SCRAM-SHA-1"]
PLUS = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"]
READABLE = ["PLAIN", "LOGIN"]


@pytest.mark.parametrize(
    ("peer", "names"),
    [
        (AFAR, [*SECRET, "CRAM-MD5"]),
        (Peer("127.0.0.1"), [*SECRET, "CRAM-MD5", *READABLE]),
        (replace(AFAR, tls=Tls("TLSv1.3", "x")), [*SECRET, "CRAM-MD5", *READABLE]),
        (replace(AFAR, tls=replace(TLS, client_name="")), [*PLUS, "CRAM-MD5", *READABLE]),
        (replace(AFAR, tls=replace(TLS, end_point="")), [*SECRET, "EXTERNAL", "CRAM-MD5", *READABLE]),
        (replace(AFAR, tls=TLS), [*PLUS, "EXTERNAL", "CRAM-MD5", *READABLE]),
    ],
)
def test_exactly_what_is_taken_is_announced(peer: Peer, names: list[str]) -> None:
    """A-007, A-020, A-038, A-049, A-067, A-079, C-014: each mechanism is tried, announced or not."""
    client = connect(peer=peer, policy=Policy(max_bad_commands=100, max_failed_logins=100))

    assert announced(client) == names
    assert client.ask("AUTH").decode().splitlines()[1:-1] == names
    for name in BUILT_IN:
        reply = client.ask(f"AUTH {name}")
        if name in names:
            assert reply.startswith(b"+ ")
            assert client.ask("*") == b"-ERR authentication cancelled\r\n"
        else:
            assert reply == (CLEAR_TEXT if name in READABLE else NOT_AVAILABLE)


def test_where_nothing_is_announced_there_is_no_line() -> None:
    """C-014: an empty SASL line means nothing; a server without a mechanism has no AUTH at all."""
    client = connect("PLAIN", peer=AFAR)
    assert announced(client) == []
    assert client.ask("AUTH") == b"+OK mechanisms follow\r\n.\r\n"
    assert client.ask("AUTH PLAIN") == CLEAR_TEXT

    table = CommandTable(Policy())
    assert not table.knows(b"AUTH")
    assert not table.mechanisms.names(AFAR, Channel.TRUSTED)


def test_what_is_announced_stays_after_login() -> None:
    """C-015, A-034: and AUTH is not taken any more."""
    client = connect()
    before = announced(client)
    assert client.ask(f"AUTH PLAIN {RIGHT}") == LOGGED_IN

    assert announced(client) == before
    assert client.ask(f"AUTH PLAIN {RIGHT}") == b"-ERR command not valid in this state\r\n"


def test_tls_changes_what_is_announced() -> None:
    """C-014: after STLS there are more."""
    client = connect(peer=AFAR, policy=Policy(offers_tls=True))
    assert "PLAIN" not in announced(client)
    client.ask("STLS")
    client.session.begin_tls(TLS)

    assert {"PLAIN", "EXTERNAL", "SCRAM-SHA-256-PLUS"} < set(announced(client))


@pytest.mark.parametrize("line", ["AUTH plain " + RIGHT, "auth PLAIN " + RIGHT, "Auth pLaIn  " + RIGHT + " "])
def test_names_are_taken_in_any_case(line: str) -> None:
    """A-021, Q-001: RFC 5034 section 5."""
    assert connect().ask(line) == LOGGED_IN


@pytest.mark.parametrize("name", ["FOO", "../x", "X" * 200, "PLAIN\u0131", "\u017fCRAM-SHA-1", "GSSAPI", "ANONYMOUS"])
def test_other_names_are_no_mechanisms(name: str) -> None:
    """A-020, A-040, A-041, A-042, A-083: no challenge, and one bad command more."""
    client = connect()

    assert client.ask(f"AUTH {name}") == NOT_AVAILABLE
    assert client.session.failed_login_count == 0
    assert client.ask(f"AUTH PLAIN {RIGHT}") == LOGGED_IN


def test_a_certificate_alone_logs_nobody_in() -> None:
    """A-080: the client has to ask."""
    client = connect(peer=replace(AFAR, tls=TLS))

    assert client.ask("STAT") == b"-ERR command not valid in this state\r\n"
    assert client.ask("AUTH EXTERNAL =") == LOGGED_IN


def test_a_certificate_is_for_nobody_else() -> None:
    """A-025, A-081: the name to act as may be given if it is the same."""
    client = connect(peer=replace(AFAR, tls=TLS))

    assert client.ask("AUTH EXTERNAL " + base64.b64encode(b"bob").decode()) == FAILED
    assert client.ask("AUTH EXTERNAL " + base64.b64encode(b"alice").decode()) == LOGGED_IN


def test_names_that_do_not_fit_into_capa_stop_the_start() -> None:
    """C-002: the line has 512 octets."""

    class Named:
        reveals_password = False

        def __init__(self, name: str) -> None:
            self.name = name

        def suits(self, peer: Peer) -> bool:
            return True

    with pytest.raises(ConfigError, match="do not fit"):
        CommandTable(Policy(), mechanisms=[Named(f"X-MECHANISM-OF-TEST{number:02}") for number in range(30)])


# --- base64


@pytest.mark.parametrize(
    "text",
    [
        *("=AAA", "AAA=BBB", "AAA=AAA=", "AAAAA", "A", "AA", "AAA", "====", "=", "QUJD-_", "AA A=", "AAAA\tAAAA"),
        *("%%%%", "QR==", "QUJ=", "QQ==QQ==", "QQ= =", "\u00e4", "QQ==\r", " QQ==", "QQ== "),
    ],
)
def test_what_is_not_base64_is_refused(text: str) -> None:
    """A-028, A-029, A-030, H-038: alphabet, padding, blanks, bits behind the last octet; once, and without effect."""
    with pytest.raises(InvalidResponse):
        decoded(text)

    client = connect()
    assert client.ask("AUTH PLAIN") == b"+ \r\n"
    client.send(text.encode("utf-8") + b"\r\n")
    assert client.ask() == INVALID
    assert client.session.state is State.AUTHORIZATION
    assert client.ask(f"AUTH PLAIN {RIGHT}") == LOGGED_IN


@given(st.binary())
def test_each_octets_have_one_base64(octets: bytes) -> None:
    """A-023: which is what is taken."""
    assert decoded(base64.b64encode(octets).decode()) == octets


@given(st.text())
def test_any_text_is_the_base64_of_octets_or_refused(text: str) -> None:
    """A-028, H-038: two texts never stand for the same."""
    try:
        octets = decoded(text)
    except InvalidResponse:
        return
    assert base64.b64encode(octets).decode() == text


def test_an_empty_initial_response_is_one() -> None:
    """A-025: it is written "="; PLAIN has no empty message."""
    assert connect().ask("AUTH PLAIN =") == FAILED


def test_an_initial_response_where_the_server_speaks_first_is_refused() -> None:
    """A-026: no challenge."""
    assert connect().ask("AUTH CRAM-MD5 AAAA") == FAILED


# --- failures


@pytest.mark.parametrize(
    "dialogue",
    [
        ("AUTH PLAIN", "*"),
        ("AUTH LOGIN", "*"),
        ("AUTH LOGIN", "YWxpY2U=", "*"),
        ("AUTH CRAM-MD5", "*"),
        ("AUTH SCRAM-SHA-256", "*"),
        ("AUTH SCRAM-SHA-256 " + base64.b64encode(b"n,,n=alice,r=x").decode(), "*"),
        ("AUTH EXTERNAL", "*"),
        (f"AUTH PLAIN {WRONG}",),
        ("AUTH PLAIN", WRONG),
        ("AUTH LOGIN", "YWxpY2U=", "d3Jvbmc="),
        ("AUTH PLAIN", ""),
        ("AUTH PLAIN QUJD-_",),
    ],
)
def test_a_failure_leaves_the_session_as_it_was(dialogue: tuple[str, ...]) -> None:
    """A-027, A-033, A-036, H-021: another attempt may follow, by another way."""
    client = connect(peer=replace(AFAR, tls=TLS))
    *before, last = dialogue
    for line in before:
        assert client.ask(line).startswith(b"+ ")

    assert client.ask(last).startswith(b"-ERR ")
    assert client.session.state is State.AUTHORIZATION
    assert client.session.failed_login_count == 1
    assert client.log_in("alice", "secret") == LOGGED_IN


def test_a_name_given_to_user_is_forgotten() -> None:
    """E-016: whatever became of AUTH."""
    client = connect()

    assert client.ask("USER alice", "AUTH PLAIN", "*", "PASS secret").splitlines()[-1].startswith(b"-ERR")
    assert client.session.state is State.AUTHORIZATION


@pytest.mark.parametrize("dialogue", [("AUTH PLAIN", "*"), (f"AUTH PLAIN {WRONG}",), ("AUTH PLAIN", "=")])
def test_only_so_many_may_fail(dialogue: tuple[str, ...]) -> None:
    """H-040, A-033: cancelled and malformed exchanges count like wrong passwords."""
    client = connect(policy=Policy(max_failed_logins=3))
    for _ in range(2):
        client.ask(*dialogue)
        assert not client.session.is_closed
    reply = client.ask(*dialogue)

    assert reply.splitlines()[-1].startswith(b"-ERR")
    assert client.session.is_closed
    assert client.session.outcome is Outcome.TOO_MANY_ERRORS
    assert client.ask(f"AUTH PLAIN {RIGHT}") == b""


@pytest.mark.parametrize("line", ["AQ==", "", "*", "no base64!", "QUIT"])
def test_a_refusal_that_is_told_ends_in_a_refusal(line: str) -> None:
    """A-073: whatever the client says to it, ``*`` too (RFC 7628 section 3.2.3)."""
    responses: list[bytes | None] = []

    class Telling:
        name = "X-TELLING"
        reveals_password = False
        needs_secret = ""

        def suits(self, peer: Peer) -> bool:
            return True

        def start(self, context: object) -> Telling:
            return self

        def respond(self, response: bytes | None) -> Challenge:
            responses.append(response)
            if len(responses) == 1:
                return Challenge(b"{}", is_refusal=True)
            raise AuthenticationFailed("told")

    made = server()
    made._mechanisms["X-TELLING"] = Telling()
    client = Session(made.peer, made, Policy(), CommandTable(Policy(), mechanisms=[Telling(), *built_in(BUILT_IN)]))

    def ask(command: str) -> bytes:
        client.receive_data(command.encode() + b"\r\n")
        return b"".join(octets for buffers in client.output() for octets in buffers)

    assert ask("AUTH X-TELLING eA==") == b"+ e30=\r\n"
    assert ask(line) == FAILED
    assert responses == [b"x", b""]
    assert ask("AUTH PLAIN") == b"+ \r\n"
    assert ask("*") == b"-ERR authentication cancelled\r\n"
    assert client.failed_login_count == 2


def test_an_exchange_ends() -> None:
    """H-040: whatever the mechanism would still ask for."""

    class Endless:
        name = "X-ENDLESS"
        reveals_password = False
        needs_secret = ""

        def suits(self, peer: Peer) -> bool:
            return True

        def start(self, context: object) -> Endless:
            return self

        def respond(self, response: bytes | None) -> Challenge:
            return Challenge(b"more")

    made = server()
    table = CommandTable(Policy(), mechanisms=[Endless()])
    made._mechanisms["X-ENDLESS"] = Endless()
    client = Session(made.peer, made, Policy(), table)
    client.receive_data(b"AUTH X-ENDLESS\r\n" + b"\r\n" * (MAX_RESPONSES + 1))
    replies = b"".join(octets for buffers in client.output() for octets in buffers)

    assert replies == b"+ bW9yZQ==\r\n" * (MAX_RESPONSES + 1) + INVALID
    assert client.failed_login_count == 1
    assert [str(error) for _, error in made.errors] == [f"more than {MAX_RESPONSES} responses"]


@pytest.mark.parametrize("outcome", [Outcome.DISCONNECTED, Outcome.TIMED_OUT])
def test_an_exchange_that_breaks_off_is_told(outcome: Outcome) -> None:
    """H-041: whoever runs it lets go of it."""
    made = server()
    client = made.connect()
    client.ask("AUTH LOGIN", "YWxpY2U=")
    client.session.abort(outcome)

    assert [str(error) for _, error in made.errors] == [f"the session ended: {outcome.value}"]
    assert client.session.is_closed


# --- lengths


def test_long_responses_are_taken_whole() -> None:
    """A-031, A-032, Q-014: up to the limit, with AUTH and by themselves."""
    octets = (MAX_RESPONSE_OCTETS - 2) // 4 * 3
    message = base64.b64encode(b"\0alice\0" + b"x" * (octets - 7)).decode()
    assert len(message) > MAX_RESPONSE_OCTETS - 6
    client = connect()
    assert client.ask("AUTH PLAIN", message) == b"+ \r\n" + FAILED

    assert client.ask("AUTH PLAIN " + message[:48_000]) == FAILED
    assert client.ask(f"AUTH PLAIN {RIGHT}") == LOGGED_IN


@pytest.mark.parametrize("line_end", [b"", b"\r\nSTAT\r\nQUIT\r\n"])
@pytest.mark.parametrize("start", [b"AUTH PLAIN\r\n", b"AUTH PLAIN "])
def test_a_response_beyond_the_limit_ends_the_session(start: bytes, line_end: bytes) -> None:
    """H-039: and nothing of what follows is a command."""
    client = connect()
    client.send(start)
    for _ in range(20):
        client.send(b"QUJD" * 1024)
    client.send(line_end)
    replies = client.ask()

    assert replies.removeprefix(b"+ \r\n") == b"-ERR response too long\r\n"
    assert client.session.is_closed
    assert client.session.outcome is Outcome.TOO_MANY_ERRORS


def test_other_commands_are_as_short_as_before() -> None:
    """P-009: only AUTH may be long, and its responses."""
    client = connect()

    assert client.ask("AUTHX " + "A" * 600) == b"-ERR line too long\r\n"
    assert client.ask("USER " + "A" * 600) == b"-ERR line too long\r\n"
    assert client.ask("AUTH PLAIN", "*", "USER " + "A" * 600).endswith(b"-ERR line too long\r\n")


# --- whole exchanges


@pytest.mark.parametrize("plus", [False, True])
def test_a_client_logs_in_by_scram(plus: bool) -> None:
    """A-035, A-054, A-065: the server's proof comes as a challenge; only an empty line completes the login."""
    client = connect(peer=replace(AFAR, tls=TLS))
    name = "SCRAM-SHA-256-PLUS" if plus else "SCRAM-SHA-256"
    other = ScramClient([name], "alice", "secret", ("tls-server-end-point", BINDING) if plus else None)
    first = client.ask(f"AUTH {name} " + base64.b64encode(other.get_client_first().encode()).decode())
    other.set_server_first(base64.b64decode(first[2:]).decode())
    final = client.ask(base64.b64encode(other.get_client_final().encode()).decode())
    other.set_server_final(base64.b64decode(final[2:]).decode())
    assert client.session.state is State.AUTHORIZATION

    assert client.ask("") == LOGGED_IN
    assert client.ask("STAT") == b"+OK 0 0\r\n"


@pytest.mark.parametrize("last", ["*", "="])
def test_the_servers_proof_alone_logs_nobody_in(last: str) -> None:
    """A-027, A-030, A-065: the client may still not want to."""
    client = connect()
    other = ScramClient(["SCRAM-SHA-1"], "alice", "secret")
    first = client.ask("AUTH SCRAM-SHA-1 " + base64.b64encode(other.get_client_first().encode()).decode())
    other.set_server_first(base64.b64decode(first[2:]).decode())
    client.ask(base64.b64encode(other.get_client_final().encode()).decode())

    assert client.ask(last).startswith(b"-ERR ")
    assert client.ask("STAT") == b"-ERR command not valid in this state\r\n"


def test_the_order_of_mechanisms_is_fixed() -> None:
    """The strongest first: some clients take the first that they know."""
    assert [mechanism.name for mechanism in built_in(BUILT_IN)] == list(BUILT_IN)
    assert [mechanism.name for mechanism in built_in({"LOGIN", "X-OTHER", "PLAIN"})] == ["PLAIN", "LOGIN"]
