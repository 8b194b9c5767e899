"""Where messages begin and end, how long they are, and that no octet is lost between them."""

from __future__ import annotations

import os
import re
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from popframe import Account, PermanentFailure
from popframe.testing.maildrop_contract import as_sent
from popframe_store_mbox.columns import Index
from popframe_store_mbox.file import FileState
from popframe_store_mbox.from_line import FROM_LINE
from popframe_store_mbox.place import find_place
from popframe_store_mbox.scan import scan
from popframe_store_mbox.snapshot import Snapshot
from popframe_store_mbox.update import find_update

FROM = b"From bob@example.org Mon Jan  5 09:00:00 2026\n"
FROM_CRLF = FROM[:-1] + b"\r\n"


def scan_octets(octets: bytes, window_octets: int = 1 << 20) -> Index:
    """Scan octets as a file."""
    fd = os.memfd_create("mbox")
    try:
        os.write(fd, octets)
        return scan(fd, len(octets), window_octets)
    finally:
        os.close(fd)


def texts(octets: bytes) -> list[bytes]:
    """Return the text of each message."""
    index = scan_octets(octets)
    found = [octets[start:end] for start, end in zip(index.content, index.end, strict=True)]

    assert list(index.octets) == [len(as_sent(text)) for text in found]
    return found


def test_blank_line_between_messages_belongs_to_none() -> None:
    """It separates; the one at the end of the file does too (mbox(5))."""
    assert texts(FROM + b"A: 1\n\na\n\n" + FROM + b"B: 2\n\nb\n\n\n" + FROM + b"C: 3\n\nc\n\n") == [
        b"A: 1\n\na\n",
        b"B: 2\n\nb\n\n",
        b"C: 3\n\nc\n",
    ]


def test_blank_line_before_a_message_may_be_missing() -> None:
    """Procmail adds none to a message that lacks a final line end."""
    assert texts(FROM + b"A: 1\n\na\n" + FROM + b"B: 2\n\nb") == [b"A: 1\n\na\n", b"B: 2\n\nb"]


def test_file_may_have_crlf_line_ends() -> None:
    """A file that came from another system is read all the same."""
    assert texts(FROM_CRLF + b"A: 1\r\n\r\na\r\n\r\n" + FROM_CRLF + b"B: 2\r\n\r\nb\r\n\r\n") == [
        b"A: 1\r\n\r\na\r\n",
        b"B: 2\r\n\r\nb\r\n",
    ]


def test_message_may_be_empty() -> None:
    """From_ lines that follow each other are messages without text (RFC 1939 has no smallest message)."""
    assert texts(FROM + FROM + b"\n" + FROM + b"\n\n" + FROM) == [b"", b"", b"\n", b""]


def test_quoted_from_line_stays_as_it_is_stored() -> None:
    """Nobody can tell whether an agent quoted it or a sender wrote it."""
    assert texts(FROM + b"A: 1\n\n>" + FROM + b">>" + FROM + b"\n") == [b"A: 1\n\n>" + FROM + b">>" + FROM]


def test_from_line_without_a_date_is_text() -> None:
    """Old agents left ``From `` at the start of a line of text."""
    text = b"A: 1\n\nFrom what I hear\n\nFrom bob\n"

    assert texts(FROM + text + b"\n" + FROM + b"B: 2\n\n\n") == [text, b"B: 2\n\n"]


def test_blank_lines_at_the_beginning_belong_to_no_message() -> None:
    """Some programs leave them in a spool that they empty."""
    assert texts(b"\n\n" + FROM + b"A: 1\n\na\n") == [b"A: 1\n\na\n"]
    assert texts(b"\n") == []


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("window_octets", [1, 2048, 4096])
def test_blank_lines_at_the_beginning_may_be_more_than_a_window(line_end: bytes, window_octets: int) -> None:
    """Where a file is cut for reading has no part in whether it is an mbox file."""
    blank = line_end * 5000

    assert list(scan_octets(blank, window_octets).uids) == []
    assert list(scan_octets(blank + FROM + b"A: 1\n\na\n", window_octets).start) == [len(blank)]
    with pytest.raises(PermanentFailure, match=f"at offset {len(blank)} is b'x"):
        scan_octets(blank + b"x" + line_end, window_octets)


@pytest.mark.parametrize("octets", [b"Subject: a\n\nb\n", b"\0" * 100, b"From bob\n\n", FROM[:-1], b"\n>" + FROM])
def test_file_that_does_not_begin_with_a_from_line_is_refused(octets: bytes) -> None:
    """What is not mbox is left alone; the log says what was found."""
    with pytest.raises(PermanentFailure, match="not an mbox file"):
        scan_octets(octets)


# --- Content-Length ---


@pytest.mark.parametrize("after", [b"", b"\n", FROM + b"B: 2\n\nb\n", b"\n" + FROM + b"B: 2\n\nb\n"])
def test_content_length_that_ends_at_a_from_line_or_the_end_is_believed(after: bytes) -> None:
    """It protects a From_ line in the text, which dovecot does not quote."""
    body = b"hello\n\n" + FROM + b"Subject: fake\n\nx\n"
    text = b"A: 1\nContent-Length: %d\n\n" % len(body) + body

    assert texts(FROM + text + after)[0] == text


@pytest.mark.parametrize("length", [b"3", b"400", b"99999999999999999999", b"-5", b"0x10", b"", b"44"])
def test_other_content_length_is_ignored(length: bytes) -> None:
    """A sender cannot hide a message behind a number of his."""
    first = b"A: 1\nContent-Length: " + length + b"\n\nhello\n"

    assert texts(FROM + first + b"\n" + FROM + b"B: 2\n\nb\n\n") == [first, b"B: 2\n\nb\n"]


def test_two_different_content_lengths_are_ignored() -> None:
    """One of them lies."""
    body = b"hello\n\n" + FROM + b"x\n"
    text = b"Content-Length: 3\nContent-Length: %d\n\n" % len(body) + body

    assert len(texts(FROM + text + b"\n")) == 2


def test_content_length_decides_whether_the_last_blank_line_is_text() -> None:
    """It counts the octets of the text, so it knows."""
    text = b"A: 1\nContent-Length: 3\n\na\n\n"

    assert texts(FROM + text + FROM) == [text, b""]


# --- pseudo messages ---

INTERNAL = (
    b"From MAILER-DAEMON Mon Jan  5 09:00:00 2026\nDate: 05 Jan 2026 09:00:00 +0000\n"
    b"From: Mail System Internal Data <MAILER-DAEMON@mail.example.org>\n"
    b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nMessage-ID: <1@mail.example.org>\n"
    b"X-IMAP: 1767603600 0000000007\nStatus: RO\n\n"
    b"This text is part of the internal format of your mail folder.\n\n"
)


def test_internal_data_of_imap_servers_is_hidden() -> None:
    """Dovecot and c-client keep their own data in a first message that no user should get."""
    assert texts(INTERNAL + FROM + b"A: 1\n\na\n\n") == [b"A: 1\n\na\n"]
    assert texts(INTERNAL) == []


def test_message_that_only_looks_like_internal_data_is_shown() -> None:
    """Only the first message, and only with the servers' own field, is theirs; a sender cannot hide mail."""
    without_field = INTERNAL.replace(b"X-IMAP: 1767603600 0000000007\n", b"")

    assert len(texts(FROM + b"A: 1\n\na\n\n" + INTERNAL)) == 2
    assert len(texts(without_field)) == 1


# --- unique-ids ---


def test_uid_is_made_of_from_line_and_header() -> None:
    """So it is the same on every machine and after every restart (RFC 1939 section 7)."""
    digest = blake2b(b"From bob@example.org Mon Jan  5 09:00:00 2026\nSubject: a", digest_size=16).hexdigest()

    assert list(scan_octets(FROM + b"Subject: a\n\nb\n").uids) == [digest]


@pytest.mark.parametrize(
    "field",
    [
        b"Status: RO\n",
        b"X-Status: A\n",
        b"x-uidl: 300\n",
        b"X-UID: 7\n",
        b"X-IMAPbase: 1767603600 7\n",
        b"X-Keywords: a\n\tb\n c\n",
        b"Content-Length: 2\n",
        b"Lines: 1\n",
    ],
)
@pytest.mark.parametrize("place", range(3))
def test_uid_does_not_change_when_mail_programs_add_their_fields(field: bytes, place: int) -> None:
    """An IMAP server marks a message as seen; a POP client must not get it again (RFC 1939 section 7)."""
    fields = [b"Subject: a\n", b"To: alice@example.org\n"]
    plain = FROM + b"".join(fields) + b"\nb\n"
    fields.insert(place, field)

    assert list(scan_octets(FROM + b"".join(fields) + b"\nb\n").uids) == list(scan_octets(plain).uids)


def test_uids_of_copies_are_distinct() -> None:
    """The same octets a thousand times are a thousand messages (RFC 1939 section 7)."""
    uids = list(scan_octets((FROM + b"Subject: a\n\nb\n\n") * 1000).uids)

    assert len(set(uids)) == 1000
    assert {uid.partition("-")[0] for uid in uids} == {uids[0]}
    assert uids[1] == f"{uids[0]}-2"


def test_uid_is_not_what_a_sender_wrote() -> None:
    """Two messages with one ``X-UIDL`` field have two unique-ids."""
    uids = scan_octets(FROM + b"X-UIDL: 1\nSubject: a\n\n\n" + FROM + b"X-UIDL: 1\nSubject: b\n\n\n").uids

    assert len(set(uids)) == 2
    assert "1" not in uids


# --- sizes at odd places ---


@pytest.mark.parametrize("window_octets", [1 << 16, 1 << 20])
def test_header_and_text_of_many_mebibytes_are_measured(window_octets: int) -> None:
    """A message is not kept in memory; its header may be longer than what is looked at."""
    text = b"X-Long: " + b"h" * 3_000_000 + b"\nB: 1\n\n" + b"\r\n" * 700_001 + b"\n" * 700_001 + b"x\r"
    index = scan_octets(FROM + text + b"\r\n\n" + FROM + b"Subject: a\n\nb\n", window_octets)

    assert list(index.octets) == [len(as_sent(text + b"\r\n")), 17]


PIECES = st.sampled_from(
    [
        FROM,
        FROM,
        FROM_CRLF,
        b"From \n",
        b">From x\n",
        b"\n",
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b"x",
        b".\n",
        b"Subject: a\n",
        b"Status: RO\n",
        b"X-IMAP: 1 2\n",
        b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n",
        b" folded\n",
        b"x" * 300 + b"\n",
    ]
)
LENGTHS = st.integers(0, 400).map(b"Content-Length: %d\n".__mod__)
PARTS = st.lists(st.one_of(PIECES, LENGTHS, st.binary(max_size=8)), max_size=30)
FILES = PARTS.map(lambda parts: FROM + b"".join(parts))


@given(FILES)
@example(FROM * 3)
@example(FROM + b"\r\n" + FROM_CRLF + b"\n\r\n")
def test_every_octet_belongs_to_one_message(octets: bytes) -> None:
    """From the first From_ line on, the messages follow each other without a gap, and sizes are exact."""
    index = scan_octets(octets)
    first = index.start[0] if index else len(octets)

    assert b"".join(octets[start:end] for start, end in zip(index.start, index.next, strict=True)) == octets[first:]
    assert first == 0 or b"FOLDER INTERNAL DATA" in octets[:first]
    for start, content, end, following in zip(index.start, index.content, index.end, index.next, strict=True):
        assert start < content <= end <= following
        assert octets[end:following] in (b"", b"\n", b"\r\n")
    assert len(texts(octets)) == len(set(index.uids))


@given(st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=30).map(lambda parts: FROM + b"".join(parts)))
def test_reading_line_by_line_finds_the_same(octets: bytes) -> None:
    """The fast scan is that of popper, which took one line after the other, but for the date that it asks for."""
    messages: list[list[bytes]] = []
    for line in re.findall(rb"[^\n]*\n|[^\n]+", octets):
        if FROM_LINE.match(line):
            messages.append([])
        else:
            messages[-1].append(line)
    for lines in messages:
        if lines and lines[-1] in (b"\n", b"\r\n"):
            lines.pop()
    found = texts(octets)

    assert found == [b"".join(lines) for lines in messages][-len(found) or len(messages) :]


@given(FILES, st.integers(1, 700))
def test_windows_make_no_difference(octets: bytes, window_octets: int) -> None:
    """Wherever the file is cut for reading, the result is the same."""
    assert scan_octets(octets, window_octets) == scan_octets(octets)


@given(FILES, st.sets(st.integers(0, 30)))
def test_removal_keeps_the_others_octet_for_octet(octets: bytes, marks: set[int]) -> None:
    """Exactly the octets of the marked messages go (RFC 1939 section 6)."""
    index = scan_octets(octets)
    deleted = {mark for mark in marks if mark < len(index)}
    ranges = list(zip(index.start, index.next, strict=True))
    first = index.start[0] if index else len(octets)
    kept = octets[:first] + b"".join(octets[s:n] for i, (s, n) in enumerate(ranges) if i not in deleted)
    with TemporaryDirectory() as directory, (Path(directory) / "mbox").open("w+b", buffering=0) as file:
        file.write(octets)
        snapshot = Snapshot(index, FileState.of(file.fileno()), is_settled=False)
        place = find_place(Account("mbox"), Path(directory), None)
        find_update(file.fileno(), snapshot, deleted).apply(file.fileno(), place, snapshot)
        left = (Path(directory) / "mbox").read_bytes()
        names = [path.name for path in Path(directory).iterdir()]

    assert left == kept
    assert names == ["mbox"]


@given(st.binary(max_size=300))
def test_any_octets_are_scanned_or_refused(octets: bytes) -> None:
    """No file makes the scanner fail in another way than by refusing it."""
    try:
        index = scan_octets(octets)
    except PermanentFailure:
        return

    blank = octets[: index.start[0] if index else len(octets)]

    assert blank.replace(b"\r\n", b"\n").strip(b"\n") == b""
