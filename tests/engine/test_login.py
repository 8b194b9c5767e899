"""From the greeting to the login: names, passwords, and what must not pass for either."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from popframe import State
from popframe.engine import Policy, Utf8Support
from popframe.testing import EngineServer, Transcript
from popframe.testing.engine_server import EngineTransport
from popframe.testing.transcript import User

Connect = Callable[..., EngineTransport]

THREE = [b"Subject: a\n\nhi\n", b"Subject: b\n\nthere\n", b"Subject: c\n\n.\n"]
"""18, 21 and 17 octets as sent."""


@pytest.mark.parametrize(
    "name",
    [b"alice\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"al\xe2\x80\xa8ice", b"\xc2\x85", b"a\xe2\x80\x8elice", b"\xc2\xad"],
)
def test_a_user_name_is_printable_text_in_utf_8(connect: Connect, name: bytes) -> None:
    """H-009: anything else is refused at USER, and PASS finds no name (RFC 1939 section 7)."""
    client = connect(THREE)
    client.send(b"USER %b\r\nPASS secret\r\n" % name)

    assert client.receive(0.0).endswith(b"-ERR command not understood\r\n" * 2)
    assert client.session.failed_login_count == 0


@pytest.mark.parametrize(
    "password",
    [
        b"secret",
        b"two words",
        b" ",
        b"  in front and behind  ",
        b"caf\xc3\xa9",
        b"caf\xe9",
        b"\xff\xfe",
        b"\xed\xb3\xbf",
        b"x" * 500,
    ],
)
def test_a_password_is_every_octet_behind_the_one_space(password: bytes) -> None:
    """A-005, Q-015: blanks count, and so do octets that are no text in any encoding (RFC 1939 section 7)."""
    policy = Policy(utf8=Utf8Support.MESSAGES)
    server = EngineServer(Transcript("login", (User("alice", password),), (), policy))
    right, longer, shorter = server.connect(), server.connect(), server.connect()
    right.send(b"user alice \r\npass " + password + b"\r\n")
    longer.send(b"user alice \r\npass " + password + b" \r\n")
    shorter.send(b"user alice \r\npass " + password[:-1] + b"\r\n")

    assert right.session.state is State.TRANSACTION
    assert longer.session.state is shorter.session.state is State.AUTHORIZATION


@pytest.mark.parametrize(
    "commands", [["PASS secret"], ["USER alice bob", "PASS x"], ["USER", "PASS x"], ["USER alice", "PASS"]]
)
def test_without_one_name_and_a_password_it_is_no_login(connect: Connect, commands: list[str]) -> None:
    """A-002, P-011, P-012: an argument too many or too few is malformed, and no password is wrong by that."""
    client = connect(THREE)
    said = client.ask(*commands)

    assert said.splitlines()[-1] in (b"-ERR command not understood", b"-ERR wrong number of arguments")
    assert client.session.failed_login_count == 0


@pytest.mark.parametrize("between", ["NOOP", "FROB", "USER", "CAPA x", "USER \x7f", "\t", "", "x" * 600])
def test_a_name_is_forgotten_when_anything_comes_before_its_password(connect: Connect, between: str) -> None:
    """A-002, H-019: PASS counts only immediately behind USER (RFC 1939 section 7)."""
    client = connect(THREE)
    said = client.ask("USER alice", between, "PASS secret")

    assert said.endswith(b"-ERR command not understood\r\n")
    assert client.session.state is State.AUTHORIZATION
    assert client.session.command_count == 3


def test_a_look_at_the_capabilities_does_not_make_the_name_forgotten(connect: Connect) -> None:
    """C-007: some clients ask for them between USER and PASS (RFC 2449 section 5)."""
    said = connect(THREE).ask("USER alice", "CAPA", "PASS secret")

    assert said.endswith(b"\r\n+OK maildrop has 3 messages (56 octets)\r\n")


@pytest.mark.parametrize("commands", [[], ["USER alice"], ["USER alice", "PASS wrong"]])
def test_quit_before_login_ends_without_an_update(connect: Connect, commands: list[str]) -> None:
    """P-028, Q-017: one positive reply, and nothing else happens (RFC 1939 section 4)."""
    client = connect(THREE)
    client.ask(*commands)

    assert client.ask("QUIT", "USER alice") == b"+OK bye\r\n"
    assert client.session.is_closed
    assert client.session.state is State.AUTHORIZATION
