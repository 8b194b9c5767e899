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
