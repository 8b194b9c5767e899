"""What is stored for SCRAM (RFC 5802, RFC 5803)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramMechanism

from popframe import ScramKeys

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")


@pytest.mark.parametrize("scheme", ["scram-sha-256", "scram-sha-1"])
@pytest.mark.parametrize("password", ["pencil", "p\u00e4ss w\u00f6rd", "\u2168", "a\u00adb"])
def test_keys_are_those_of_another_implementation(scheme: str, password: str) -> None:
    """A-039, A-056: the same salt gives the same keys, passwords being prepared."""
    keys = ScramKeys.made(password.encode(), scheme, 5000, SALT)
    _, stored_key, server_key, _ = ScramMechanism(scheme.upper()).make_auth_info(password, 5000, SALT)

    assert (keys.stored_key, keys.server_key) == (stored_key, server_key)
    assert ScramKeys.parsed(keys.text) == keys
    assert keys.verify(password.encode())
    assert not keys.verify(password.encode() + b"x")


def test_each_user_has_a_salt_of_its_own() -> None:
    """A-056: and iterations enough."""
    first, second = ScramKeys.made(b"secret"), ScramKeys.made(b"secret")

    assert first.salt != second.salt
    assert len(first.salt) >= 16
    assert first.iterations >= 4096
    assert "key" not in repr(first)


@pytest.mark.parametrize(
    "text",
    [
        *("", "SCRAM-SHA-256", "$y$j9T$x$y", "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA", "SCRAM-SHA-512$4096:AAAA$AAAA:AAAA"),
        *(ScramKeys.made(b"x", salt=SALT).text + end for end in (" ", "=", ":", "\n", "\u00e4")),
        ScramKeys.made(b"x", salt=SALT).text.replace("$100000:", "$4095:"),
        ScramKeys.made(b"x", salt=SALT).text.replace("$100000:", "$100000000:"),
        ScramKeys.made(b"x", salt=SALT).text.replace("$100000:", "$010000:"),
        ScramKeys.made(b"x", salt=SALT).text.replace("SHA-256", "SHA-1"),
        ScramKeys.made(b"x", salt=SALT).text.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "W22ZaJ0SNY7soEs="),
    ],
)
def test_other_texts_are_no_keys(text: str) -> None:
    """And no message quotes them."""
    with pytest.raises(ValueError, match=r"not of the form|iterations|salt") as caught:
        ScramKeys.parsed(text)
    assert text[20:] not in str(caught.value) or len(text) <= 20


@given(st.text())
def test_no_text_makes_the_reading_fail_otherwise(text: str) -> None:
    """By one kind of error."""
    with pytest.raises(ValueError):  # noqa: PT011 - whichever it is
        ScramKeys.parsed("SCRAM-SHA-256$" + text)


@pytest.mark.parametrize("password", [b"", b"\xff", b"\x07", "\ue000".encode(), b"\xc2\xad", b"a\0b"])
def test_passwords_that_cannot_be_prepared_have_no_keys(password: bytes) -> None:
    """A-039: nor does one ever match."""
    keys = ScramKeys.made(b"secret", iterations=4096)

    with pytest.raises(ValueError):  # noqa: PT011 - whichever it is
        ScramKeys.made(password)
    assert not keys.verify(password)


@pytest.mark.parametrize(("scheme", "iterations"), [("scram-sha-512", 4096), ("plain", 4096), ("scram-sha-256", 4095)])
def test_keys_are_of_a_known_kind(scheme: str, iterations: int) -> None:
    """A-056: RFC 7677 section 4 sets the least number of iterations."""
    with pytest.raises(ValueError, match=r"scheme|iterations"):
        ScramKeys.made(b"secret", scheme, iterations)
