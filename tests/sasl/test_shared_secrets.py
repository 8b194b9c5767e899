"""APOP and CRAM-MD5: digests of a password that the server can read (RFC 1939 section 7, RFC 2195)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Protocol

import pytest

from popframe import Account, AuthenticationFailed, Challenge, MechanismContext, Proven
from popframe.sasl.apop import Apop, ApopExchange
from popframe.sasl.cram_md5 import CramMd5, CramMd5Exchange


class Secrets(MechanismContext, Protocol):
    """The context of these tests."""

    secrets: dict[tuple[str, str], bytes]


STAMP = b"<1896.697170952@dbc.mtview.ca.us>"
CHALLENGE = b"<1896.697170952@postoffice.reston.mci.net>"


def test_apop_reproduces_the_published_digest(context: Secrets) -> None:
    """A-014: the example of RFC 1939 section 7."""
    context.secrets["mrose", "plain"] = b"tanstaaf"
    message = STAMP + b"\0mrose\0c4c9334bac560ecc979e58001b3e22fb"

    assert Apop().start(context).respond(message) == Proven("mrose", Account("mrose"))


DIGEST = b"c4c9334bac560ecc979e58001b3e22fb"


@pytest.mark.parametrize(
    "digest",
    [b"", DIGEST[:-1], DIGEST + b"0", DIGEST * 2, DIGEST.upper(), b"z" * 32, b"0" * 32, DIGEST + b"\0", b"\xff" * 32],
)
def test_another_digest_is_refused_by_apop(context: Secrets, digest: bytes) -> None:
    """A-015, A-016: of any form; upper case is not the digest."""
    context.secrets["mrose", "plain"] = b"tanstaaf"

    with pytest.raises(AuthenticationFailed):
        ApopExchange(context).respond(STAMP + b"\0mrose\0" + digest)


@pytest.mark.parametrize("message", [None, b"", STAMP, STAMP + b"\0mrose", STAMP + b"\0\xff\0" + DIGEST])
def test_what_is_no_message_of_apop_is_refused(context: Secrets, message: bytes | None) -> None:
    """A-016: whatever comes."""
    with pytest.raises(AuthenticationFailed):
        ApopExchange(context).respond(message)


def test_a_digest_of_another_connection_is_refused(context: Secrets) -> None:
    """A-015, H-044: it was made of another timestamp."""
    context.secrets["mrose", "plain"] = b"tanstaaf"

    with pytest.raises(AuthenticationFailed, match="wrong digest"):
        ApopExchange(context).respond(b"<1897.697170952@dbc.mtview.ca.us>\0mrose\0" + DIGEST)


def test_cram_md5_reproduces_the_published_digest(context: Secrets) -> None:
    """A-051: the example of RFC 2195 section 2."""
    context.secrets["tim", "plain"] = b"tanstaaftanstaaf"
    exchange = CramMd5Exchange(context, CHALLENGE)

    assert exchange.respond(None) == Challenge(CHALLENGE)
    assert exchange.respond(b"tim b913a602c7eda7a495b4e6e7334d3890") == Proven("tim", Account("tim"))


def test_the_challenge_of_cram_md5_is_a_message_id(context: Secrets) -> None:
    """A-051, H-044: made of random octets."""
    challenge = CramMd5().start(context).respond(None)

    assert challenge == Challenge(b"<" + bytes(range(16)).hex().encode() + b"@popframe>")


def test_cram_md5_splits_at_the_last_blank(context: Secrets) -> None:
    """A-052: names may have some."""
    context.secrets["a b", "plain"] = b"secret"
    exchange = CramMd5Exchange(context, CHALLENGE)
    exchange.respond(None)
    digest = hmac.new(b"secret", CHALLENGE, "md5").hexdigest().encode()

    assert exchange.respond(b"a b " + digest) == Proven("a b", Account("a b"))


@pytest.mark.parametrize(
    "response", [b"", b"tim", b"tim ", b" b913a602c7eda7a495b4e6e7334d3890", b"tim B913A602C7EDA7A495B4E6E7334D3890"]
)
def test_what_is_no_response_of_cram_md5_is_refused(context: Secrets, response: bytes) -> None:
    """A-052: no name, no digest, or one in upper case."""
    context.secrets["tim", "plain"] = b"tanstaaftanstaaf"
    exchange = CramMd5Exchange(context, CHALLENGE)
    exchange.respond(None)

    with pytest.raises(AuthenticationFailed):
        exchange.respond(response)


def test_cram_md5_takes_no_initial_response(context: Secrets) -> None:
    """A-026: the server speaks first (RFC 5034 section 4)."""
    with pytest.raises(AuthenticationFailed, match="before the challenge"):
        CramMd5().start(context).respond(b"AAAA")


def test_a_user_who_does_not_exist_is_refused_after_a_digest(context: Secrets) -> None:
    """H-046: even for the digest of the decoy."""
    decoy = context.decoy_octets("secret of nobody", 16)
    digest = hashlib.md5(STAMP + decoy, usedforsecurity=False).hexdigest().encode()

    with pytest.raises(AuthenticationFailed, match="unknown user"):
        ApopExchange(context).respond(STAMP + b"\0nobody\0" + digest)
