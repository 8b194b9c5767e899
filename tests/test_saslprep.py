"""SASLprep: what names and passwords are compared as."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe.saslprep import MixedDirectionError, ProhibitedCharacterError, prepared_name, saslprep


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("", ""),
        ("two  words", "two  words"),
        ("no\u00a0break", "no break"),
        ("e\u0301", "\u00e9"),
        ("\u05d0\u05d1", "\u05d0\u05d1"),
        ("\u062701\u0628", "\u062701\u0628"),
        ("\u00df", "\u00df"),
        ("\U0001f600\ufe0f", "\U0001f600"),
    ],
)
def test_a_text_becomes_what_it_is_compared_as(text: str, prepared: str) -> None:
    """U-016: the examples of RFC 4013 section 3, and others; what Unicode has got since is left alone in a query."""
    assert saslprep(text) == prepared


@pytest.mark.parametrize(
    "character",
    ["\0", "\x07", "\x7f", "\x85", "\u200e", "\u202e", "\ue000", "\U0010fffd", "\ufdd0", "\ufffe", "\ufff9", "\ufffd",
     "\u2ff0", "\u206a", "\U000e0041", chr(0xDCFF), "\u2028"],
)  # fmt: skip
def test_a_prohibited_character_is_refused(character: str) -> None:
    """U-016: RFC 4013 section 2.3."""
    with pytest.raises(ProhibitedCharacterError, match="no name and no password"):
        saslprep(f"a{character}b")


@pytest.mark.parametrize("text", ["\u06271", "1\u0627", "\u0627a\u0628", "a\u0627"])
def test_mixed_directions_are_refused(text: str) -> None:
    """RFC 4013 section 2.4, and the last example of section 3."""
    with pytest.raises(MixedDirectionError):
        saslprep(text)


def test_a_name_of_mixed_directions_is_one() -> None:
    """U-016, A-039: it stays as it is."""
    assert prepared_name("\u06271") == "\u06271"
    assert prepared_name("\u00aa") == "a"


@pytest.mark.parametrize("text", ["", "\u00ad", "a\x07", "\ue000"])
def test_a_name_of_which_nothing_is_left_is_none(text: str) -> None:
    """A-039: nor is one with prohibited characters."""
    with pytest.raises(ValueError, match=r"[a-z]"):
        prepared_name(text)


@given(st.text())
def test_a_prepared_text_stays_as_it_is(text: str) -> None:
    """A name that was prepared once, in an account's file for instance, is found."""
    try:
        prepared = saslprep(text)
    except ValueError:
        return

    assert unicodedata.ucd_3_2_0.is_normalized("NFKC", prepared)
    assert saslprep(prepared) == prepared
