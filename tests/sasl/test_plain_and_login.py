"""PLAIN and LOGIN: what is taken from a message, and what is none (RFC 4616)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import AuthenticationFailed, Challenge, MechanismContext, PlainCredentials
from popframe.sasl.login import Login
from popframe.sasl.plain import Plain, PlainExchange


def plain(message: bytes) -> PlainCredentials:
    """Return what PLAIN makes of a message."""
    answer = PlainExchange().respond(message)
    assert isinstance(answer, PlainCredentials)
    return answer


@pytest.mark.parametrize(
    ("message", "username", "password", "authorization"),
    [
        (b"\0test\0test", "test", b"test", ""),
        (b"test\0test\0test", "test", b"test", "test"),
        (b"\0tim\0tanstaaftanstaaf", "tim", b"tanstaaftanstaaf", ""),
        (b"Ursel\0Kurt\0xipj3plmq", "Kurt", b"xipj3plmq", "Ursel"),
        (b"\0b\xc2\xadob\0p w ", "bob", b"p w ", ""),
        ("\0\uff42ob\0p\u00e4".encode(), "bob", "p\u00e4".encode(), ""),
        (b"a" * 255 + b"\0" + b"b" * 255 + b"\0" + b"c" * 255, "b" * 255, b"c" * 255, "a" * 255),
    ],
)
def test_plain_takes_three_fields(message: bytes, username: str, password: bytes, authorization: str) -> None:
    """A-043, A-039, A-046: names are prepared, passwords are not; the examples of RFC 4616 section 4."""
    answer = plain(message)

    assert (answer.username, answer.password, answer.authorization) == (username, password, authorization)
    assert password.decode() not in repr(answer) or password.decode() in (username, authorization)


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"bob", b"\0bob", b"\0\0pw", b"\0bob\0pw\0x", b"bob\0pw", b"\0", b"\0\0", b"\0\0\0"),
        *(b"\0b\x07b\0pw", b"\0\xc2\xad\0pw", "\0\ue000\0pw".encode(), b"\xc2\xad\0bob\0pw"),
        *(b"\0bob\0\xc0\x80", b"\0bob\0\xed\xa0\x80", b"\0bob\0\xff", b"\0\xff\0pw", b"\xff\0bob\0pw"),
    ],
)
def test_what_is_no_message_of_plain_is_refused(message: bytes) -> None:
    """A-039, A-045, A-047, H-042: NUL counts, empty and unprepared names, octets that are not UTF-8."""
    with pytest.raises(AuthenticationFailed) as caught:
        plain(message)

    assert "pw" not in str(caught.value)


@given(st.binary())
def test_any_octets_are_credentials_or_a_refusal(message: bytes) -> None:
    """H-042: and nothing else."""
    try:
        answer = plain(message)
    except AuthenticationFailed:
        return

    assert answer.username
    assert answer.username.isprintable()
    assert b"\0" not in answer.password


def test_plain_asks_with_an_empty_challenge(context: MechanismContext) -> None:
    """A-022: where no initial response came."""
    mechanism = Plain()

    assert mechanism.reveals_password
    assert mechanism.start(context).respond(None) == Challenge(b"")


@pytest.mark.parametrize("has_initial", [False, True])
def test_login_asks_for_name_and_password(context: MechanismContext, has_initial: bool) -> None:
    """A-048, A-050: in the very words that clients look for; the name may have come with AUTH."""
    mechanism = Login()
    exchange = mechanism.start(context)

    assert mechanism.reveals_password
    if not has_initial:
        assert exchange.respond(None) == Challenge(b"Username:")
    assert exchange.respond(b"test") == Challenge(b"Password:")
    assert exchange.respond(b"t st\xff") == PlainCredentials("test", b"t st\xff")


@pytest.mark.parametrize("responses", [(b"",), (b"\xff",), (b"a\0b",), (b"test", b"a\0b")])
def test_what_login_cannot_use_is_refused(context: MechanismContext, responses: tuple[bytes, ...]) -> None:
    """A-047, H-042: names that are none, and a NUL."""
    exchange = Login().start(context)
    *before, last = responses
    for response in before:
        exchange.respond(response)

    with pytest.raises(AuthenticationFailed):
        exchange.respond(last)
