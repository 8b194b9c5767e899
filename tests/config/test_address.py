"""What the operator may write as an address to listen on."""

from __future__ import annotations

import re

import pytest

from popframe.config.address import normal_address


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("127.0.0.1:110", "127.0.0.1:110"),
        ("0.0.0.0:0", "0.0.0.0:0"),
        ("[::1]:1110", "[::1]:1110"),
        ("[0:0:0:0:0:0:0:1]:110", "[::1]:110"),
        ("localhost:00110", "127.0.0.1:110"),
    ],
)
def test_address_is_brought_into_its_usual_form(text: str, normal: str) -> None:
    """Two spellings of one address become one, so that a double entry is noticed."""
    assert normal_address(text) == normal


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("pop.example.org:110", "'pop.example.org' is not a numeric address; host names are not looked up"),
        ("127.0.0.1", "is not address:port"),
        (":110", "is not address:port"),
        ("110", "is not address:port"),
        ("", "is not address:port"),
        ("127.0.0.1:", "'' is not a port"),
        ("127.0.0.1:65536", "'65536' is not a port"),
        ("127.0.0.1:-1", "'-1' is not a port"),
        ("127.0.0.1:\u0661", "is not a port"),
        ("127.0.0.1:pop3", "'pop3' is not a port"),
        ("::1:110", "'::1': an IPv6 address stands in brackets"),
        ("[::1:110", "an IPv6 address stands in brackets"),
        ("[127.0.0.1]:110", "'[127.0.0.1]' is not an IPv6 address"),
        ("127.0.0.01:110", "'127.0.0.01' is not a numeric address"),
    ],
)
def test_wrong_address_is_refused_with_its_reason(text: str, reason: str) -> None:
    """The message says which part is wrong."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        normal_address(text)
