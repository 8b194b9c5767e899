"""Names and passwords in the one form in which they are compared (SASLprep, RFC 4013)."""

from __future__ import annotations


class ProhibitedCharacterError(ValueError):
    """The text holds a character that no name and no password may hold (RFC 4013 section 2.3)."""


class MixedDirectionError(ValueError):
    """The text is written from right to left, and not throughout (RFC 4013 section 2.4)."""


def saslprep(text: str) -> str:
    """Return a text in the form in which it is compared, as a query string (RFC 3454 section 7): NFKC, and more.

    Raises:
        ProhibitedCharacterError: Control characters, characters of private use, lone surrogates, and the like.
        MixedDirectionError: Characters of both directions, or digits at an end of a text from right to left.
    """
    if text.isascii() and text.isprintable():
        return text
    # Imported here since hardly a session comes so far, and the tables take time to be built.
    import stringprep
    from unicodedata import ucd_3_2_0 as unicode_3_2

    kept = (character for character in text if not stringprep.in_table_b1(character))
    mapped = "".join(" " if stringprep.in_table_c12(character) else character for character in kept)
    prepared = unicode_3_2.normalize("NFKC", mapped)
    prohibited = (
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
    )
    for character in prepared:
        if any(is_in_table(character) for is_in_table in prohibited):
            raise ProhibitedCharacterError("a character that can be part of no name and no password")
    if any(map(stringprep.in_table_d1, prepared)) and (
        any(map(stringprep.in_table_d2, prepared))
        or not (stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1]))
    ):
        raise MixedDirectionError("a text from right to left with a part from left to right")
    return prepared


def prepared(text: str) -> str:
    """Return a text as SASLprep wants it, or as it is when only its directions are mixed.

    A Hebrew or Arabic word with a digit behind it is a likely name or password, and nothing but the rule on directions
    speaks against it: RFC 6856 section 2.2 wants only prohibited characters refused.

    Raises:
        ProhibitedCharacterError: It holds what no name and no password may hold.
    """
    try:
        return saslprep(text)
    except MixedDirectionError:
        return text


def prepared_name(text: str) -> str:
    """Return the name that a client calls a user by, in the form in which names are compared (RFC 5034 section 4).

    Raises:
        ValueError: It can be nobody's name: it has characters that no name has, or nothing is left of it. The text says
            so, and holds nothing of the name.
    """
    name = prepared(text)
    if not name or not name.isprintable():
        raise ValueError("it is empty, or has characters that do not print")
    return name
