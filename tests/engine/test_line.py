"""Cutting octets into lines: the same lines, however the octets arrive."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe.engine.line import LineBuffer, LineFault
from popframe.engine.policy import MAX_DISCARDED_OCTETS, MAX_LINE_OCTETS

Taken = bytes | LineFault


def lines_of(*pieces: bytes) -> list[Taken]:
    """Feed pieces and take every line as soon as it is there, until the flood."""
    buffer = LineBuffer()
    lines: list[Taken] = []
    for piece in pieces:
        buffer.feed(piece)
        while (line := buffer.next_line()) is not None:
            lines.append(line)
            if line is LineFault.FLOOD:
                return lines
    return lines


def expected_lines(octets: bytes) -> list[Taken]:
    """Say in the plainest way which lines there are."""
    *whole, rest = octets.split(b"\n")
    lines: list[Taken] = []
    for line, end in [*((line, 1) for line in whole), (rest, 0)]:
        if len(line) + end > MAX_LINE_OCTETS:
            lines.append(LineFault.TOO_LONG)
            if len(line) + end > MAX_DISCARDED_OCTETS:
                return [*lines, LineFault.FLOOD]
        elif end:
            lines.append(line.removesuffix(b"\r"))
    return lines


EXAMPLES = [
    (b"STAT\r\n", [b"STAT"]),
    (b"STAT\n", [b"STAT"]),
    (b"STAT", []),
    (b"STAT\r", []),
    (b"\r\n\n", [b"", b""]),
    (b"NOOP\r\r\n\n\rNOOP\r\n", [b"NOOP\r", b"", b"\rNOOP"]),
    (b"a\0b\x0bc\x0cd\x85e\xe2\x80\xa8f\r\n", [b"a\0b\x0bc\x0cd\x85e\xe2\x80\xa8f"]),
    (b"USER a\nPASS b\r\nQUIT\r\n", [b"USER a", b"PASS b", b"QUIT"]),
]


@pytest.mark.parametrize(("octets", "lines"), EXAMPLES)
def test_lf_ends_a_line_and_takes_one_cr_along(octets: bytes, lines: list[Taken]) -> None:
    """H-005, H-006, H-007, Q-003: no other octet ends a line (RFC 1939 section 3)."""
    assert lines_of(octets) == lines


@pytest.mark.parametrize(("octets", "lines"), EXAMPLES)
def test_lines_are_the_same_at_every_cut(octets: bytes, lines: list[Taken]) -> None:
    """P-025, Q-007: in two pieces at any place, in three at any two, and octet by octet."""
    places = range(len(octets) + 1)

    for first in places:
        assert lines_of(octets[:first], octets[first:]) == lines
        for second in places[first:]:
            assert lines_of(octets[:first], octets[first:second], octets[second:]) == lines
    assert lines_of(*(bytes([octet]) for octet in octets)) == lines


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(("excess", "is_taken"), [(-1, True), (0, True), (1, False)])
def test_a_line_may_have_512_octets_with_its_end(end: bytes, excess: int, *, is_taken: bool) -> None:
    """P-008, H-002: one octet more is too long, and the next line is whole (RFC 2449 section 4)."""
    text = b"x" * (MAX_LINE_OCTETS + excess - len(end))

    assert lines_of(text + end + b"NOOP\r\n") == [text if is_taken else LineFault.TOO_LONG, b"NOOP"]


def test_a_line_that_is_too_long_is_told_before_it_ends() -> None:
    """H-001: nobody waits for the end of a line that has none, and it is told only once."""
    assert lines_of(b"x" * MAX_LINE_OCTETS) == []
    assert lines_of(b"x" * MAX_LINE_OCTETS, b"x") == [LineFault.TOO_LONG]
    assert lines_of(b"x" * (MAX_LINE_OCTETS + 1), b"x", b"xx\n", b"NOOP\n") == [LineFault.TOO_LONG, b"NOOP"]


def test_what_stands_behind_a_line_is_no_part_of_it() -> None:
    """P-009, H-003: a short line before a long read, and the end of a long line before one, leave the rest whole."""
    commands = b"NOOP\r\n" * 200

    assert lines_of(b"\n" + commands) == [b"", *[b"NOOP"] * 200]
    assert lines_of(b"x" * (MAX_LINE_OCTETS + 1), b"\n" + commands) == [LineFault.TOO_LONG, *[b"NOOP"] * 200]
    assert lines_of(b"x" * (MAX_LINE_OCTETS + 1), b"\r\n" + commands) == [LineFault.TOO_LONG, *[b"NOOP"] * 200]


@pytest.mark.parametrize("size", [1, 100, 511, 512, 513, 4096, 70_000])
@pytest.mark.parametrize("length", [MAX_DISCARDED_OCTETS, MAX_DISCARDED_OCTETS + 1])
def test_only_so_much_of_a_long_line_is_thrown_away(length: int, size: int) -> None:
    """H-001, H-003: beyond 64 KiB, the line end included, nothing more is read, in whatever pieces it comes."""
    octets = b"x" * (length - 1) + b"\nNOOP\r\n"
    pieces = [octets[start:end] for start, end in pairwise([*range(0, len(octets), size), len(octets)])]
    end: list[Taken] = [b"NOOP"] if length <= MAX_DISCARDED_OCTETS else [LineFault.FLOOD]

    assert lines_of(*pieces) == [LineFault.TOO_LONG, *end]


@given(
    st.lists(
        st.one_of(
            st.sampled_from([b"\r", b"\n", b"\r\n", b"", b"x", b"x" * 509, b"x" * 600, b"x" * 40_000]),
            st.binary(max_size=5),
        ),
        max_size=12,
    ),
    st.lists(st.integers(1, 700), min_size=1, max_size=5),
)
def test_any_octets_in_any_pieces_give_the_expected_lines(parts: list[bytes], sizes: list[int]) -> None:
    """Lines depend on the octets alone."""
    octets = b"".join(parts)
    pieces: list[bytes] = []
    start = 0
    while start < len(octets):
        size = sizes[len(pieces) % len(sizes)] * (1 + len(octets) // 2000)
        pieces.append(octets[start : start + size])
        start += size

    assert lines_of(*pieces) == lines_of(octets) == expected_lines(octets)
