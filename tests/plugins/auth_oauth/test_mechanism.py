"""OAUTHBEARER and XOAUTH2 as AUTH runs them: what the client is told, and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from popframe import (
    AuthenticationFailed,
    Challenge,
    Exchange,
    Mechanism,
    Peer,
    Proven,
    StoredSecret,
    TemporaryFailure,
    Tls,
)
from popframe_auth_oauth import AuthOauth, AuthOauthSettings

from .issuer import BAD_TOKENS, USERNAME, Website, claims, token

MakeSettings = Callable[..., AuthOauthSettings]
Start = Callable[..., Exchange]

PEER = Peer("192.0.2.1", 40000, "192.0.2.2", 995, Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", "pop.example.org"))


class Context:
    """What an exchange may ask: nothing but where the client is."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.claimed = ""

    def claim(self, username: str) -> None:
        """Keep it."""
        self.claimed = username

    def lookup_secret(self, username: str, scheme: str) -> StoredSecret | None:
        """Fail: nobody's secret is needed."""
        raise AssertionError

    def lookup_account(self, username: str) -> None:
        """Fail: the server looks for the account itself."""
        raise AssertionError

    def random_octets(self, count: int) -> bytes:
        """Fail: nothing random is needed."""
        raise AssertionError

    def decoy_octets(self, label: str, count: int) -> bytes:
        """Fail: nobody is made up."""
        raise AssertionError

    def typical_iterations(self, scheme: str) -> int:
        """Fail: nothing is iterated."""
        raise AssertionError


def mechanisms(settings: AuthOauthSettings) -> dict[str, Mechanism]:
    """Return the mechanisms that the plugin offers."""
    return {mechanism.name: mechanism for mechanism in AuthOauth(settings).popframe_register_mechanisms()}


@pytest.fixture
def start(make_settings: MakeSettings) -> Start:
    """Return a function that begins an exchange."""

    def start(name: str, peer: Peer = PEER, **settings: object) -> Exchange:
        return mechanisms(make_settings(**settings))[name].start(Context(peer))

    return start


def oauthbearer(octets: bytes, username: str = "", more: str = "") -> bytes:
    """Return the client's message."""
    authzid = f"a={username}" if username else ""
    return f"n,{authzid},\x01{more}auth=Bearer ".encode() + octets + b"\x01\x01"


def xoauth2(octets: bytes, username: str = USERNAME) -> bytes:
    """Return the client's message."""
    return f"user={username}\x01auth=Bearer ".encode() + octets + b"\x01\x01"


def error(step: object) -> dict[str, str]:
    """Return what a challenge says of an error."""
    assert isinstance(step, Challenge)
    assert step.is_refusal
    content: dict[str, str] = json.loads(step.content)
    return content


def test_both_are_offered_under_tls_alone(make_settings: MakeSettings) -> None:
    """A-071: a bearer token is as good as a password, and better (RFC 7628 section 3)."""
    offered = mechanisms(make_settings())
    clear = Peer("127.0.0.1")

    assert list(offered) == ["OAUTHBEARER", "XOAUTH2"]
    assert all(mechanism.reveals_password and not mechanism.needs_secret for mechanism in offered.values())
    assert [mechanism.suits(peer) for mechanism in offered.values() for peer in (PEER, clear)] == [True, False] * 2
    assert all(mechanism.suits(clear) for mechanism in mechanisms(make_settings(require_tls=False)).values())


@pytest.mark.parametrize("name", ["OAUTHBEARER", "XOAUTH2"])
@pytest.mark.parametrize("is_initial", [True, False], ids=["initial response", "two steps"])
def test_good_token_proves_its_user(start: Start, name: str, is_initial: bool) -> None:
    """A-072, A-078: with an initial response, and without one."""
    exchange = start(name)
    message = oauthbearer(token(), USERNAME) if name == "OAUTHBEARER" else xoauth2(token())
    if not is_initial:
        assert exchange.respond(None) == Challenge(b"")

    assert exchange.respond(message) == Proven(USERNAME)


def test_without_a_name_it_is_whose_token_it_is(start: Start) -> None:
    """RFC 7628 section 3.1: the name may be left out."""
    assert start("OAUTHBEARER").respond(oauthbearer(token())) == Proven(USERNAME)


@pytest.mark.parametrize("name", ["OAUTHBEARER", "XOAUTH2"])
def test_another_name_is_left_to_the_server(start: Start, name: str) -> None:
    """A-077: it knows under which names a user is known, and who may log in as somebody else."""
    make = oauthbearer if name == "OAUTHBEARER" else xoauth2

    assert start(name).respond(make(token(), "bob")) == Proven(USERNAME, authorization="bob")


@pytest.mark.parametrize("name", ["OAUTHBEARER", "XOAUTH2"])
@pytest.mark.parametrize(
    ("in_token", "sent", "authorization"),
    [
        ("jos\u00e9@example.org", "jose\u0301@example.org", ""),
        ("jose\u0301@example.org", "jos\u00e9@example.org", ""),
        ("jose\u0301@example.org", "jose\u0301@example.org", ""),
        ("\uff41lice", "alice", ""),
        ("alice", "\uff41lice", ""),
        ("bob", "\uff41lice", "alice"),
        ("a\ufffd", "a", "a"),
    ],
)
def test_names_are_compared_prepared(start: Start, name: str, in_token: str, sent: str, authorization: str) -> None:
    """A-039, A-077: keyboards differ in how they write a letter; but who somebody is, the token says as it is."""
    make = oauthbearer if name == "OAUTHBEARER" else xoauth2
    step = start(name).respond(make(token(claims(email=in_token)), sent))

    assert step == Proven(in_token, authorization=authorization)


@pytest.mark.parametrize("kind", BAD_TOKENS)
@pytest.mark.parametrize("last", [b"\x01", b"", b"anything", oauthbearer(b"x")], ids=repr)
@pytest.mark.parametrize("name", ["OAUTHBEARER", "XOAUTH2"])
def test_bad_token_is_told_then_refused(start: Start, name: str, kind: str, last: bytes) -> None:
    """A-073, A-078: an error as JSON, then whatever the client says ends in a failure."""
    exchange = start(name)
    message = oauthbearer(BAD_TOKENS[kind](), USERNAME) if name == "OAUTHBEARER" else xoauth2(BAD_TOKENS[kind]())

    assert error(exchange.respond(message))["status"] == ("invalid_token" if name == "OAUTHBEARER" else "401")
    with pytest.raises(AuthenticationFailed, match=f"^{name}: the token is refused: it"):
        exchange.respond(last)


def test_good_token_behind_a_bad_one_is_not_taken(start: Start) -> None:
    """A failed exchange cannot be saved (RFC 7628 section 3.2.3)."""
    exchange = start("OAUTHBEARER")
    exchange.respond(oauthbearer(BAD_TOKENS["expired"]()))

    with pytest.raises(AuthenticationFailed):
        exchange.respond(oauthbearer(token()))


def test_lone_separator_as_first_message_is_refused(start: Start) -> None:
    """A-076: it answers an error, and there was none."""
    for name in ("OAUTHBEARER", "XOAUTH2"):
        with pytest.raises(AuthenticationFailed):
            start(name).respond(b"\x01")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,\x01auth=Bearer x",
        b"n,,\x01auth=Bearer x\x01",
        b"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01",
        b"\xff",
    ],
    ids=repr,
)
def test_malformed_message_is_told_then_refused(start: Start, message: bytes) -> None:
    """A-076, H-045: truncated, or ambiguous."""
    exchange = start("OAUTHBEARER")

    assert error(exchange.respond(message)) == {"status": "invalid_request"}
    with pytest.raises(AuthenticationFailed, match="malformed message"):
        exchange.respond(b"\x01")


def test_client_is_told_what_a_token_needs(start: Start) -> None:
    """RFC 7628 section 3.2.2: the scope, and where to get a token."""
    address = "https://issuer.example.org/.well-known/openid-configuration"
    settings = {"required_scopes": ("mail", "pop"), "openid_configuration": address}
    told = error(start("OAUTHBEARER", **settings).respond(oauthbearer(token())))

    assert told == {"status": "insufficient_scope", "scope": "mail pop", "openid-configuration": address}
    assert error(start("XOAUTH2", **settings).respond(xoauth2(token())))["scope"] == "mail pop"


@pytest.mark.parametrize(
    ("more", "settings", "is_right"),
    [
        ("host=pop.example.org\x01port=995\x01", {}, True),
        ("host=POP.Example.Org.\x01", {}, True),
        ("host=evil.example\x01", {}, False),
        ("host=\x01", {}, False),
        ("port=110\x01", {}, False),
        ("port=0995\x01", {}, False),
        ("port=x\x01", {}, False),
        ("port=\x01", {}, False),
        ("host=mail.example.org\x01", {"hosts": ("a.example", "Mail.Example.Org")}, True),
        ("host=pop.example.org\x01", {"hosts": ("a.example", "mail.example.org")}, False),
        ("port=110\x01", {"ports": (110, 1995)}, True),
        ("port=995\x01", {"ports": (110, 1995)}, False),
    ],
)
def test_host_and_port_are_those_of_this_server(
    start: Start, more: str, settings: dict[str, object], is_right: bool
) -> None:
    """A-074: a client that means another server is not let in with its token here (RFC 7628 section 3.2)."""
    step = start("OAUTHBEARER", **settings).respond(oauthbearer(token(), more=more))

    if is_right:
        assert step == Proven(USERNAME)
    else:
        assert error(step) == {"status": "invalid_request"}


def test_host_that_the_server_cannot_know_is_not_held_against_a_client(start: Start) -> None:
    """A client that connects to an address asks for no name by TLS."""
    peer = Peer("192.0.2.1", tls=Tls("TLSv1.3", "x"))

    assert start("OAUTHBEARER", peer).respond(oauthbearer(token(), more="host=192.0.2.2\x01port=995\x01")) == Proven(
        USERNAME
    )


def test_token_that_cannot_be_checked_is_no_wrong_one(make_settings: MakeSettings, website: Website) -> None:
    """The issuer's website is down: the client keeps its token, and comes back."""
    website.status = 500
    offered = mechanisms(make_settings(jwks_url=website.url))

    with pytest.raises(TemporaryFailure):
        offered["OAUTHBEARER"].start(Context(PEER)).respond(oauthbearer(token()))


def test_keys_are_shared_by_both_mechanisms(make_settings: MakeSettings, website: Website) -> None:
    """One request for all."""
    offered = mechanisms(make_settings(jwks_url=website.url))
    for name, message in (("OAUTHBEARER", oauthbearer(token())), ("XOAUTH2", xoauth2(token()))) * 3:
        assert offered[name].start(Context(PEER)).respond(message) == Proven(USERNAME)

    assert website.paths == ["/keys"]


@pytest.mark.parametrize(
    ("name", "message", "claimed"),
    [
        ("OAUTHBEARER", oauthbearer(b"x", "carol"), "carol"),
        ("OAUTHBEARER", oauthbearer(b"x"), ""),
        ("XOAUTH2", xoauth2(b"x", "carol"), "carol"),
    ],
)
def test_name_that_a_client_claims_is_told_for_the_log(
    make_settings: MakeSettings, name: str, message: bytes, claimed: str
) -> None:
    """Whose mail somebody without a good token wanted."""
    context = Context(PEER)
    error(mechanisms(make_settings())[name].start(context).respond(message))

    assert context.claimed == claimed


def test_no_token_is_in_a_refusal(start: Start) -> None:
    """Neither a part of it, nor a claim (I-6)."""
    octets = token(claims(aud="somebody-elses-secret"))
    exchange = start("XOAUTH2")
    exchange.respond(xoauth2(octets))

    with pytest.raises(AuthenticationFailed) as caught:
        exchange.respond(b"")
    assert "secret" not in str(caught.value)
    assert not any(part in str(caught.value) for part in octets.decode().split("."))
