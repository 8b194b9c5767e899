"""Which tokens let somebody in, and which do not (RFC 7519, RFC 8725)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OKPKey

from popframe_auth_oauth import AuthOauthSettings
from popframe_auth_oauth.bearer_token import MAX_HEADER_OCTETS, MAX_TOKEN_OCTETS, TokenCheck, TokenRefused
from popframe_auth_oauth.key_set import KeySet, parse_key_set

from .issuer import (
    AUDIENCE,
    BAD_TOKENS,
    EC_KEY,
    OTHER_RSA_KEY,
    RSA_KEY,
    USERNAME,
    claims,
    ec_key,
    key_set,
    public,
    signed_by_hand,
    signed_with_the_public_key,
    token,
    unsigned,
)

MakeSettings = Callable[..., AuthOauthSettings]


class Keys:
    """Keys in memory, with others that come when they are asked for."""

    def __init__(self, keys: KeySet, newer: KeySet | None = None) -> None:
        self.keys = keys
        self.later = newer
        self.asked = 0

    def current(self) -> KeySet:
        """Return the keys."""
        return self.keys

    def newer(self, known: KeySet) -> KeySet | None:
        """Return the others."""
        assert known is self.keys
        self.asked += 1
        return self.later


@pytest.fixture
def check(make_settings: MakeSettings) -> TokenCheck:
    """Return a check with the usual settings and keys."""
    return TokenCheck(make_settings(), Keys(parse_key_set(key_set())))


def refusal(check: TokenCheck, octets: bytes) -> str:
    """Return why a token is refused."""
    with pytest.raises(TokenRefused) as caught:
        check.username(octets)
    return str(caught.value)


def test_good_token_says_whose_it_is(check: TokenCheck) -> None:
    """The claim email, by default."""
    assert check.username(token()) == USERNAME


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_bad_token_is_refused(check: TokenCheck, kind: str) -> None:
    """Whoever made it; and the reason holds nothing of it."""
    octets = BAD_TOKENS[kind]()
    reason = refusal(check, octets)

    assert "evil" not in reason
    assert octets.decode().split(".")[1] not in reason


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"iss": None}, "its claim 'iss' is missing, or not right"),
        ({"aud": None}, "its claim 'aud' is missing, or not right"),
        ({"exp": None}, "its claim 'exp' is missing, or not right"),
        ({"exp": "tomorrow"}, "its claim 'exp' is missing, or not right"),
        ({"exp": float("nan")}, "its claim 'exp' is missing, or not right"),
        ({"exp": True}, "its claim 'exp' is missing, or not right"),
        ({"iss": ["https://issuer.example.org/realm"]}, "its claim 'iss' is missing, or not right"),
        ({"aud": {"a": AUDIENCE}}, "its claim 'aud' is missing, or not right"),
        ({"aud": []}, "its claim 'aud' is missing, or not right"),
        ({"aud": AUDIENCE + "x"}, "its claim 'aud' is missing, or not right"),
        ({"iat": 2**40}, "its claim 'iat' is missing, or not right"),
        ({"exp": 0}, "it has expired"),
        ({"email": None}, "it has no claim 'email'"),
        ({"email": ""}, "its claim 'email' is no name"),
        ({"email": ["alice"]}, "its claim 'email' is no name"),
        ({"email": "a\nb"}, "its claim 'email' is no name"),
        ({"email": "a\x00"}, "its claim 'email' is no name"),
        ({"email": "\ud800"}, "its claim 'email' is no name"),
        ({"email_verified": None}, "its claim 'email' is not said to be verified"),
        ({"email_verified": False}, "its claim 'email' is not said to be verified"),
        ({"email_verified": "true"}, "its claim 'email' is not said to be verified"),
    ],
    ids=str,
)
def test_claim_that_is_missing_or_wrong_is_refused(check: TokenCheck, changed: dict[str, object], reason: str) -> None:
    """A claim has its type and its value, and a signature makes no wrong one right (RFC 7519 section 4.1)."""
    assert refusal(check, signed_by_hand(claims(**changed))) == reason


def test_one_of_several_audiences_is_enough(make_settings: MakeSettings) -> None:
    """A token may be meant for more than one server, and a server have more than one name (RFC 7519 section 4.1.3)."""
    check = TokenCheck(make_settings(audiences=("a", "b")), Keys(parse_key_set(key_set())))

    assert check.username(token(claims(aud=["x", "b"]))) == USERNAME
    assert refusal(check, token(claims(aud=["x", "ab"])))


def test_leeway_holds_for_both_ends(make_settings: MakeSettings) -> None:
    """Clocks differ, and not by more than is set (RFC 7519 section 4.1.4)."""
    check = TokenCheck(make_settings(leeway_seconds=60), Keys(parse_key_set(key_set())))
    now = int(time.time())

    assert check.username(token(claims(exp=now - 40, iat=now - 600))) == USERNAME
    assert check.username(token(claims(nbf=now + 40))) == USERNAME
    assert refusal(check, token(claims(exp=now - 70)))
    assert refusal(check, token(claims(nbf=now + 80)))


def test_first_claim_that_is_there_is_the_name(make_settings: MakeSettings) -> None:
    """A site says where its issuer keeps the name."""
    settings = make_settings(username_claims=("upn", "email"), require_verified_email=False)
    check = TokenCheck(settings, Keys(parse_key_set(key_set())))

    assert check.username(token(claims(upn="alice"))) == "alice"
    assert check.username(token(claims(email_verified=None))) == USERNAME
    assert refusal(check, token(claims(upn=7))) == "its claim 'upn' is no name"
    assert refusal(check, token(claims(email=None))) == "it has no claim 'upn' or 'email'"


@pytest.mark.parametrize(
    "changed",
    [
        {"scope": "mail a"},
        {"scope": None, "scp": "a mail"},
        {"scope": None, "scp": ["mail", "a"]},
        {"scope": "mail", "scp": "a"},
    ],
    ids=str,
)
def test_scope_may_be_said_in_any_usual_form(make_settings: MakeSettings, changed: dict[str, object]) -> None:
    """RFC 8693 section 4.2, and what others do."""
    check = TokenCheck(make_settings(required_scopes=("mail", "a")), Keys(parse_key_set(key_set())))

    assert check.username(token(claims(**changed))) == USERNAME


@pytest.mark.parametrize("scope", [None, "", "mailbox", "openid a", 7, [["mail"]]])
def test_missing_scope_is_told_as_such(make_settings: MakeSettings, scope: object) -> None:
    """The client may get another token then (RFC 6750 section 3.1)."""
    check = TokenCheck(make_settings(required_scopes=("mail",)), Keys(parse_key_set(key_set())))

    with pytest.raises(TokenRefused, match="it lacks the scope mail") as caught:
        check.username(token(claims(scope=scope)))
    assert caught.value.status == "insufficient_scope"


def test_algorithms_are_those_of_the_settings(make_settings: MakeSettings) -> None:
    """A token does not choose its algorithm, even where the key fits (RFC 8725 section 3.1)."""
    keys = Keys(parse_key_set(key_set(public(RSA_KEY), public(EC_KEY, "e1"))))
    check = TokenCheck(make_settings(algorithms=("PS256", "ES256")), keys)

    assert check.username(token(alg="PS256")) == USERNAME
    assert check.username(token(alg="ES256", key=EC_KEY, kid="e1")) == USERNAME
    assert refusal(check, token(alg="RS256")) == "its algorithm is not one of PS256, ES256"
    assert refusal(check, token(alg="PS384"))
    assert refusal(check, token(alg="ES256", key=EC_KEY, kid="k1"))


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_every_rsa_signature_that_can_be_set_works(make_settings: MakeSettings, algorithm: str) -> None:
    """RFC 7518 sections 3.3 and 3.5."""
    check = TokenCheck(make_settings(algorithms=(algorithm,)), Keys(parse_key_set(key_set())))

    assert check.username(token(alg=algorithm)) == USERNAME


@pytest.mark.parametrize(("algorithm", "bits"), [("ES256", 256), ("ES384", 384), ("ES512", 521)])
def test_every_ecdsa_signature_that_can_be_set_works(
    make_settings: MakeSettings, algorithm: str, bits: Literal[256, 384, 521]
) -> None:
    """RFC 7518 section 3.4."""
    key = ec_key(bits)
    check = TokenCheck(make_settings(algorithms=(algorithm,)), Keys(parse_key_set(key_set(public(key)))))

    assert check.username(token(alg=algorithm, key=key)) == USERNAME


def test_ed25519_works(make_settings: MakeSettings) -> None:
    """RFC 9864."""
    key = OKPKey.generate_key("Ed25519")
    check = TokenCheck(make_settings(algorithms=("Ed25519",)), Keys(parse_key_set(key_set(public(key)))))

    assert check.username(token(alg="Ed25519", key=key)) == USERNAME


def test_no_symmetric_algorithm_can_be_set(make_settings: MakeSettings) -> None:
    """None of those where whoever can check a token can make one."""
    for algorithm in ("none", "HS256", "HS384", "HS512", "EdDSA", "dir"):
        with pytest.raises(ValueError, match="algorithms"):
            make_settings(algorithms=(algorithm,))


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "", "RS256"])
def test_token_without_signature_is_refused(check: TokenCheck, alg: str) -> None:
    """In every spelling (RFC 8725 section 3.2)."""
    assert refusal(check, unsigned(alg=alg))


def test_symmetric_key_in_the_set_signs_nothing(make_settings: MakeSettings) -> None:
    """Not even where the issuer publishes one by mistake."""
    secret = base64.urlsafe_b64encode(RSA_KEY.as_pem(private=False)).decode().rstrip("=")
    keys = parse_key_set(key_set(public(RSA_KEY), {"kty": "oct", "k": secret, "kid": "o1"}))
    check = TokenCheck(make_settings(), Keys(keys))

    assert refusal(check, signed_with_the_public_key("o1"))
    assert len(keys.keys) == 1


def test_unknown_key_is_looked_up_once(make_settings: MakeSettings) -> None:
    """An issuer that has a new key signs with it before the old set is due (H-045: by name alone, in the set)."""
    newer = parse_key_set(key_set(public(RSA_KEY), public(OTHER_RSA_KEY, "k2")))
    keys = Keys(parse_key_set(key_set()), newer)
    check = TokenCheck(make_settings(), keys)

    assert check.username(token()) == USERNAME
    assert keys.asked == 0
    assert check.username(token(key=OTHER_RSA_KEY, kid="k2")) == USERNAME
    assert keys.asked == 1
    assert refusal(check, token(key=OTHER_RSA_KEY, kid="k3")) == (
        "it names no key of the issuer, or one for another algorithm"
    )
    assert keys.asked == 2


@pytest.mark.parametrize("kid", ["../../etc/passwd", "/dev/zero", "http://evil.example/k", "k1\0", "K1", "", "\ud800"])
def test_kid_is_nothing_but_a_name(check: TokenCheck, kid: str) -> None:
    """CVE-2021-29157: a name that looks like a path or an address is one that the set does not have (H-045)."""
    assert refusal(check, token(kid=kid)) == "it names no key of the issuer, or one for another algorithm"


def test_token_without_kid_needs_a_set_without_choice(make_settings: MakeSettings) -> None:
    """With one key that fits, it is that one; with two, the token has to say (RFC 7515 section 4.1.4)."""
    one = TokenCheck(make_settings(), Keys(parse_key_set(key_set(public(RSA_KEY, None), public(EC_KEY, None)))))
    two = TokenCheck(make_settings(), Keys(parse_key_set(key_set(public(RSA_KEY), public(OTHER_RSA_KEY, "k2")))))

    assert one.username(token(kid=None)) == USERNAME
    assert one.username(token(kid=None, key=EC_KEY, alg="ES256")) == USERNAME
    assert refusal(two, token(kid=None))


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/certificate"},
        {"jwk": public(OTHER_RSA_KEY)},
        {"x5c": ["MIIB"]},
    ],
    ids=lambda header: next(iter(header)),
)
def test_key_that_a_token_brings_along_is_not_used(check: TokenCheck, header: dict[str, object]) -> None:
    """RFC 8725 section 3.10: neither a key in the header nor an address there counts."""
    assert check.username(token(header=header)) == USERNAME
    assert refusal(check, token(header=header, key=OTHER_RSA_KEY)) == "its signature is wrong"


def test_unknown_header_is_ignored_and_a_critical_one_is_not(check: TokenCheck) -> None:
    """RFC 7515 sections 4 and 4.1.11."""
    assert check.username(token(header={"nonce": "x", "typ": "at+jwt"})) == USERNAME
    assert refusal(check, token(header={"crit": ["typ"], "typ": "x"})) == "its header has critical members"
    assert refusal(check, token(header={"crit": ["b64"], "b64": False}))  # RFC 7797 section 7: never in a token


@pytest.mark.parametrize(
    "part",
    [b"[" * 5000, b'{"a":' * 1000, b'{"alg":"RS256","kid":"k1","x":' + b"[" * 900 + b"]" * 900 + b"}", b'"' * 999],
    ids=["lists", "objects", "closed", "quotes"],
)
def test_deep_json_is_refused_before_it_is_parsed(check: TokenCheck, part: bytes) -> None:
    """A bomb in the header, or in the claims, costs nothing but its length (H-045)."""
    bomb = base64.urlsafe_b64encode(part).rstrip(b"=")
    head, body, signature = token().split(b".")

    assert refusal(check, b".".join([bomb, body, signature])).startswith("it is no signed JSON Web Token")
    assert refusal(check, b".".join([head, bomb, signature])).startswith("it is no signed JSON Web Token")


def test_deep_json_that_the_issuer_has_signed_is_refused_too(check: TokenCheck) -> None:
    """Whoever signed it."""
    deep: object = 0
    for _ in range(500):
        deep = [deep]

    assert "nested more than 32 levels deep" in refusal(check, token(claims(deep=deep)))


def test_long_token_is_refused(check: TokenCheck) -> None:
    """100 KiB, and one octet more than the limit (H-045)."""
    assert "octets" in refusal(check, b"x" * 102_400)
    assert "octets" in refusal(check, token(claims(groups="x" * MAX_TOKEN_OCTETS)))
    assert check.username(token(claims(groups=["g" * 30] * 300))) == USERNAME


def test_long_header_is_refused(check: TokenCheck) -> None:
    """Nothing of what a server needs is that long."""
    assert check.username(token(header={"x": "x" * 1000})) == USERNAME
    assert refusal(check, token(header={"x": "x" * MAX_HEADER_OCTETS})) == "it cannot be read: ExceededSizeError"


@given(st.binary(max_size=80), st.integers(0, 2))
def test_any_octets_in_a_token_are_refused(octets: bytes, place: int) -> None:
    """Nothing but a refusal comes out, whatever stands between the dots."""
    check = TokenCheck(
        AuthOauthSettings(issuer="i", audiences=("a",), jwks_url="https://issuer.example/"),
        Keys(parse_key_set(key_set())),
    )
    parts = token().split(b".")
    parts[place] = base64.urlsafe_b64encode(octets).rstrip(b"=") if place % 2 else octets

    refusal(check, b".".join(parts))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_any_json_for_a_header_is_refused(header: object) -> None:
    """Lists, numbers, and objects whose members have other types than they should."""
    check = TokenCheck(
        AuthOauthSettings(issuer="i", audiences=("a",), jwks_url="https://issuer.example/"),
        Keys(parse_key_set(key_set())),
    )
    for content in (
        header,
        {"alg": header},
        {"alg": "RS256", "kid": header},
        {"alg": "RS256", "kid": "k1", "typ": header},
    ):
        head = base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=")

        refusal(check, head + b"." + token().partition(b".")[2])
