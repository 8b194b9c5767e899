"""Messages of OAUTHBEARER and XOAUTH2, well-formed and not."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from popframe import AuthenticationFailed, PlainCredentials
from popframe.sasl.plain import PlainExchange
from popframe_auth_oauth.message import (
    BearerMessage,
    oauthbearer_error,
    parse_oauthbearer,
    parse_xoauth2,
    xoauth2_error,
)

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1)


def test_message_of_the_rfc_is_read() -> None:
    """The example of RFC 7628 section 4.1."""
    message = (
        b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01"
        b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
    )

    assert parse_oauthbearer(message) == BearerMessage(
        b"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", "user@example.com", "server.example.com", "143"
    )


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER", b"bEaReR"])
def test_scheme_is_not_case_sensitive(scheme: bytes) -> None:
    """A-075: the name of a scheme may be in any case (RFC 7628 section 4.1, RFC 9110 section 11.1)."""
    assert parse_oauthbearer(b"n,,\x01auth=" + scheme + b" tok\x01\x01").token == b"tok"
    assert parse_xoauth2(b"user=alice\x01auth=" + scheme + b" tok\x01\x01").token == b"tok"


def test_unknown_keys_are_ignored() -> None:
    """A-075: also when they are there twice, and in any order (RFC 7628 section 3.1)."""
    assert parse_oauthbearer(b"y,,\x01foo=bar\x01auth=Bearer tok\x01foo=\x01mtd=GET\x01\x01") == BearerMessage(b"tok")
    assert parse_xoauth2(b"foo=bar\x01auth=Bearer tok\x01user=bob\x01\x01") == BearerMessage(b"tok", "bob")


def test_comma_and_equals_sign_in_a_name_are_escaped() -> None:
    """RFC 5801 section 4."""
    assert parse_oauthbearer(b"n,a=a=2Cb=3Dc,\x01auth=Bearer t\x01\x01").username == "a,b=c"


def both(name: str) -> list[BearerMessage]:
    """Return what is read of the messages of both mechanisms with a name."""
    escaped = name.replace("=", "=3D").replace(",", "=2C")
    return [
        parse_oauthbearer(f"n,a={escaped},\x01auth=Bearer t\x01\x01".encode()),
        parse_xoauth2(f"user={name}\x01auth=Bearer t\x01\x01".encode()),
    ]


@given(NAMES)
@example("a,=b")
@example("\uff0ca\uff1d")
def test_every_name_arrives_as_with_the_other_mechanisms(name: str) -> None:
    """A-039: whatever a client calls its user, in UTF-8; what PLAIN refuses is refused."""
    try:
        prepared = PlainExchange().respond(f"\0{name}\0x".encode())
    except AuthenticationFailed:
        with pytest.raises(ValueError, match="the name"):
            both(name)
        return
    assert isinstance(prepared, PlainCredentials)

    assert [message.username for message in both(name)] == [prepared.username] * 2


@pytest.mark.parametrize(
    ("name", "prepared"),
    [("I\u00adX", "IX"), ("\u2168", "IX"), ("jose\u0301", "jos\u00e9"), ("\uff42ob", "bob"), ("\u05d01", "\u05d01")],
)
def test_name_is_prepared(name: str, prepared: str) -> None:
    """A-039: examples of RFC 4013 section 3, and mixed directions, which are no reason to refuse."""
    assert [message.username for message in both(name)] == [prepared] * 2


@pytest.mark.parametrize("name", ["a\x07b", "\ue000", "\u00ad", "\ufffd", "a\u202eb", "a\x7fb"])
def test_name_that_can_be_nobodys_is_refused(name: str) -> None:
    """A-039: prohibited characters, or nothing left (RFC 5034 section 4)."""
    for message in (f"n,a={name},\x01auth=Bearer tok\x01\x01", f"user={name}\x01auth=Bearer tok\x01\x01"):
        with pytest.raises(ValueError, match="the name: ") as caught:
            (parse_oauthbearer if message.startswith("n") else parse_xoauth2)(message.encode())
        assert name not in str(caught.value)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x01",
        b"\x01\x01",
        b"n,,",
        b"n,,\x01",
        b"n,,\x01\x01",
        b"n,,\x01auth=Bearer tok",
        b"n,,\x01auth=Bearer tok\x01",
        b"n,,auth=Bearer tok\x01\x01",
        b"n,,\x01auth=Bearer tok\x01\x01\x01",
        b"n,,\x01\x01auth=Bearer tok\x01\x01",
        b"n,,\x01auth=Bearer tok\x01host=a\x01auth=Bearer other\x01\x01",
        b"n,,\x01auth=Bearer tok\x01host=a\x01host=b\x01\x01",
        b"n,,\x01auth=Bearer tok\x01port=1\x01port=1\x01\x01",
        b"n,,\x01auth=Bearer\x01\x01",
        b"n,,\x01auth=Bearer \x01\x01",
        b"n,,\x01auth=Basic dG9r\x01\x01",
        b"n,,\x01auth=Bearer a b\x01\x01",
        b"n,,\x01auth=Bearer tok \x01\x01",
        b"n,,\x01auth=Bearer t\xc3\xb6k\x01\x01",
        b"n,,\x01auth=Bearer t\x00k\x01\x01",
        b"n,,\x01AUTH=Bearer tok\x01\x01",
        b"n,,\x01auth\x01\x01",
        b"n,,\x01=x\x01auth=Bearer tok\x01\x01",
        b"n,,\x01a-b=x\x01auth=Bearer tok\x01\x01",
        b"n,,\x01foo=\x00\x01auth=Bearer tok\x01\x01",
        b"n,\x01auth=Bearer tok\x01\x01",
        b"n\x01auth=Bearer tok\x01\x01",
        b"n,,,\x01auth=Bearer tok\x01\x01",
        b"n,alice,\x01auth=Bearer tok\x01\x01",
        b"n,a=,\x01auth=Bearer tok\x01\x01",
        b"n,a=a=2cb,\x01auth=Bearer tok\x01\x01",
        b"n,a=a=,\x01auth=Bearer tok\x01\x01",
        b"n,a=\xff,\x01auth=Bearer tok\x01\x01",
        b"n,a=a\x00b,\x01auth=Bearer tok\x01\x01",
        b"n,a=a\nb,\x01auth=Bearer tok\x01\x01",
        b"p=tls-unique,,\x01auth=Bearer tok\x01\x01",
        b"F,n,,\x01auth=Bearer tok\x01\x01",
        b"N,,\x01auth=Bearer tok\x01\x01",
        b"user=alice\x01auth=Bearer tok\x01\x01",
    ],
)
def test_malformed_oauthbearer_is_refused(message: bytes) -> None:
    """A-076, H-045: what is not closed, or there twice, is no message (RFC 7628 section 3.1)."""
    with pytest.raises(ValueError, match=r"[a-z]") as caught:
        parse_oauthbearer(message)
    assert "tok" not in str(caught.value).replace("token", "")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x01",
        b"user=alice\x01auth=Bearer tok",
        b"user=alice\x01auth=Bearer tok\x01",
        b"user=alice\x01user=bob\x01auth=Bearer tok\x01\x01",
        b"user=alice\x01auth=Bearer a\x01auth=Bearer b\x01\x01",
        b"user=\x01auth=Bearer tok\x01\x01",
        b"auth=Bearer tok\x01\x01",
        b"user=alice\x01\x01",
        b"user=\xff\x01auth=Bearer tok\x01\x01",
        b"user=a\x00b\x01auth=Bearer tok\x01\x01",
        b"n,a=alice,\x01auth=Bearer tok\x01\x01",
    ],
)
def test_malformed_xoauth2_is_refused(message: bytes) -> None:
    """A name and one token, and everything closed by ^A."""
    with pytest.raises(ValueError, match=r"[a-z]"):
        parse_xoauth2(message)


@given(st.binary(max_size=60) | st.text("\x01=,nay user=authBearer", max_size=60).map(str.encode))
def test_any_octets_are_a_message_or_refused(octets: bytes) -> None:
    """Nothing but ValueError comes out, and what is accepted has a token."""
    for parse in (parse_oauthbearer, parse_xoauth2):
        with contextlib.suppress(ValueError):
            assert parse(octets).token


def test_token_is_not_in_the_representation() -> None:
    """A message may get into a trace; a token may not."""
    assert "sesame" not in repr(parse_xoauth2(b"user=alice\x01auth=Bearer sesame\x01\x01"))


def test_error_of_oauthbearer_has_the_members_of_the_rfc() -> None:
    """RFC 7628 section 3.2.2: status always, scope and openid-configuration when there are any."""
    full = oauthbearer_error("invalid_token", ["mail", "openid"], "https://issuer.example/c")

    assert json.loads(oauthbearer_error("invalid_token", (), "")) == {"status": "invalid_token"}
    assert json.loads(full) == {
        "status": "invalid_token",
        "scope": "mail openid",
        "openid-configuration": "https://issuer.example/c",
    }


def test_error_of_xoauth2_has_a_status_of_http() -> None:
    """Clients of XOAUTH2 look for a number, and for the scheme."""
    assert json.loads(xoauth2_error("invalid_token", ["mail"], "")) == {
        "status": "401",
        "schemes": "bearer",
        "scope": "mail",
    }
    assert json.loads(xoauth2_error("invalid_request", (), ""))["status"] == "400"
