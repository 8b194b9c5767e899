"""Surrogates: the message in ASCII, as long as the message, for clients that have not said UTF8 (RFC 6856)."""

from __future__ import annotations

import email
import email.policy
import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe.engine import AsciiMode, Policy, wire
from popframe.engine.encoded_word import field_in_ascii
from popframe.engine.surrogate import MAX_HEADER_OCTETS, needs_utf8_mode, surrogate_header, with_header_in_ascii
from popframe.testing.engine_server import EngineTransport

Connect = Callable[..., EngineTransport]

TRACE = (
    b"Received: from mx.example.org by mail.example.org with ESMTP; Mon, 5 Jan 2026 09:00:01 +0000\r\n"
    b"Received: from client.example.net by mx.example.org with ESMTPSA\r\n"
    b"\tid 0123456789abcdef; Mon, 5 Jan 2026 09:00:00 +0000\r\n"
)
SIGNATURE = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=mail;\r\n\tb=" + b"c" * 400 + b"\r\n"

PIECES = st.lists(
    st.sampled_from(
        [b"Subject: ", b"From: ", b"To:", b"Content-Type: ", b"Received: ", b"DKIM-Signature:", b"X", b":", b"\r\n",
         b"\r\n ", b"\r\n\r\n", b"\n", b"\r", b".", b" ", b"\t", b'"', b"\\", b"<", b">", b"(", b")", b"@", b",", b"a=",
         b"name=", b"charset=", b"koi8-r", b"iso-8859-1", b"=?utf-8?q?a?=", b"\xc3\xa9", b"\xe9", b"\xf0\x9f\x98\x80",
         b"\xff", b"\0", b"\x1b", b"word", b"x" * 70]
    ),
    max_size=40,
).map(b"".join)  # fmt: skip
CUTS = st.lists(st.integers(1, 7), min_size=1, max_size=5)


def cut(octets: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Yield octets in pieces of some lengths, over and over."""
    position = turn = 0
    while position < len(octets):
        yield octets[position : position + sizes[turn % len(sizes)]]
        position += sizes[turn % len(sizes)]
        turn += 1


def fields_of(header: bytes) -> dict[str, str]:
    """Return what a mail client reads."""
    message = email.message_from_bytes(header + b"\r\n", policy=email.policy.default)
    return {name: str(value) for name, value in message.items()}


ROOM = b"DKIM-Signature: " + b"x" * 4000 + b"\r\n"
"""A field that may be left out, and is longer than what anything here may need."""


@given(PIECES, CUTS)
def test_a_surrogate_is_in_ascii_and_as_long_as_the_message(stored: bytes, sizes: list[int]) -> None:
    """U-006, U-007, U-009, H-073: whatever a message is made of, and however it comes; its body is not touched."""
    stored = ROOM + b"Subject: " + stored
    message = b"".join(wire.with_crlf([stored]))
    sent = b"".join(with_header_in_ascii(wire.with_crlf(cut(stored, sizes))))
    header, end, body = message.partition(b"\r\n\r\n")
    sent_header = sent[: len(header)]

    assert len(sent) == len(message)
    assert sent[len(header) :] == end + body
    assert sent_header.isascii()
    if header.isascii():
        assert sent == message


@given(PIECES, CUTS)
def test_without_room_a_message_is_a_surrogate_or_as_it_is(stored: bytes, sizes: list[int]) -> None:
    """U-006, U-009: whatever it is made of, nothing of it is lost without being in the surrogate."""
    message = b"".join(wire.with_crlf([b"Subject: " + stored]))
    sent = b"".join(with_header_in_ascii(wire.with_crlf(cut(b"Subject: " + stored, sizes))))

    assert len(sent) == len(message)
    assert sent == message or sent.partition(b"\r\n\r\n")[0].isascii()


@given(PIECES, CUTS)
def test_what_has_a_surrogate_needs_utf8_mode(stored: bytes, sizes: list[int]) -> None:
    """U-006, U-008: the two choices of a site are about the same messages, but for those without room."""
    pieces = list(wire.with_crlf(cut(ROOM + stored, sizes)))

    is_changed = b"".join(with_header_in_ascii(iter(pieces))) != b"".join(pieces)
    assert needs_utf8_mode(iter(pieces)) is is_changed


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1), min_size=1))
def test_what_was_written_can_be_read(words: list[str]) -> None:
    """U-006: nothing of a header is lost in encoded-words, each of which has whole characters (RFC 2047 section 5)."""
    text = " ".join(word for word in words if not word.startswith("=?")) or "x"
    field = field_in_ascii(f"Subject: {text}\r\n".encode(), "unknown-8bit")

    assert field.isascii()
    assert fields_of(field) == {"Subject": text}
    assert all(len(word) <= 75 for word in field.split() if word.startswith(b"=?utf-8?"))


@pytest.mark.parametrize(
    ("value", "encoded", "read"),
    [
        ("Jörg <joerg@example.org>", None, "Jörg <joerg@example.org>"),
        ('"Müller, Jörg" <j@example.org>, Bob <bob@example.org>', None,
         '"Müller, Jörg" <j@example.org>, Bob <bob@example.org>'),
        ('"J\\"ö" <j@example.org>', None, '"J\\"ö" <j@example.org>'),
        ("j@bücher.example", "j@xn--bcher-kva.example", None),
        ("J <j@BÜCHER.example>", "J <j@xn--bcher-kva.example>", None),
        ("j@straße.example", "j@xn--strae-oqa.example", None),
        ("jörg@example.org", "j=C3=B6rg@example.org.invalid", None),
        ("Jörg Öl <jörg@bücher.example>",
         "=?utf-8?b?SsO2cmcgw5Zs?= <j=C3=B6rg@b=C3=BCcher.example.invalid>", None),
        ("a@b.example (Büro)", "a@b.example (=?utf-8?b?QsO8cm8=?=)", None),
        ("Büro: a@b.example, c@d.example;", "=?utf-8?b?QsO8cm8=?=: a@b.example, c@d.example;", None),
    ],
)  # fmt: skip
def test_addresses_stay_addresses(value: str, encoded: str | None, read: str | None) -> None:
    """U-006: names are encoded; a domain has A-labels; what cannot be written leads to nobody, not to somebody else."""
    field = field_in_ascii(f"From: {value}\r\n".encode(), "unknown-8bit")

    if encoded is not None:
        assert field == f"From: {encoded}\r\n".encode()
    if read is not None:
        assert fields_of(field) == {"From": read}


def test_file_names_stay_parameters() -> None:
    """U-006: a MIME parameter is encoded as RFC 2231 wants it."""
    field = field_in_ascii('Content-Disposition: attachment; filename="\u00fcb \\" 1.pdf"; size=1\r\n'.encode(), "x")
    message = email.message_from_bytes(field + b"\r\n", policy=email.policy.default)

    assert field == b"Content-Disposition: attachment; filename*=utf-8''%C3%BCb%20%22%201.pdf; size=1\r\n"
    assert message.get_filename() == '\u00fcb " 1.pdf'


@pytest.mark.parametrize(
    ("declared", "octets", "encoded"),
    [
        (b"koi8-r", b"\xf0\xf2", b"=?koi8-r?b?8PI=?="),
        (b"windows-1252", b"\x80", b"=?windows-1252?q?=80?="),
        (b"shift_jis", b"\x83\x65\x83\x58\x83\x67", b"=?shift_jis?b?g2WDWINn?="),
        (b"utf-8", b"\xe9", b"=?unknown-8bit?q?=E9?="),
        (b"us-ascii", b"\xe9", b"=?unknown-8bit?q?=E9?="),
        (b"no-such", b"\xe9", b"=?unknown-8bit?q?=E9?="),
        (b"unicode_escape", b"\xe9", b"=?unknown-8bit?q?=E9?="),
        (b"shift_jis", b"\x83", b"=?unknown-8bit?q?=83?="),
        (b"koi8-r", b"\xc3\xa9", b"=?utf-8?b?w6k=?="),
    ],
)
def test_other_charsets_are_named(declared: bytes, octets: bytes, encoded: bytes) -> None:
    """U-023: UTF-8 if it is, else what the message declares if it fits, else unknown (RFC 1428)."""
    header = TRACE + b"Content-Type: text/plain; charset=" + declared + b"\r\nSubject: " + octets + b"\r\n"

    assert b"\r\nSubject: " + encoded + b"\r\n" in surrogate_header(header)


def test_what_is_left_out_is_what_is_missed_least() -> None:
    """U-006, U-009: signatures, which are of another header; then trace fields, from the oldest on; nothing else."""
    start = b"From: a@example.org\r\nSubject: \xc3\xa9\r\n"
    signed = surrogate_header(TRACE + SIGNATURE + start)
    traced = surrogate_header(TRACE + start)
    bare = surrogate_header(start)

    assert signed.startswith(
        TRACE + b"From: a@example.org\r\nSubject: =?utf-8?b?w6k=?=\r\nX-Popframe-Surrogate: yes .."
    )
    assert max(map(len, signed.partition(b"X-Popframe")[2].splitlines())) <= 80
    assert traced.startswith(TRACE.splitlines(keepends=True)[0] + b"From: a@example.org\r\nSubject: =?utf-8?")
    assert bare == start  # no room: nothing is lost instead


@given(st.integers(0, 1000))
def test_the_mark_fills_what_is_left_to_the_octet(more: int) -> None:
    """U-009: with lines that no client finds too long, and none that is blank."""
    header = b"Received: " + b"x" * more + b"\r\n" + TRACE + b"Subject: \xc3\xa9\xc3\xa9\r\n"
    changed = surrogate_header(header)

    assert len(changed) == len(header)
    assert all(line.strip() and len(line) < 998 for line in changed.split(b"\r\n")[:-1] if not line.startswith(b"Rec"))


@pytest.mark.parametrize("before", [0, 1, 2, 3, 4, 5, 100])
@pytest.mark.parametrize("piece_octets", [1000, 1024, 65_536, 10**6])
def test_a_header_that_is_too_long_is_sent_as_it_is(before: int, piece_octets: int) -> None:
    """U-006, U-009, I-4: nothing is lost, and no more of it is in memory than may be."""
    header = b"Subject: " + b"x" * (MAX_HEADER_OCTETS - before) + b"\r\n" + b"Y: \xc3\xa9\r\n" * 9000
    message = header + b"\r\nbody \xc3\xa9\r\n\r\n\xe9\r\n"
    sent = b"".join(with_header_in_ascii(wire.with_crlf(cut(message, [piece_octets]))))

    assert sent == message
    assert needs_utf8_mode(wire.with_crlf(cut(message, [piece_octets])))


@pytest.mark.parametrize(
    "header",
    [
        b"Subject: " + "ü".encode() * 32_000,
        b"From: " + b"<" * 65_000 + b"\xe9",
        b"From: " + b'"\\' * 32_000 + b"\xe9",
        b"From: " + b"(" * 65_000 + b"\xe9",
        b"From: " + b"\xe9@" * 32_000,
        b"From: x@" + "ü.".encode() * 21_000,
        b"From: x@" + ("ü" * 60 + ".").encode() * 500,
        b"Content-Type: " + b"a" * 65_000 + b"\xe9",
        b"Content-Type: " + b"a=\xe9;" * 13_000,
        b"X: " + b"\xe9 " * 32_000,
        b"X: " + b" " * 65_000 + b"\xe9",
        b"a:\xe9\r\n" * 13_000,
        b"DKIM-Signature:a\r\n" * 3_600 + b"X: \xe9",
    ],
    ids=lambda header: header[:12].decode("ascii", "replace"),
)
def test_no_header_takes_much(header: bytes) -> None:
    """H-073, I-4: neither time nor memory; the work grows with the length of a header and not faster."""
    started = time.process_time()
    changed = surrogate_header(header + b"\r\n")
    seconds = time.process_time() - started
    tracemalloc.start()
    surrogate_header(header[:MAX_HEADER_OCTETS] + b"\r\n")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert seconds < 2.0
    assert peak < 2 << 20
    assert len(changed) == len(header) + 2
    assert changed.isascii() or changed == header + b"\r\n"


@pytest.mark.parametrize("mode", AsciiMode)
@pytest.mark.parametrize("is_utf8", [False, True])
@pytest.mark.parametrize("replace_nul", [False, True])
def test_sizes_are_true_in_every_mode(connect: Connect, mode: AsciiMode, *, is_utf8: bool, replace_nul: bool) -> None:
    """U-004, U-006, U-009, U-010, P-047, P-055: LIST, STAT and RETR agree, and only the mode decides what is sent."""
    message = TRACE + b"Subject: caf\xc3\xa9 \0\r\n\r\n.x\0\xc3\xa9\r\n"
    client = connect([message], policy=Policy(ascii_mode=mode, replace_nul=replace_nul))
    client.ask(*["UTF8"] * is_utf8)
    client.log_in("alice", "secret")
    size = len(message)
    assert client.ask("STAT", "LIST 1") == b"+OK 1 %d\r\n+OK 1 %d\r\n" % (size, size)
    status, _, rest = client.ask("RETR 1").partition(b"\r\n")
    if mode is AsciiMode.REFUSE and not is_utf8:
        assert status.startswith(b"-ERR [UTF8] ")
        return
    sent = rest.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
    header, _, body = sent.partition(b"\r\n\r\n")
    stored = message.replace(b"\0", b"\x80") if replace_nul else message

    assert status == b"+OK %d octets" % size
    assert len(sent) == size
    assert body == stored.partition(b"\r\n\r\n")[2]
    assert header.isascii() is (mode is AsciiMode.SURROGATE and not is_utf8)
    assert (sent == stored) is (mode is not AsciiMode.SURROGATE or is_utf8)
