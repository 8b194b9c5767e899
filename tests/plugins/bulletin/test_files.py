"""What may lie in the folder: every form of a bulletin, and whatever else."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import Account
from popframe_bulletin.catalogue import Catalogue, Entry
from popframe_bulletin.composing import compose
from popframe_bulletin.finding import text_length
from popframe_bulletin.message import BadBulletin, parse, parse_moment
from popframe_bulletin.popbull import Received
from popframe_bulletin.popbull import parse as parse_popbull
from popframe_bulletin.record import Record

from .bulletin_room import FROM_LINE, Room

BODY = b"To: all\nSubject: x\n\nhi\n"


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("12", Entry(12, "12", None)),
        ("0012.text", Entry(12, "0012.text", "text")),
        ("3.staff.new printer", Entry(3, "3.staff.new printer", "staff")),
        ("3-new.printer.txt", Entry(3, "3-new.printer.txt", "printer")),
        ("7..x", Entry(7, "7..x", "")),
        ("notes", None),
        (".12", None),
        ("-1", None),
        ("12.text~", None),
        ("٣", None),
        ("9" * 16, None),
        ("0" * 30 + "9", Entry(9, "0" * 30 + "9", None)),
        ("5\nx", Entry(5, "5\nx", None)),
    ],
)
def test_name_tells_number_and_group(name: str, entry: Entry | None) -> None:
    """The number is what it begins with; names without one, and those of editors' copies, are passed over."""
    assert Entry.of(name) == entry


@pytest.mark.parametrize("what", ["link", "dangling", "folder", "pipe", "copy", "hidden", "text"])
def test_what_is_no_bulletin_is_passed_over(quick_room: Room, what: str) -> None:
    """Not even its number counts."""
    quick_room.post("1")
    secret = quick_room.state.parent / "secret"
    secret.write_bytes(FROM_LINE + BODY)
    odd = quick_room.folder / "99.odd"
    match what:
        case "link":
            odd.symlink_to(secret)
        case "dangling":
            odd.symlink_to("nowhere")
        case "folder":
            odd.mkdir()
        case "pipe":
            os.mkfifo(odd)
        case "copy":
            (quick_room.folder / "99.odd~").write_bytes(FROM_LINE + BODY)
        case "hidden":
            (quick_room.folder / ".99").write_bytes(FROM_LINE + BODY)
        case "text":
            (quick_room.folder / "README").write_bytes(b"read me")

    assert quick_room.got() == ["This is 1."]
    assert quick_room.popbull().read_bytes() == b"1\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "does not begin with a From_ line"),
        (b"Subject: x\n\nhi\n", "does not begin with a From_ line (From sender date), but with 'Subject: x'"),
        (b"From staff\n\nhi\n", "does not begin with a From_ line"),
        (b"From a Mon Jan 32 09:00:00 2026", "cannot be"),
        (b"From a Mon Jan  5 25:00:00 2026\n", "the date of its From_ line cannot be"),
        (b"From a Mon Jan  5 09:00:00 0000\n", "cannot be"),
        (b"From a Mon Jan  5 09:00:00 -2300 9999\n", ""),
        (b"From " + b"a " * 2000 + b"Mon Jan  5 09:00:00 2026\n", "does not begin with a From_ line"),
        (FROM_LINE + b"X-Bulletin-Begins: soon\n\nhi\n", "X-Bulletin-Begins is 'soon', which is no date"),
        (FROM_LINE + b"X-Bulletin-Expires: 2026-13-01\n\nhi\n", "X-Bulletin-Expires is '2026-13-01'"),
        (FROM_LINE + b"X-Bulletin-Template: perhaps\n\nhi\n", "X-Bulletin-Template is 'perhaps' instead of yes or no"),
        (FROM_LINE + b"X-Bulletin-Template: yes\n\nhi {name}\n", "template: '{name}' is none of {user}"),
        (FROM_LINE + b"X-Bulletin-Template: yes\n\nhi {\n", "template: '{' is none of"),
        (
            FROM_LINE + b"X-Bulletin-Template: yes\nContent-Transfer-Encoding: base64\n\naGk=\n",
            "a template is text/plain",
        ),
        (FROM_LINE + b"X-Bulletin-Template: yes\nContent-Type: multipart/mixed\n\nhi\n", "a template is text/plain"),
    ],
)
def test_bad_bulletin_holds_back_the_others_and_is_told(
    quick_room: Room, caplog: pytest.LogCaptureFixture, content: bytes, reason: str
) -> None:
    """Nothing is delivered before it is mended, as with popper; then all is."""
    quick_room.popbull().write_text("1\n")
    quick_room.post("2")
    path = quick_room.folder / "3"
    path.write_bytes(content)
    quick_room.aged(path)
    quick_room.post("4")
    if not reason:  # odd, and good
        assert len(quick_room.got()) == 3
        return

    assert quick_room.got() == []
    assert quick_room.popbull().read_bytes() == b"1\n"
    assert f"no bulletins for alice: {path}: " in caplog.text
    assert reason in caplog.text
    assert "Traceback" not in caplog.text
    quick_room.post("3")
    assert quick_room.got() == ["This is 2.", "This is 3.", "This is 4."]


def test_bad_bulletin_that_a_user_does_not_get_holds_nothing_back(quick_room: Room) -> None:
    """Old ones are not looked at, not even for a new user."""
    for name in ("1", "2", "3"):
        quick_room.post(name)
    quick_room.aged(quick_room.folder / "2").write_bytes(b"bad")
    quick_room.popbull("bob").write_text("2\n")

    assert quick_room.got("alice") == ["This is 3."]
    assert quick_room.got("bob") == ["This is 3."]


def test_unreadable_file_is_told(quick_room: Room, caplog: pytest.LogCaptureFixture) -> None:
    """A file that vanishes between the listing and the reading is the same to a process that is root."""
    plugin = quick_room.plugin()
    quick_room.post("1")
    catalogue = plugin._catalogue
    (entry,) = catalogue.entries()
    (quick_room.folder / "1").unlink()
    with pytest.raises(BadBulletin, match="No such file"):
        catalogue.message(entry)

    assert quick_room.got() == []


def test_huge_file_is_told(quick_room: Room, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody's maildrop is filled by a slip."""
    path = quick_room.folder / "1"
    with path.open("wb") as file:
        file.write(FROM_LINE)
        file.truncate(3 << 30)
    quick_room.aged(path)

    assert quick_room.got() == []
    assert "more than max_octets, which is 1048576" in caplog.text


def test_file_that_is_being_written_waits(quick_room: Room) -> None:
    """Its number is remembered as one to come, and others pass it."""
    quick_room.post("1")
    quick_room.popbull().write_text("1\n")
    (quick_room.folder / "2").write_bytes(FROM_LINE + b"To: all\n")
    quick_room.post("3")

    assert quick_room.got() == ["This is 3."]
    assert quick_room.popbull().read_bytes() == b"3\nlater 2\n"
    quick_room.post("2")
    assert quick_room.got() == ["This is 3.", "This is 2."]
    assert quick_room.popbull().read_bytes() == b"3\n"


def test_changed_file_is_read_again(quick_room: Room) -> None:
    """A slip is mended before most users log in, under the same number."""
    quick_room.post("1", b"a slip\n")
    assert quick_room.got("alice") == ["a slip"]
    quick_room.post("1", b"mended\n")
    assert quick_room.got("bob") == ["mended"]
    assert quick_room.got("alice") == ["a slip"]


def test_unchanged_files_are_not_read_again(quick_room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """One reading serves all users."""
    quick_room.post("1")
    quick_room.plugin()
    opened: list[str] = []
    original = Catalogue._read

    def reading(self: Catalogue, path: str) -> object:
        opened.append(path)
        return original(self, path)

    monkeypatch.setattr(Catalogue, "_read", reading)

    assert [quick_room.got(user) for user in ("alice", "bob", "carol")] == [["This is 1."]] * 3
    assert opened == []


# --- dates


def field(name: str, moment: datetime) -> bytes:
    """Return a field with a date."""
    return f"X-Bulletin-{name}: {moment.isoformat()}\n".encode()


def test_bulletin_comes_when_it_begins_and_not_when_it_has_expired(quick_room: Room) -> None:
    """One that begins later holds back no other."""
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    quick_room.popbull().write_text("1\n")
    quick_room.post("2", header=field("Expires", now - hour))
    quick_room.post("3", header=field("Begins", now + hour))
    quick_room.post("4", header=field("Begins", now - hour) + field("Expires", now + hour))

    assert quick_room.got() == ["This is 4."]
    assert quick_room.popbull().read_bytes() == b"4\nlater 3\n"
    assert b"X-Bulletin-Begins" not in quick_room.mail()[0]
    assert b"X-Bulletin-Expires" not in quick_room.mail()[0]
    quick_room.post("3", header=field("Begins", now - hour))
    assert quick_room.got() == ["This is 4.", "This is 3."]
    assert quick_room.popbull().read_bytes() == b"4\n"


def test_bulletin_that_is_withdrawn_before_it_begins_is_forgotten(quick_room: Room) -> None:
    """Its number is not waited for any more."""
    quick_room.popbull().write_text("1\n")
    quick_room.post("2", header=b"X-Bulletin-Begins: 2999-01-01\n")
    quick_room.log_in()
    assert quick_room.popbull().read_bytes() == b"2\nlater 2\n"
    (quick_room.folder / "2").unlink()
    assert quick_room.got() == []
    assert quick_room.popbull().read_bytes() == b"2\n"


def test_new_user_gets_the_newest_that_has_begun_and_not_expired(quick_room: Room) -> None:
    """An expired one takes nobody's place."""
    quick_room.post("1")
    quick_room.post("2")
    quick_room.post("3", header=b"X-Bulletin-Expires: 2020-01-01\n")
    quick_room.post("4", header=b"X-Bulletin-Begins: 2999-01-01\n")

    assert quick_room.got(max_old_bulletins=1) == ["This is 2."]
    assert quick_room.popbull().read_bytes() == b"4\nlater 4\n"


@pytest.mark.parametrize(
    ("text", "is_end", "expected"),
    [
        ("2026-12-24", False, "2026-12-24T00:00"),
        ("2026-12-24", True, "2026-12-25T00:00"),
        ("2026-12-24T18:30", True, "2026-12-24T18:30"),
        ("2026-12-24 18:30+02:00", False, "2026-12-24T18:30+02:00"),
    ],
)
def test_moment_is_read(text: str, is_end: bool, expected: str) -> None:
    """A day's end is the end of that day; what has no zone is local time."""
    assert parse_moment(text, is_end=is_end) == datetime.fromisoformat(expected).astimezone()


# --- templates


def test_template_is_filled_in_for_each_user(room: Room) -> None:
    """In header and text; braces of other bulletins are left alone."""
    room.popbull().write_text("1\n")
    room.post(
        "2",
        b"Dear {user}, {{this}} is {number} for {address} at {domain}.\n",
        header=b"X-Bulletin-Template: yes\nX-Note: for {user}\n",
    )
    room.post("3", b"if (x) { {user} }\n")

    assert room.got() == ["Dear alice, {this} is 2 for alice@pop.example.org at pop.example.org.", "if (x) { {user} }"]
    assert b"\nX-Note: for alice\n" in room.mail()[0]
    assert b"X-Bulletin-Template" not in room.mail()[0]


def test_values_are_escaped_in_html(quick_room: Room) -> None:
    """A name is no markup."""
    quick_room.post(
        "1", b"<p>Dear {user}</p>\n", header=b"X-Bulletin-Template: yes\nContent-Type: text/html; charset=utf-8\n"
    )

    assert quick_room.got("<b>&") == ["<p>Dear &lt;b&gt;&amp;</p>"]


def test_value_never_ends_a_line() -> None:
    """Whatever a plugin calls its users, no name adds a field."""
    bulletin = parse(FROM_LINE + b"To: x\nX-Bulletin-Template: yes\nX: {user}\n\n{user}\n")
    message = compose(bulletin, 1, Account("a\nBcc: everybody\r\n"), "h", "t.0")

    assert message.content.count(b"\n") == 5
    assert b"\nBcc" not in message.content


# --- any octets at all


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda rest: FROM_LINE + rest))
def test_any_octets_are_a_bulletin_or_a_bad_one(octets: bytes) -> None:
    """Nothing else is raised; and what is delivered has its mark first and one blank line behind the header."""
    try:
        message = compose(parse(octets), 1, Account("alice"), "h", "t.0")
    except BadBulletin:
        return
    assert message.content.startswith(b"X-Bulletin-Delivery: t.0\n")
    assert message.received.tzinfo is not None
    assert text_length(message.content) == text_length(message.content.replace(b"\n", b"\r\n") + b"\r\n")


@given(st.binary(max_size=60) | st.from_regex(rb"[0-9]{1,16}\n(later( [0-9]{1,3})*\n)?", fullmatch=True))
def test_any_octets_are_a_state(octets: bytes) -> None:
    """What is read is what would be written, or nothing."""
    received = parse_popbull(octets)
    assert received is None or parse_popbull(received.content()) == received


@given(st.integers(0, 10**15 - 1), st.sets(st.integers(0, 10**15 - 1)))
def test_state_is_read_as_it_was_written(last: int, later: set[int]) -> None:
    """For all numbers."""
    received = Received(last, frozenset(number for number in later if number <= last))
    assert parse_popbull(received.content()) == received


@given(st.data())
def test_record_that_is_not_whole_is_none(data: st.DataObject) -> None:
    """Cut or changed anywhere."""
    record = Record("t" * 16, b"8\n", b"10\nlater 9\n", ((9, 100), (10, 20)))
    content = record.encode()
    assert Record.decode(content) == record
    cut = data.draw(st.integers(0, len(content) - 1))
    assert Record.decode(content[:cut]) is None
    assert Record.decode(content[:cut] + bytes([content[cut] ^ 1]) + content[cut + 1 :]) is None


def test_a_login_without_news_is_cheap(quick_room: Room, tmp_path: Path) -> None:
    """No file but .popbull is opened; the measure is generous, for the machine may be busy."""
    quick_room.post("1")
    quick_room.log_in()
    began = time.process_time()
    for _ in range(1000):
        quick_room.log_in()

    assert (time.process_time() - began) / 1000 < 0.001
