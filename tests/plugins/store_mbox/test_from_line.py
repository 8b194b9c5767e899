"""Which lines separate messages."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe_store_mbox.from_line import FROM_LINE, MAX_FROM_LINE_OCTETS, NEXT_FROM_LINE, make_from_line


@pytest.mark.parametrize(
    "line",
    [
        b"From alice@example.org Thu Jan  1 00:00:00 1970\n",
        b"From alice@example.org Thu Jan 01 00:00:00 1970\n",
        b"From alice@example.org  Thu Jan  1 00:00:00 1970\n",
        b"From alice@example.org Thu Jan  1 00:00 1970\n",
        b"From alice@example.org Thu Jan  1 00:00:00 1970 +0000\n",
        b"From alice@example.org Thu Jan  1 00:00:00 +0100 1970\n",
        b"From alice@example.org Thu Jan  1 00:00:00 EST 1970\n",
        b"From alice@example.org Thu Jan  1 00:00:00 MET DST 1970\n",
        b"From alice@example.org Thu Jan  1 00:00:00 1970 GMT\n",
        b"From alice Thu Jan  1 00:00:00 1970 remote from mail\n",
        b"From alice@example.org Thu Jan  1 00:00:00 1970\r\n",
        b"From alice@example.org Thu Jan  1 00:00:00 1970 \n",
        b'From "alice and bob"@example.org Thu Jan  1 00:00:00 1970\n',
        b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n",
        b"From  Thu Jan  1 00:00:00 1970\n",
        b"From Thu Jan  1 00:00:00 1970\n",
        b"From caf\xc3\xa9@example.org Thu Jan  1 00:00:00 1970\n",
        b"From %b Thu Jan  1 00:00:00 1970\n" % (b"a" * 900),
    ],
)
def test_line_separates_messages_in_every_form_that_programs_write(line: bytes) -> None:
    """The date of ctime(3), with or without seconds and zone; the sender may be anything (mbox, RFC 4155)."""
    found = FROM_LINE.match(line)

    assert found
    assert found.end(1) == len(line)


@pytest.mark.parametrize(
    "line",
    [
        b">From alice@example.org Thu Jan  1 00:00:00 1970\n",
        b" From alice@example.org Thu Jan  1 00:00:00 1970\n",
        b"from alice@example.org Thu Jan  1 00:00:00 1970\n",
        b"From: alice@example.org Thu Jan  1 00:00:00 1970\n",
        b"From alice@example.org\n",
        b"From the beginning on Thursday it was clear\n",
        b"From alice@example.org Thu Jan  1 1970\n",
        b"From alice@example.org Thu Jan  1 00:00:00\n",
        b"From alice@example.org Foo Jan  1 00:00:00 1970\n",
        b"From alice@example.org Thu Foo  1 00:00:00 1970\n",
        b"From alice@example.org Thu Jan  1 00:00:00 1970 and so on\n",
        b"From alice@example.orgThu Jan  1 00:00:00 1970\n",
        b"From alice@example.org Thu Jan  1 00:00:00 1970",
        b"From alice@example.org\nThu Jan  1 00:00:00 1970\n",
        b"From %b Thu Jan  1 00:00:00 1970\n" % (b"a" * 1100),
    ],
)
def test_other_line_is_text(line: bytes) -> None:
    """A line that only begins with ``From `` is not enough (RFC 1939 says nothing; mbox(5))."""
    assert FROM_LINE.match(line) is None


def test_line_after_line_is_found() -> None:
    """Messages without any text follow each other directly."""
    line = b"From alice@example.org Thu Jan  1 00:00:00 1970\n"

    assert len(NEXT_FROM_LINE.findall(b"\n" + line * 5)) == 5


@pytest.mark.parametrize(
    "line",
    [
        b"\nFrom " + b"Thu Jan  1 00:00:00 " * 400,
        b"\nFrom " + b" " * 9000,
        b"\nFrom a Thu Jan" + b" " * 9000,
        b"\nFrom a Thu Jan  1 00:00:00 1970 remote from " + b"x" * 9000,
    ],
    ids=["dates", "blanks", "blanks-in-date", "remote"],
)
def test_no_line_takes_long_to_judge(line: bytes) -> None:
    """A sender cannot make a scan slow: some megabytes of the worst lines take seconds at most."""
    octets = (line[:2000] + b"\n") * 1000
    start = time.process_time()
    found = NEXT_FROM_LINE.findall(octets)

    assert found == []
    assert time.process_time() - start < 5


@given(
    sender=st.text(max_size=400),
    received=st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.just(timezone(timedelta(hours=5)))),
)
def test_line_that_is_made_is_one(sender: str, received: datetime) -> None:
    """Whatever the sender calls itself, the line is one line, short enough, and a separator."""
    line = make_from_line(sender, received)
    found = FROM_LINE.match(line)

    assert found
    assert found.end(1) == len(line) <= MAX_FROM_LINE_OCTETS
    assert line.count(b"\n") == 1


def test_line_says_sender_and_time_in_utc() -> None:
    """The form has no place for a time zone, so it is the one that needs none."""
    received = datetime(2026, 1, 5, 9, 30, 7, tzinfo=timezone(timedelta(hours=1)))

    assert make_from_line("bob@example.org", received) == b"From bob@example.org Mon Jan  5 08:30:07 2026\n"
    assert make_from_line("", received.astimezone(UTC)) == b"From MAILER-DAEMON Mon Jan  5 08:30:07 2026\n"
