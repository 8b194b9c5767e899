"""JWK Sets (RFC 7517): which of their members are keys that a token may be signed with."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OKPKey, RSAKey

from popframe_auth_oauth.key_set import MAX_DOCUMENT_OCTETS, MAX_KEYS, parse_key_set

from .issuer import EC_KEY, RSA_KEY, key_set, public

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def modulus(bits: int) -> str:
    """Return an odd number of so many bits as a JWK has it."""
    return base64.urlsafe_b64encode(((1 << (bits - 1)) + 1).to_bytes((bits + 7) // 8, "big")).decode().rstrip("=")


def test_keys_are_found_by_name_and_algorithm() -> None:
    """A key serves the algorithms of its type, or the one that it says."""
    keys = parse_key_set(key_set(public(RSA_KEY), public(EC_KEY, "e1"), public(RSA_KEY, "p1", alg="PS256")))

    assert keys.find("k1", "RS256") is keys.find("k1", "PS512") is keys.keys[0][1]
    assert keys.find("e1", "ES256") is keys.keys[1][1]
    assert keys.find("p1", "PS256") is keys.keys[2][1]
    assert keys.find("e1", "ES384") is keys.find("e1", "RS256") is keys.find("p1", "RS256") is None
    assert keys.find("k2", "RS256") is None


def test_key_for_something_else_is_ignored() -> None:
    """RFC 7517 sections 4.2, 4.3 and 5: what is not known, or not for signatures, does not make the set useless."""
    keys = parse_key_set(
        key_set(
            public(RSA_KEY, "enc", use="enc"),
            public(RSA_KEY, "ops", key_ops=["encrypt"]),
            {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
            {"kty": "AKP", "alg": "ML-DSA-65", "pub": "x"},
            public(OKPKey.generate_key("X25519"), "x"),
            public(RSA_KEY, "sig", use="sig", key_ops=["verify"]),
        )
    )

    assert [kid for kid, _ in keys.keys if kid != "x"] == ["sig"]
    assert keys.find("x", "Ed25519") is None
    assert any("'oct'" in reason for reason in keys.ignored)
    assert "c2VjcmV0" not in repr(keys.ignored)


def test_private_part_is_not_kept() -> None:
    """An operator may have copied the wrong file; memory should not have it."""
    keys = parse_key_set(key_set({**RSA_KEY.as_dict(private=True), "kid": "k1"}))

    assert not keys.keys[0][1].is_private


@pytest.mark.parametrize("bits", [1024, 2047, 8193, 16_384, 100_000])
def test_rsa_key_that_is_too_short_or_too_long_is_ignored(bits: int) -> None:
    """One can be broken, the other takes long to compute with."""
    short = {"kty": "RSA", "kid": "s", "n": modulus(bits), "e": "AQAB"}
    keys = parse_key_set(key_set(public(RSA_KEY), short))

    assert [kid for kid, _ in keys.keys] == ["k1"]
    assert "its modulus" in keys.ignored[0]


def test_rsa_key_of_4096_bits_is_taken() -> None:
    """The longest that is usual."""
    assert parse_key_set(key_set({"kty": "RSA", "kid": "l", "n": modulus(4096), "e": "AQAB"})).find("l", "RS256")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "it is not JSON"),
        (b"\xff", "it is not UTF-8"),
        (b"<html>", "it is not JSON"),
        (b"[]", "it has no list 'keys'"),
        (b'{"keys": {}}', "it has no list 'keys'"),
        (b'{"keys": []}', "it has no key that can be used"),
        (b'{"keys": [7]}', "it has no key that can be used; key 1: is not an object"),
        (b'{"keys": [{"kty": "RSA"}]}', "it has no key that can be used; key 1: its modulus"),
        (b'{"keys": [{"kty": "EC", "kid": "e"}]}', "it has no key that can be used; key 1: "),
        (key_set(*[public(EC_KEY)] * (MAX_KEYS + 1)), "it has no list 'keys' of at most 100 keys"),
        (b"[" * 10_000, "it is nested more than 32 levels deep"),
        (b" " * (MAX_DOCUMENT_OCTETS + 1), "it has more than 262144 octets"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value,
)
def test_what_is_no_set_of_keys_is_refused_with_a_reason(document: bytes, reason: str) -> None:
    """An operator should not have to guess."""
    with pytest.raises(ValueError, match="^" + reason.replace("[", r"\[")):
        parse_key_set(document)


@given(JSON, st.sampled_from(["kty", "use", "key_ops", "alg", "kid", "n", "e", "crv", "x", "y", "x5c"]))
def test_member_with_any_value_is_a_key_or_ignored(value: object, name: str) -> None:
    """Whatever an issuer publishes beside it, the good key stays."""
    strange = [{**public(key), name: value} for key in (RSA_KEY, EC_KEY)]
    keys = parse_key_set(json.dumps({"keys": [public(RSA_KEY, "good"), *strange, value]}).encode())

    assert keys.find("good", "RS256")


def test_generated_keys_have_the_length_that_is_asked_for() -> None:
    """The lower bound is what libraries make by default."""
    assert parse_key_set(key_set(public(RSAKey.generate_key(2048)))).keys
