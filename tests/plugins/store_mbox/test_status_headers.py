"""status_headers = "popper": what QUIT writes into messages that stay, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import Account
from popframe_store_mbox import Settings, StoreMbox, indexed
from popframe_store_mbox.maildrop import MboxMaildrop
from popframe_store_mbox.splice import Edit, buffers, edited
from popframe_store_mbox.status_header import stamp

ALICE = Account("alice")
FROM_LINE = b"From a@example.org Mon Jan  5 09:00:00 2026\n"


def entry(text: bytes) -> bytes:
    """Return a message as it stands in the spool."""
    return FROM_LINE + text + b"\n"


@pytest.fixture
def store(spool_dir: Path) -> StoreMbox:
    """Return the plugin with the setting."""
    return StoreMbox(Settings(spool_dir=spool_dir, status_headers="popper", lock_timeout_seconds=0))


@pytest.fixture(params=[64 * 1024, 0], ids=["scanned", "indexed"])
def _index(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scan the spool each time, or keep an index of it."""
    monkeypatch.setattr(indexed, "SMALL_SPOOL_OCTETS", request.param)


@pytest.fixture
def maildrop(store: StoreMbox, spool: Path) -> Iterator[MboxMaildrop]:
    """Return a maildrop of four messages: without the field, with it, with another value, without an end of header."""
    spool.write_bytes(
        entry(b"Subject: none\n\nfirst\n")
        + entry(b"Status: O\nSubject: has one\n\nsecond\n")
        + entry(b"Subject: read before\nstatus: RO\n\nthird\n")
        + entry(b"Subject: no blank line\n")
    )
    opened = store.popframe_open_maildrop(ALICE)
    yield opened
    opened.close()


@pytest.mark.usefixtures("_index")
def test_unread_messages_get_the_field_once(store: StoreMbox, spool: Path, maildrop: MboxMaildrop) -> None:
    """As its last line, unless they have one or their header has no end; a second QUIT changes nothing."""
    uids = list(maildrop.message_uids())
    maildrop.commit(set(), set())
    maildrop.close()
    stamped = (
        entry(b"Subject: none\nStatus: U\n\nfirst\n")
        + entry(b"Status: O\nSubject: has one\n\nsecond\n")
        + entry(b"Subject: read before\nstatus: RO\n\nthird\n")
        + entry(b"Subject: no blank line\n")
    )

    assert spool.read_bytes() == stamped
    again = store.popframe_open_maildrop(ALICE)
    assert list(again.message_uids()) == uids
    assert list(again.message_octets()) == [31 + 4, 35 + 4, 39 + 4, 23 + 1]
    again.commit(set(), set())
    again.close()
    assert spool.read_bytes() == stamped


@pytest.mark.usefixtures("_index")
def test_read_messages_are_stamped_and_deleted_ones_go(spool: Path, maildrop: MboxMaildrop, store: StoreMbox) -> None:
    """What was retrieved whole becomes ``Status: RO``, whatever stood there."""
    uids = list(maildrop.message_uids())
    maildrop.commit({0}, {0, 1, 2, 3})
    maildrop.close()

    assert spool.read_bytes() == (
        entry(b"Status: RO\nSubject: has one\n\nsecond\n")
        + entry(b"Subject: read before\nStatus: RO\n\nthird\n")
        + entry(b"Subject: no blank line\n")
    )
    again = store.popframe_open_maildrop(ALICE)
    assert list(again.message_uids()) == uids[1:]
    assert b"".join(again.read_message(0)) == b"Status: RO\nSubject: has one\n\nsecond\n"
    again.close()


@pytest.mark.usefixtures("_index")
def test_new_mail_stays_as_it_came(spool: Path, maildrop: MboxMaildrop) -> None:
    """It belongs to the next session."""
    new = entry(b"Subject: new\n\nnew\n")
    with spool.open("ab") as file:
        file.write(new)
    maildrop.commit({1, 2, 3}, {0})

    assert spool.read_bytes() == entry(b"Subject: none\nStatus: RO\n\nfirst\n") + new


def test_a_spool_that_another_program_rewrote_is_stamped_by_unique_id(spool: Path, maildrop: MboxMaildrop) -> None:
    """What is read is known by its From_ line and header, not by its place."""
    before = spool.read_bytes()
    spool.write_bytes(before[len(entry(b"Subject: none\n\nfirst\n")) :] + entry(b"Subject: new\n\nnew\n"))
    maildrop.commit({2}, {1})

    assert spool.read_bytes() == (
        entry(b"Status: RO\nSubject: has one\n\nsecond\n")
        + entry(b"Subject: no blank line\n")
        + entry(b"Subject: new\n\nnew\n")
    )


def test_without_the_setting_nothing_is_written(spool: Path, spool_dir: Path) -> None:
    """The default."""
    spool.write_bytes(entry(b"Subject: none\n\nfirst\n"))
    before = spool.stat().st_mtime_ns
    store = StoreMbox(Settings(spool_dir=spool_dir))
    maildrop = store.popframe_open_maildrop(ALICE)
    maildrop.commit(set(), {0})
    maildrop.close()

    assert spool.stat().st_mtime_ns == before


@given(
    st.lists(st.sampled_from([b"Subject: a", b"Status: O", b"STATUS: RO", b"Status:", b" folded", b"X-Status: A"])),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_only_the_field_changes(lines: list[bytes], is_read: bool, has_cr: bool, has_end: bool) -> None:
    """Every other line stays, in its order; what is added has the line end of the others."""
    line_end = b"\r\n" if has_cr else b"\n"
    head = line_end.join([FROM_LINE[:-1], *lines]) + (b"\r" if has_cr else b"")
    text = head + (b"\n" + line_end + b"text" if has_end else b"\n")
    made = stamp(head, 0, has_end=has_end, is_read=is_read)
    result = b"".join(part for part in edited_bytes(text, made.edits))

    others = [line for line in lines if not line.lower().startswith(b"status:")]
    kept = [line for line in result.split(line_end + line_end)[0].split(line_end)[1:] if line]
    assert [line for line in kept if not line.lower().startswith(b"status:")] == others
    assert len(result) - len(text) == made.size_added
    as_sent = len(result.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert as_sent - len(text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")) == made.octets_added
    fields = [line for line in kept if line.lower().startswith(b"status:")]
    if is_read and (has_end or fields):
        assert set(fields) == {b"Status: RO"}
    elif has_end:
        assert fields


def edited_bytes(text: bytes, edits: list[Edit]) -> Iterator[bytes]:
    """Return a text after some edits, by the function that makes them on files."""
    for part in edited(0, 0, len(text), edits):
        yield part if isinstance(part, bytes) else text[part.start : part.end]


def test_parts_of_several_files_are_passed_on_in_order(tmp_path: Path) -> None:
    """Short and long ones, from the one file and the other."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(bytes(range(256)) * 10_000)
    second.write_bytes(b"x" * 100)
    with first.open("rb") as one, second.open("rb") as two:
        parts = edited(one.fileno(), 0, 2_560_000, [Edit(5, 10, b"new"), Edit(20, 2_000_000)])
        parts += edited(two.fileno(), 0, 100, [Edit(0, 90)])
        result = b"".join(buffers(parts))

    octets = first.read_bytes()
    assert result == octets[:5] + b"new" + octets[10:20] + octets[2_000_000:] + b"x" * 10
