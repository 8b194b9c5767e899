"""From stored octets to the wire: every conversion against a model that takes the message whole."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import Reply
from popframe.engine import wire
from popframe.testing.maildrop_contract import SAMPLES

PIECES = st.lists(
    st.one_of(
        st.sampled_from([b"\r", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b".", b"\n.", b"..", b".\r\n", b"a", b"", b"\0"]),
        st.binary(max_size=6),
    ),
    max_size=24,
)
"""Messages as a store may hand them out: the cuts fall between CR and LF, before dots, and everywhere else."""


def as_sent(stored: bytes) -> bytes:
    """Say in one step what a client gets, byte-stuffing undone (RFC 1939 sections 3 and 11)."""
    octets = re.sub(rb"(?<!\r)\n", b"\r\n", stored)
    return octets if not octets or octets.endswith(b"\n") else octets + b"\r\n"


def top_of(sent: bytes, line_count: int) -> bytes:
    """Say in one step what TOP gives of a message (RFC 1939 section 7)."""
    lines = re.findall(rb"[^\n]*\n", sent)
    if b"\r\n" not in lines:
        return sent + b"\r\n"
    return b"".join(lines[: lines.index(b"\r\n") + 1 + line_count])


def unstuffed(octets: bytes) -> bytes:
    """Undo byte-stuffing as a client does."""
    return b"".join(line[1:] if line.startswith(b".") else line for line in re.findall(rb"[^\n]*\n", octets))


@given(PIECES)
def test_line_ends_become_crlf_and_nothing_else_changes(pieces: list[bytes]) -> None:
    """P-060, P-061, P-024: LF gets a CR unless it has one, a lone CR stays, a last line without an end gets one."""
    assert b"".join(wire.with_crlf(pieces)) == as_sent(b"".join(pieces))


@given(PIECES)
def test_no_piece_ends_between_cr_and_lf(pieces: list[bytes]) -> None:
    """What comes after relies on it: a line end is never torn."""
    converted = list(wire.with_crlf(pieces))

    assert not any(first.endswith(b"\r") and second.startswith(b"\n") for first, second in pairwise(converted))


@given(PIECES)
def test_stuffing_can_be_undone_and_hides_every_dot(pieces: list[bytes]) -> None:
    """P-018, P-021, P-022, P-023: no line is a lone dot, and the client gets back what was meant (RFC 1939 s. 3)."""
    sent = as_sent(b"".join(pieces))
    stuffed = b"".join(wire.byte_stuffed(wire.with_crlf(pieces)))

    assert unstuffed(stuffed) == sent
    assert b".\r\n" not in re.findall(rb"[^\n]*\n", stuffed)
    assert len(stuffed) == len(sent) + len(re.findall(rb"^\.", sent.replace(b"\r", b"x"), re.MULTILINE))


@given(PIECES, st.integers(0, 6))
def test_top_is_the_beginning_of_the_message_by_lines(pieces: list[bytes], line_count: int) -> None:
    """P-083, P-084, P-085, P-089: header, blank line, so many lines; a blank line is added where there is none."""
    sent = as_sent(b"".join(pieces))

    assert b"".join(wire.top(wire.with_crlf(pieces), line_count)) == top_of(sent, line_count)


@given(PIECES)
def test_top_with_many_lines_is_the_whole_message(pieces: list[bytes]) -> None:
    """P-086: more lines than there are give what RETR gives, where there is a blank line."""
    sent = as_sent(b"".join(pieces))
    top = b"".join(wire.top(wire.with_crlf(pieces), 2**64))

    assert top in (sent, sent + b"\r\n")


@given(PIECES)
def test_nul_becomes_0x80_and_sizes_stay(pieces: list[bytes]) -> None:
    """Q-033: nothing but the NULs changes."""
    assert b"".join(wire.without_nul(pieces)) == b"".join(pieces).replace(b"\0", b"\x80")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 4096])
@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_the_same_in_pieces_of_any_size(name: str, size: int) -> None:
    """P-020, P-024: the cuts of a store are not seen on the wire."""
    stored = SAMPLES[name]
    pieces = [stored[start : start + size] for start in range(0, len(stored), size)]

    assert unstuffed(b"".join(wire.byte_stuffed(wire.with_crlf(pieces)))) == as_sent(stored)
    for line_count in (0, 1, 3):
        assert b"".join(wire.top(wire.with_crlf(pieces), line_count)) == top_of(as_sent(stored), line_count)


@pytest.mark.parametrize("size", [4096, 8192, 16_384, 65_536])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_dot_at_the_edge_of_a_buffer_is_stuffed(size: int, end: bytes) -> None:
    """P-020: the line with the dot begins at every place around the edge of a piece (RFC 1939 section 3)."""
    for offset in range(size - 6, size + 7):
        stored = b"x" * (offset - len(end)) + end + b".y" + end + b"." + end
        pieces = [stored[start : start + size] for start in range(0, len(stored), size)]

        sent = b"".join(wire.byte_stuffed(wire.with_crlf(pieces)))
        assert sent == b"x" * (offset - len(end)) + b"\r\n..y\r\n..\r\n"


@given(text=st.text(max_size=700), code=st.one_of(st.just(""), st.text(max_size=30)), is_ok=st.booleans())
def test_a_status_line_is_one_printable_line_whatever_the_text(text: str, code: str, *, is_ok: bool) -> None:
    """P-002, P-003, P-004, P-005, H-014: no text and no code breaks out of the line or makes it too long."""
    line = wire.status_line(Reply(text, is_ok=is_ok, code=code))

    assert re.fullmatch(rb"(\+OK|-ERR) [ -~]*\r\n", line)
    assert len(line) <= 512
    assert line.startswith(b"+OK " if is_ok else b"-ERR ")


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (Reply("done"), b"+OK done\r\n"),
        (Reply(""), b"+OK \r\n"),
        (Reply("no", is_ok=False), b"-ERR no\r\n"),
        (Reply("no", is_ok=False, code="SYS/TEMP"), b"-ERR [SYS/TEMP] no\r\n"),
        (Reply("[AUTH] no", is_ok=False), b"-ERR (AUTH] no\r\n"),
        (Reply("a\r\n+OK b"), b"+OK a??+OK b\r\n"),
        (Reply("caf\xe9 \x1b[2J"), b"+OK caf? ?[2J\r\n"),
        (Reply("no", is_ok=False, code="A]\r\n+OK [B"), b"-ERR [A]??+OK [B] no\r\n"),
    ],
)
def test_status_lines_are_rendered_as_they_should(reply: Reply, line: bytes) -> None:
    """C-017, C-033: what begins with a bracket is a response code (RFC 2449 section 8)."""
    assert wire.status_line(reply) == line
