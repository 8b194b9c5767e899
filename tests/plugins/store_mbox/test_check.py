"""What is found in an mbox file, and that it is what the server's own scan makes of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from popframe import Account, PermanentFailure
from popframe_store_mbox import Settings, StoreMbox
from popframe_store_mbox.columns import Index
from popframe_store_mbox.from_line import FROM_LINE, MAX_FROM_LINE_OCTETS
from popframe_store_mbox.scan import MAX_HEADER_OCTETS, scan
from popframe_store_mbox.tools.mbox.check import MboxCheck, MessageReport
from popframe_store_mbox.tools.mbox.finding import Finding
from popframe_store_mbox.tools.mbox.lines import FileChangedError, why_text
from popframe_store_mbox.tools.text import printable, quoted

FROM = b"From bob@example.org Mon Jan  5 09:00:00 2026\n"
FROM_CRLF = FROM[:-1] + b"\r\n"
INTERNAL = (
    FROM + b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1767603600 0000000007\n\nText.\n\n"
)


@dataclass(frozen=True)
class Checked:
    """What was found in some octets."""

    index: Index
    findings: list[Finding]
    reports: list[MessageReport]

    @property
    def kinds(self) -> list[list[str]]:
        """The names of the kinds of findings, message by message."""
        return [[finding.kind.name for finding in report.findings] for report in self.reports]


@contextmanager
def as_file(octets: bytes) -> Iterator[int]:
    """Give octets as an open file."""
    fd = os.memfd_create("mbox")
    try:
        os.write(fd, octets)
        yield fd
    finally:
        os.close(fd)


def check(octets: bytes, piece_octets: int = 1 << 20) -> Checked:
    """Check octets as a file."""
    with as_file(octets) as fd:
        mbox = MboxCheck(fd, len(octets), piece_octets)
        return Checked(mbox.index, mbox.findings, list(mbox.reports()))


def only_finding(octets: bytes, kind: str) -> Finding:
    """Return the one finding of a kind."""
    (finding,) = (one for report in check(octets).reports for one in report.findings if one.kind.name == kind)
    return finding


# --- agreement with the server ------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        FROM,
        FROM,
        FROM_CRLF,
        b"\n" + FROM,
        b"From \n",
        b"From bob\n",
        b"From bob Mon Jan  5 09:00:00 2026",
        b">From x\n",
        b">>From x\r\n",
        b"\n",
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b"x",
        b"Subject: a\n",
        b"X-IMAP: 1 2\n",
        b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n",
        b" folded\n",
        b"x" * 998 + b"\n",
        b"x" * 998 + b"\r\n",
        b"x" * 999,
        b"x" * 3000,
    ]
)
LENGTHS = st.sampled_from([b"Content-Length: %d\n", b"content-length :%d \r\n", b"Content-Length: -%d\n"]).flatmap(
    lambda form: st.integers(0, 400).map(form.__mod__)
)
FILES = st.lists(st.one_of(PIECES, LENGTHS, st.binary(max_size=8)), max_size=30).map(b"".join).map(FROM.__add__)
PIECE_OCTETS = st.sampled_from([MAX_FROM_LINE_OCTETS, MAX_FROM_LINE_OCTETS + 1, 1 << 20])


@given(FILES, PIECE_OCTETS)
@example(FROM * 3, 1 << 20)
def test_messages_are_those_of_the_server(
    tmp_path_factory: pytest.TempPathFactory, octets: bytes, piece_octets: int
) -> None:
    """Number, place, size, unique-id and From_ line of each message are what a session shows."""
    checked = check(octets, piece_octets)
    spool_dir = tmp_path_factory.mktemp("mail")
    (spool_dir / "alice").write_bytes(octets)
    maildrop = StoreMbox(Settings(spool_dir=spool_dir)).popframe_open_maildrop(Account("alice"))
    try:
        sizes, uids = list(maildrop.message_octets()), list(maildrop.message_uids())
    finally:
        maildrop.close()

    assert [report.octets for report in checked.reports] == sizes
    assert [report.uid for report in checked.reports] == uids
    for number, report in enumerate(checked.reports, 1):
        assert report.number == number
        assert octets.startswith(report.from_line, report.offset)
        assert report.line == octets.count(b"\n", 0, report.offset) + 1


@given(FILES, PIECE_OCTETS)
@example(FROM + b"A: 1\n\n" + FROM[:-1], MAX_FROM_LINE_OCTETS)
def test_every_line_that_begins_as_a_from_line_is_accounted_for(octets: bytes, piece_octets: int) -> None:
    """It separates, or it is text and counted as such; a good one is text only because of a Content-Length."""
    checked = check(octets, piece_octets)
    counted = {"from-line-protected": 0, "from-in-text": 0}
    for report in checked.reports:
        names = [finding.kind.name for finding in report.findings]
        assert "from-line-protected" not in names or "content-length-believed" in names
        for finding in report.findings:
            if finding.kind.name in counted:
                assert octets.startswith(b"From ", finding.offset)
                counted[finding.kind.name] += finding.count
    index = checked.index
    places = [
        found.start()
        for start, content, end in zip(index.start, index.content, index.end, strict=True)
        for found in re.finditer(rb"(?m)^From ", octets)
        if content <= found.start() < found.end() <= end
        if found.start() != start
    ]
    protected = [place for place in places if FROM_LINE.match(octets, place)]

    assert counted["from-line-protected"] == len(protected)
    assert counted["from-in-text"] == len(places) - len(protected)


@given(FILES)
def test_content_length_that_is_said_to_be_ignored_changes_nothing(octets: bytes) -> None:
    """Without it every message begins and ends where it did; one that is believed says where its text ends."""
    checked = check(octets)
    without = bytearray(octets)
    for message, report in enumerate(checked.reports):
        for finding in report.findings:
            if finding.kind.name == "content-length-ignored":
                head_end = checked.index.header_end[message]
                head = octets[report.offset : head_end]
                without[report.offset : head_end] = re.sub(rb"(?i)\ncontent-length", b"\nXontent-length", head)
            if finding.kind.name == "content-length-believed":
                (length,) = {int(number) for number in re.findall(r"(\d+) octets of text", finding.text)}
                text = octets[: checked.index.end[message]][-length or len(octets) :]
                assert len(text) == length
                assert re.search(rb"\n\r?\n\Z", octets[: checked.index.end[message] - length])
    with as_file(bytes(without)) as fd:
        index = scan(fd, len(without))

    assert list(index.start) == list(checked.index.start)
    assert list(index.end) == list(checked.index.end)


@given(FILES, PIECE_OCTETS)
def test_counts_are_those_of_reading_octet_by_octet(octets: bytes, piece_octets: int) -> None:
    """However the text falls into pieces."""
    checked = check(octets, piece_octets)
    index = checked.index
    for message, report in enumerate(checked.reports):
        text = octets[index.content[message] : index.end[message]]
        lines = re.findall(rb"[^\n]*\n|[^\n]+", text)
        crlf_count = sum(line.endswith(b"\r\n") for line in lines)
        lf_count = sum(line.endswith(b"\n") for line in lines) - crlf_count
        expected = {
            "nul": text.count(b"\0"),
            "lone-cr": len(re.findall(rb"\r(?!\n)", text)),
            "quoted-from": sum(re.match(rb">+From ", line) is not None for line in lines),
            "long-line": sum(len(re.sub(rb"\r?\n\Z", b"", line)) > 998 for line in lines),
            "mixed-line-ends": int(crlf_count > 0 < lf_count),
            "no-line-end": int(text != b"" and not text.endswith(b"\n")),
            "empty": int(text == b""),
        }
        found = {finding.kind.name: finding.count for finding in report.findings}

        assert {name: found.get(name, 0) for name in expected} == expected


@given(st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=10).map(b"".join))
def test_file_is_no_mbox_file_when_the_server_refuses_it(octets: bytes) -> None:
    """The server's own reason is told."""
    with as_file(octets) as fd:
        try:
            scan(fd, len(octets))
            reason = ""
        except PermanentFailure as refusal:
            reason = str(refusal)
    checked = check(octets)
    refused = [finding.text for finding in checked.findings if finding.kind.name == "not-mbox"]

    assert bool(refused) == bool(reason)
    assert all(text.startswith(reason) for text in refused)
    assert not (refused and checked.reports)


# --- each finding -------------------------------------------------------------------------------------------------


def test_nothing_is_found_in_a_good_file() -> None:
    """LF or CRLF, a blank line before each From_ line and at the end (mbox(5))."""
    message = FROM + b"Subject: %d\n\ntext\n\n"

    assert check(message % 1 + message % 2).kinds == [[], []]
    assert check((message % 1 + message % 2).replace(b"\n", b"\r\n")).kinds == [[], []]
    assert check(b"") == Checked(Index(0), [], [])


def test_missing_blank_line_is_found() -> None:
    """Procmail leaves it out after a message that has no final line end."""
    checked = check(FROM + b"A: 1\n\na\n" + FROM + b"B: 2\n\nb\n\n" + FROM + b"C: 3\n\nc\n\n")

    assert checked.kinds == [[], ["no-blank-line"], []]
    assert checked.reports[1].line == checked.reports[1].findings[0].line == 5


def test_blank_line_that_a_content_length_counts_is_not_missing() -> None:
    """It is there, though it is text."""
    assert "no-blank-line" not in check(FROM + b"Content-Length: 3\n\na\n\n" + FROM + b"A: 1\n\n\n").kinds[1]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (b"Content-Length: 3", "3 octets of text would end at offset 73, in this message, where"),
        (
            b"Content-Length: 60",
            "60 octets of text would end at offset 131, in message 2, where no From_ line is but",
        ),
        (
            b"Content-Length: 64",
            "64 octets of text would end at offset 135, in message 2, where no From_ line is",
        ),
        (b"Content-Length: 900", "900 octets of text would end 834 octets beyond the end of the file"),
        (b"Content-Length: many", "'many' is not a number of octets"),
        (b"Content-Length:", "'' is not a number of octets"),
        (b"Content-Length: 1\nContent-Length: 2", "there are several, which differ"),
    ],
)
def test_ignored_content_length_is_explained(field: bytes, text: str) -> None:
    """Where it points, and what is there."""
    octets = FROM + b"A: 1\n" + field + b"\n\nhello\nyou\n\n" + FROM + b"B: 2\n\nb\n\n"
    finding = only_finding(octets, "content-length-ignored")

    assert finding.text.startswith(f"Content-Length is ignored: {text}")
    assert octets.startswith(b"Content-Length", finding.offset)
    assert finding.line == 3


@pytest.mark.parametrize(("length", "there"), [(60, "'2'"), (64, "a line end"), (0, "'hello'")])
def test_what_is_found_where_a_content_length_points_is_shown(length: int, there: str) -> None:
    """The operator sees whether it misses by some octets or by all."""
    octets = FROM + b"A: 1\nContent-Length: %02d\n\nhello\nyou\n\n" % length + FROM + b"B: 2\n\nb\n\n"

    assert only_finding(octets, "content-length-ignored").text.endswith(f"where no From_ line is but {there}")


def test_content_length_without_an_end_of_the_header_is_explained() -> None:
    """There is nothing to count from."""
    assert "no end to count from" in only_finding(FROM + b"Content-Length: 0\n", "content-length-ignored").text


@pytest.mark.parametrize(
    ("after", "where"),
    [(b"", "at the end of the file"), (b"\n", "at the end of the file"), (b"\n" + FROM + b"B: 2\n\nb\n", "From_ line")],
)
def test_believed_content_length_protects_a_from_line(after: bytes, where: str) -> None:
    """Dovecot's agent does not quote; other programs may split the message there."""
    body = b"hello\n\n" + FROM + b"Subject: fake\n\nx\n"
    octets = FROM + b"Content-Length: %d\n\n" % len(body) + body + after
    checked = check(octets)
    believed, protected = checked.reports[0].findings

    assert checked.kinds[0] == ["content-length-believed", "from-line-protected"]
    assert believed.text.endswith(where)
    assert protected.line == 6
    assert octets.startswith(FROM, protected.offset)


def test_from_line_protected_at_the_very_end_is_found() -> None:
    """Its line end belongs to the separator, so it would be a From_ line without the Content-Length."""
    body = b"hello\n" + FROM[:-1]

    assert check(FROM + b"Content-Length: %d\n\n" % len(body) + body + b"\n" + FROM + b"A: 1\n\n").kinds[0] == [
        "content-length-believed",
        "from-line-protected",
        "no-line-end",
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"From what I hear\n", "no weekday"),
        (b"From bob Mon\n", "no weekday"),
        (b"From bob Mon 5 09:00:00 2026\n", "no month"),
        (b"From bob Mon Jan  5 2026\n", "no day and time"),
        (b"From bob Mon Jan  5 09:00:00\n", "no year"),
        (b"From bob Mon Jan  5 09:00:00 20261\n", "no year"),
        (b"From bob Mon Jan  5 09:00:00 2026 and more\n", "more stands behind it"),
        (b"From bob Mon Jan  5 09:00:00 2026", "no line end"),
        (b"From bob" + b" " * 3000 + b"Mon Jan  5 09:00:00 2026\n", "longer than any"),
    ],
)
def test_line_that_does_not_separate_is_explained(line: bytes, reason: str) -> None:
    """What it lacks."""
    finding = only_finding(FROM + b"A: 1\n\ntext\n" + line, "from-in-text")

    assert FROM_LINE.match(line) is None
    assert reason in finding.text
    assert reason in why_text(line[:MAX_FROM_LINE_OCTETS])
    assert (finding.line, finding.count) == (5, 1)


def test_lines_are_counted_by_reason() -> None:
    """A thousand of them are one finding, which shows the first."""
    checked = check(FROM + b"A: 1\n\n" + b"From x\n" * 1000 + b"From x Mon Jan 5\n" + b"\n")
    first, second = checked.reports[0].findings

    assert (first.count, first.line, second.count, second.line) == (1000, 4, 1, 1004)
    assert first.text.endswith("(the first of 1000 such lines)")


def test_quoted_lines_are_a_note() -> None:
    """Every agent quotes; nothing is wrong with it."""
    report = check(FROM + b"A: 1\n\n>From x\n>>From y\n> From z\n\n").reports[0]

    assert [(finding.kind.name, finding.count, finding.line) for finding in report.findings] == [("quoted-from", 2, 4)]
    assert not report.is_odd


def test_pseudo_message_is_told_and_not_numbered() -> None:
    """It is the file's, not a message."""
    octets = b"\r\n\n" + INTERNAL
    checked = check(octets + FROM + b"A: 1\n\na\n\n")

    assert [(finding.kind.name, finding.offset, finding.line) for finding in checked.findings] == [
        ("leading-blank-lines", 0, 1),
        ("pseudo-message", 3, 3),
    ]
    assert f"{len(INTERNAL)} octets at offset 3" in checked.findings[1].text
    assert [(report.number, report.offset, report.line) for report in checked.reports] == [
        (1, len(octets), octets.count(b"\n") + 1)
    ]
    assert [finding.kind.name for finding in check(INTERNAL).findings] == ["pseudo-message"]


def test_header_without_end_is_found() -> None:
    """All of the message is header then; or the header is longer than the server looks."""
    short, long = check(FROM + b"A: 1\nB: 2\n"), check(FROM + b"A: " + b"a" * MAX_HEADER_OCTETS + b"\n\nb\n")

    assert short.kinds == [["no-header-end"]]
    assert long.kinds == [["long-line", "no-header-end"]]
    assert "within 262144 octets" in long.reports[0].findings[1].text


@pytest.mark.parametrize("text", [b"a torn text\n\nand more\n", b" folded: 1\n\n"])
def test_header_that_begins_with_no_field_is_found(text: bytes) -> None:
    """Often it is the rest of a message that was torn apart."""
    finding = only_finding(FROM + b"A: 1\n\na\n\n" + FROM + text + b"\n", "no-field-first")

    assert finding.line == 7
    assert finding.text.startswith(quoted(text))


def test_empty_header_is_not_odd() -> None:
    """A message of text only is a message."""
    assert check(FROM + b"\ntext\n\n").kinds == [[]]


def test_message_without_anything_is_found() -> None:
    """It is sent as nothing at all."""
    assert check(FROM + FROM_CRLF + b"A: 1\n\na\n").kinds == [["empty"], ["no-blank-line"]]


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        (b"a\0b\0\n", "nul", 4),
        (b"a\nb\rc\n", "lone-cr", 5),
        (b"a\nb\r\n", "mixed-line-ends", 5),
        (b"a\n" + b"x" * 999 + b"\n", "long-line", 5),
        (b"a\n" + b"x" * 5_000_000 + b"\n", "long-line", 5),
        (b"a\nb", "no-line-end", 5),
    ],
)
def test_octets_that_make_trouble_are_found(text: bytes, name: str, line: int) -> None:
    """With the line in which they are for the first time."""
    octets = FROM + b"A: 1\n\n" + text
    finding = only_finding(octets, name)

    assert finding.line == line
    assert octets.count(b"\n", 0, finding.offset) == line - 1 - (octets[finding.offset] == 0x0A)


def test_longest_line_is_told() -> None:
    """With the number of those that are too long; the line end does not count (RFC 5322 section 2.1.1)."""
    text = b"x" * 1500 + b"\r\n" + b"x" * 2_000_000 + b"\r\n" + b"x" * 998 + b"\r\n"

    assert only_finding(FROM_CRLF + b"A: 1\r\n\r\n" + text, "long-line").text.startswith("2 lines over 998 octets")
    assert only_finding(FROM_CRLF + b"A: 1\r\n\r\n" + text, "long-line").text.endswith("the longest with 2000000")


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_line_is_too_long_from_its_999th_octet_on(line_end: bytes) -> None:
    """Whatever stands before it, and however the search leaps (RFC 5322 section 2.1.1)."""
    lengths = [(before, length) for before in (0, 1, 2, 995, 996, 997, 998) for length in range(996, 1002)]
    found = {}
    for before, length in lengths:
        octets = FROM + b"x" * before + line_end + b"y" * length + line_end + b"z" * before + line_end
        found[before, length] = any("long-line" in kinds for kinds in check(octets).kinds)

    assert found == {(before, length): length > 998 for before, length in lengths}


@pytest.mark.parametrize("place", range(MAX_FROM_LINE_OCTETS - 3, MAX_FROM_LINE_OCTETS + 3))
def test_long_line_may_be_cut_anywhere(place: int) -> None:
    """Neither is a CRLF torn apart by that, nor does a line begin there."""
    for tail in (b"\r\nx\r\n", b"From bob\r\n", b">From bob\r\n"):
        text = b"A: 1\r\n\r\n" + b"x" * place + tail

        assert [kinds for kinds in check(FROM_CRLF + text + b"\r\n", MAX_FROM_LINE_OCTETS).kinds] == [["long-line"]]


def test_copies_are_found() -> None:
    """All but the first have a unique-id with a suffix."""
    message = FROM + b"Subject: a\n\na\n\n"
    checked = check(FROM + b"B: 2\n\n\n" + message * 3)

    assert checked.kinds == [[], [], ["copy"], ["copy"]]
    assert [report.uid.partition("-")[2] for report in checked.reports] == ["", "", "2", "3"]
    assert "those of message 2," in checked.reports[3].findings[0].text


@pytest.mark.parametrize(
    ("octets", "what"),
    [
        (b"Return-Path: <bob@example.org>\nSubject: a\n\nb\n", "a message without From_ line"),
        (b"From bob\nA: 1\n", "it has no date"),
        (b"\0" * 5000, "NUL octets"),
        (b"\x1f\x8b\x08\0", "a compressed file"),
        (b"\xef\xbb\xbf" + FROM, "a byte order mark"),
        (b"*mbx*\r\n1234", "the mbx format"),
        (b"\x01\x01\x01\x01\nA: 1\n", "the MMDF format"),
        (b">" + FROM, "a quoted From_ line"),
        (b"\xff\xfe", "not an mbox file"),
    ],
)
def test_file_of_another_kind_is_recognised(octets: bytes, what: str) -> None:
    """The server refuses it; the operator is told what it may be."""
    (finding,) = check(b"\n" + octets).findings

    assert finding.kind.name == "not-mbox"
    assert what in finding.text
    assert (finding.offset, finding.line) == (1, 2)
    assert finding.text.endswith("there is no From_ line in the file")


def test_first_from_line_at_the_beginning_of_a_piece_is_found() -> None:
    """No piece sees the line end before it."""
    (finding,) = check(b"x" * (MAX_FROM_LINE_OCTETS - 1) + b"\n" + FROM, MAX_FROM_LINE_OCTETS).findings

    assert finding.text.endswith(f"the first From_ line is line 2, at offset {MAX_FROM_LINE_OCTETS}")


@pytest.mark.parametrize("gap", [0, 3_000_000])
def test_first_from_line_behind_something_else_is_found(gap: int) -> None:
    """So that an editor can be sent there."""
    octets = b"rubbish\n" + b"x\n" * (gap // 2) + FROM + b"A: 1\n\n"
    (finding,) = check(octets).findings

    assert finding.text.endswith(f"the first From_ line is line {gap // 2 + 2}, at offset {gap + 8}")


# --- a file that changes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 3 * len(FROM)])
def test_file_that_was_cut_is_not_read_on(size: int) -> None:
    """What was not there is not made up."""
    message = FROM + b"A: 1\nContent-Length: 2\n\na\n\n"
    with as_file(message * 3) as fd:
        reports = MboxCheck(fd, 3 * len(message)).reports()
        next(reports)
        os.ftruncate(fd, size)
        with pytest.raises(FileChangedError):
            list(reports)


def test_header_that_lost_its_end_is_noticed() -> None:
    """There is nothing to count a Content-Length from any more."""
    message = FROM + b"A: 1\nContent-Length: 2\n\na\n\n"
    with as_file(message) as fd:
        reports = MboxCheck(fd, len(message)).reports()
        os.pwrite(fd, message.replace(b"\n\na", b"\nxa"), 0)
        with pytest.raises(FileChangedError):
            list(reports)


@given(FILES, st.binary(max_size=3000), st.integers(0, 3000))
def test_file_that_is_written_to_meanwhile_raises_nothing_else(octets: bytes, other: bytes, offset: int) -> None:
    """Whatever stands there by now; that the file has changed is told by its times."""
    with as_file(octets) as fd, suppress(FileChangedError):
        reports = MboxCheck(fd, len(octets)).reports()
        next(reports, None)
        os.pwrite(fd, other, offset)
        numbers = [report.number for report in reports]

        assert numbers == list(range(2, len(numbers) + 2))


# --- what a terminal gets -----------------------------------------------------------------------------------------


@given(st.binary())
def test_no_octet_reaches_the_terminal_as_an_instruction(octets: bytes) -> None:
    """A sender may put escape sequences into a From_ line."""
    assert printable(octets).isprintable()
    assert quoted(octets).isprintable()
    assert len(quoted(b"x" * 1000)) < 100
