"""What other programs do to the spool while a session is open: nothing is lost, doubled, or taken for another."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from popframe import Maildrop, TemporaryFailure

FROM = b"From bob@example.org Mon Jan  5 09:00:00 2026\n"
LONG = 200_000
MOST_TESTS = 100
"""More spools than there are tests here; all of them wait at once."""


def message(name: str, line_count: int = 1) -> bytes:
    """Return a message as it stands in the file, with the blank line behind it."""
    return FROM + b"Subject: %b\n\n" % name.encode() + b"text of %b\n" % name.encode() * line_count + b"\n"


A, B, C, D = (message(name) for name in "ABCD")

Open = Callable[[], Maildrop]


@pytest.fixture(scope="module")
def rested(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return spool directories whose spools have not been written to for some time: only waiting makes them so."""
    directories = [tmp_path_factory.mktemp("mail") for _ in range(MOST_TESTS)]
    for directory in directories:
        (directory / "alice").write_bytes(A + B + C)
    time.sleep(2.1)  # the age from which a time stamp proves that nothing was written since
    return directories


@pytest.fixture(params=["just written", "at rest"])
def spool_dir(tmp_path: Path, rested: list[Path], request: pytest.FixtureRequest) -> Path:
    """Return a spool directory in which alice has A, B and C, written just now or some time ago."""
    if request.param == "at rest":
        return rested.pop()
    (tmp_path / "alice").write_bytes(A + B + C)
    return tmp_path


@pytest.fixture
def maildrop(open_maildrop: Open) -> Maildrop:
    """Return alice's maildrop with A, B and C."""
    return open_maildrop()


def read(maildrop: Maildrop, index: int) -> bytes:
    """Return a message."""
    return b"".join(maildrop.read_message(index))


# --- reading ---


def test_reading_goes_on_while_mail_arrives(maildrop: Maildrop, spool: Path) -> None:
    """What was there at the login is still in its place (RFC 1939 section 4)."""
    with spool.open("ab") as file:
        file.write(D)

    assert read(maildrop, 2) == b"Subject: C\n\ntext of C\n"


@pytest.mark.parametrize("content", [b"", B + C, D + A + B + C, A.replace(b"A", b"a") + B + C, A[:10]])
def test_message_that_is_not_in_its_place_is_not_sent(maildrop: Maildrop, spool: Path, content: bytes) -> None:
    """Another's text, or half a message, is never passed off as this one; the client gets ``-ERR``."""
    spool.write_bytes(content)
    pieces = maildrop.read_message(0)
    with pytest.raises(TemporaryFailure):
        next(pieces)


def test_message_that_goes_away_while_it_is_read_is_broken_off(spool: Path, open_maildrop: Open) -> None:
    """The connection is closed then; a short message would be taken for the whole."""
    spool.write_bytes(A + message("long", LONG) + C)
    maildrop = open_maildrop()
    pieces = maildrop.read_message(1)
    next(pieces)
    spool.write_bytes(A)
    with pytest.raises(TemporaryFailure):
        list(pieces)


def test_message_that_is_moved_while_it_is_read_is_broken_off(spool: Path, open_maildrop: Open) -> None:
    """Another program removed an earlier message in place."""
    spool.write_bytes(A + message("long", LONG) + C)
    maildrop = open_maildrop()
    pieces = maildrop.read_message(1)
    next(pieces)
    content = spool.read_bytes()
    with spool.open("r+b") as file:
        file.write(content[len(A) :])
        file.truncate()
    with pytest.raises(TemporaryFailure):
        list(pieces)


def test_flag_that_is_written_elsewhere_does_not_disturb(maildrop: Maildrop, spool: Path) -> None:
    """A change behind the message leaves it in its place."""
    spool.write_bytes(A + B.replace(b"\n\n", b"\nStatus: RO\n\n", 1) + C)

    assert read(maildrop, 0) == b"Subject: A\n\ntext of A\n"


def test_session_that_has_ended_reads_nothing(spool: Path, open_maildrop: Open) -> None:
    """A descriptor's number may belong to another file by then."""
    spool.write_bytes(A)
    maildrop = open_maildrop()
    pieces = maildrop.read_message(0)
    maildrop.close()
    maildrop.close = lambda: None  # type: ignore[method-assign]  # the fixture closes it once more
    with spool.open("rb"), pytest.raises(TemporaryFailure):
        next(pieces)


# --- the update ---


def test_message_is_found_again_when_others_went(maildrop: Maildrop, spool: Path) -> None:
    """It is removed by its identity, not by its place (RFC 1939 section 6)."""
    spool.write_bytes(B + C + D)
    maildrop.commit({1}, set())

    assert spool.read_bytes() == C + D


def test_message_that_is_gone_counts_as_removed(maildrop: Maildrop, spool: Path) -> None:
    """Another session deleted it; the user has what he wanted."""
    spool.write_bytes(A + C)
    maildrop.commit({1, 2}, set())

    assert spool.read_bytes() == A


def test_removed_spool_counts_as_removed_messages(maildrop: Maildrop, spool: Path) -> None:
    """There is nothing left to remove, and no spool is made."""
    spool.unlink()
    maildrop.commit({0}, set())

    assert not spool.exists()


def test_message_that_got_flags_is_still_the_same(maildrop: Maildrop, spool: Path) -> None:
    """An IMAP server noted that it was seen."""
    marked = [text.replace(b"\n\n", b"\nStatus: RO\nX-UID: 7\n\n", 1) for text in (A, B, C)]
    spool.write_bytes(b"".join(marked))
    maildrop.commit({1}, set())

    assert spool.read_bytes() == marked[0] + marked[2]


def test_spool_that_was_replaced_is_searched(maildrop: Maildrop, spool: Path) -> None:
    """Mailutils' agent writes a new file and renames it; the lost one is not written to."""
    old = spool.open("rb")
    new = spool.with_name("new")
    new.write_bytes(D + A + B + C)
    new.rename(spool)
    maildrop.commit({0, 2}, set())
    with old:
        content = old.read()

    assert spool.read_bytes() == D + B
    assert content == A + B + C


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (A + B + B + B + C, A + B + B + C),
        (A + B + B + B + C, b"\n" + A + B + B + C + D),
        (A + B + C, A + B.replace(b"text", b"TEXT and more") + C),
    ],
)
def test_nothing_is_removed_while_one_message_is_in_doubt(
    spool: Path, open_maildrop: Open, before: bytes, after: bytes
) -> None:
    """Of three copies two are left, or another text is behind the header: nobody can tell what the client saw."""
    spool.write_bytes(before)
    maildrop = open_maildrop()
    spool.write_bytes(after)
    with pytest.raises(TemporaryFailure):
        maildrop.commit({0, 1}, set())

    assert spool.read_bytes() == after


def test_copies_are_removed_one_by_one(spool: Path, open_maildrop: Open) -> None:
    """Of identical messages as many go as were marked; a new copy is not one of them."""
    spool.write_bytes(A + B + A + A)
    maildrop = open_maildrop()
    with spool.open("ab") as file:
        file.write(A + D)
    maildrop.commit({0, 2}, set())
    maildrop.close()

    assert spool.read_bytes() == B + A + A + D


def test_last_message_without_line_end_is_removed_after_mail_arrived(spool: Path, open_maildrop: Open) -> None:
    """The agent had to end the line before it could write the next From_ line."""
    spool.write_bytes(A + B.rstrip(b"\n"))
    maildrop = open_maildrop()
    with spool.open("ab") as file:
        file.write(b"\n\n" + C)
    maildrop.commit({1}, set())

    assert spool.read_bytes() == A + C


def test_half_a_message_behind_the_last_one_stays(maildrop: Maildrop, spool: Path) -> None:
    """An agent that ignores the locks, or died, left something that is no message: it is not the client's to remove."""
    with spool.open("ab") as file:
        file.write(b"some text without a From_ line\n")
    with pytest.raises(TemporaryFailure):
        maildrop.commit({2}, set())

    assert spool.read_bytes() == A + B + C + b"some text without a From_ line\n"


def test_pseudo_message_stays_when_everything_is_removed(spool: Path, open_maildrop: Open) -> None:
    """The IMAP server would hand out its numbers anew without it."""
    internal = FROM + b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAPbase: 1 7\n\nx\n\n"
    spool.write_bytes(internal + A + B)
    maildrop = open_maildrop()
    maildrop.commit({0, 1}, set())

    assert spool.read_bytes() == internal


def test_nothing_is_written_when_nothing_was_removed(maildrop: Maildrop, spool: Path) -> None:
    """Who only looks, or leaves mail on the server, costs no write."""
    before = spool.stat()
    read(maildrop, 1)
    maildrop.commit(set(), {0, 1, 2})
    after = spool.stat()

    assert (after.st_mtime_ns, after.st_ctime_ns, after.st_size) == (
        before.st_mtime_ns,
        before.st_ctime_ns,
        before.st_size,
    )


@pytest.mark.parametrize("deleted", [{0}, {2}, {0, 1, 2}])
def test_what_is_left_is_not_announced_as_new(maildrop: Maildrop, spool: Path, deleted: set[int]) -> None:
    """Shells and biff announce a spool that was written to after it was last read."""
    inode = spool.stat().st_ino
    maildrop.commit(deleted, set())
    status = spool.stat()

    assert status.st_atime_ns >= status.st_mtime_ns
    assert status.st_ino == inode


def test_new_mail_is_still_announced_after_an_update(maildrop: Maildrop, spool: Path) -> None:
    """The user did not see it in this session."""
    os.utime(spool, (1, 1))
    with spool.open("ab") as file:
        file.write(D)
    maildrop.commit({0}, set())
    status = spool.stat()

    assert status.st_atime_ns < status.st_mtime_ns
