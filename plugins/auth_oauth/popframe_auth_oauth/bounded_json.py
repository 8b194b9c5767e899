"""JSON from strangers: its depth is found out before anything is built from it."""

from __future__ import annotations

import json
import re

MAX_DEPTH = 32
"""Tokens and key sets have up to five levels; the parser of the standard library fails at some hundreds."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?$)', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def parse_json(octets: bytes) -> object:
    """Read a JSON text (RFC 8259) in UTF-8.

    Raises:
        ValueError: It is none, or is nested more than MAX_DEPTH levels deep; the text holds nothing of it.
    """
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    try:
        content: object = json.loads(text)
    except ValueError as error:
        raise ValueError("it is not JSON") from error
    return content
