"""The index is a cache: with it, without it, and with a damaged one, a maildrop is the same."""

from __future__ import annotations

import errno
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from popframe import Account, TemporaryFailure
from popframe_store_mbox import Settings, StoreMbox, indexed
from popframe_store_mbox.file import FileState
from popframe_store_mbox.index_file import StoredIndex
from popframe_store_mbox.index_format import HEADER_OCTETS, MAX_SEGMENTS, ROW_OCTETS, Row, packed_rows
from popframe_store_mbox.index_writing import write_index
from popframe_store_mbox.scan import scan
from popframe_store_mbox.uid import DIGEST_OCTETS

ALICE = Account("alice")


def entry(number: int, *, body: bytes = b"hello\n.dot\n") -> bytes:
    """Return one message as it stands in a spool."""
    return b"From a@example.org Mon Jan  5 09:00:00 2026\nSubject: %d\n\n%b\n" % (number, body)


@pytest.fixture(autouse=True)
def _always_indexed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the smallest spool have an index."""
    monkeypatch.setattr(indexed, "SMALL_SPOOL_OCTETS", 0)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Return alice's spool with ten messages."""
    path = tmp_path / "alice"
    path.write_bytes(b"".join(entry(number) for number in range(10)))
    return path


def index_of(spool: Path) -> Path:
    """Return where the index of a spool is."""
    return spool.with_name(f".{spool.name}.popframe-index")


def replace_in_index(spool: Path, message: int, column: str, number: int) -> None:
    """Let the index say something else of a message, with a checksum that is right."""
    index = StoredIndex.load(str(index_of(spool)))
    assert index is not None
    row = index.row(message)
    values = [number if name == column else value for name, value in zip(Row._fields, row, strict=True)]
    octets = packed_rows([Row._make(values)], [row.list_end], [row.uid_end])
    with index_of(spool).open("r+b") as file:
        file.seek(index.header.segments[0].offset + message * ROW_OCTETS)
        file.write(octets)
    index.close()


def test_an_index_that_is_wrong_throughout_removes_no_other_message(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a spool that has not changed since, where only some messages are compared: then it is scanned."""
    monkeypatch.setattr("popframe_store_mbox.file.SETTLED_NS", -(1 << 62))
    StoreMbox(Settings(spool_dir=spool.parent)).popframe_open_maildrop(ALICE).close()
    before = spool.read_bytes()
    with spool.open("rb") as file:
        wrong, state = scan(file.fileno(), len(before)), FileState.of(file.fileno())
    wrong.digests = wrong.digests[DIGEST_OCTETS:] + wrong.digests[:DIGEST_OCTETS]  # each message is taken for the next
    write_index(str(index_of(spool)), wrong, state, is_settled=True)
    maildrop = StoreMbox(Settings(spool_dir=spool.parent)).popframe_open_maildrop(ALICE)
    try:
        maildrop.commit({1, 2, 5}, set())
    finally:
        maildrop.close()

    assert spool.read_bytes() == b"".join(entry(number) for number in range(10) if number not in {2, 3, 6})


def listing(spool: Path, deleted: set[int] | None = None) -> tuple[list[int], list[str], bytes, bytes, list[bytes]]:
    """Open the maildrop, take everything it says, remove messages, and close it."""
    maildrop = StoreMbox(Settings(spool_dir=spool.parent)).popframe_open_maildrop(ALICE)
    try:
        count = len(maildrop.message_octets())
        texts = [b"".join(maildrop.read_message(number)) for number in range(count)]
        has_dots = [maildrop.has_dot_lines(number) for number in range(count)]
        assert all(has for has, text in zip(has_dots, texts, strict=True) if b"\n." in b"\n" + text)
        assert maildrop.total_octets() == sum(maildrop.message_octets())
        lists = b"".join(maildrop.scan_listing()), b"".join(maildrop.uid_listing())
        result = (list(maildrop.message_octets()), list(maildrop.message_uids()), *lists, texts)
        maildrop.commit(deleted or set(), set())
        return result
    finally:
        maildrop.close()


def expected(spool: Path) -> tuple[list[int], list[str], bytes, bytes, list[bytes]]:
    """Return the same, from a scan that knows of no index."""
    octets = spool.read_bytes()
    with spool.open("rb") as file:
        found = scan(file.fileno(), len(octets))
    texts = [octets[start:end] for start, end in zip(found.content, found.end, strict=True)]
    return list(found.octets), list(found.uids), b"".join(found.list_lines()), b"".join(found.uid_lines()), texts


def test_an_unchanged_spool_is_not_read_again(spool: Path) -> None:
    """What the second session says comes from the index alone, once the spool has settled."""
    os.utime(spool, ns=(0, 0))
    first = listing(spool)
    index = StoredIndex.load(str(index_of(spool)))
    assert index is not None

    assert len(index) == 10
    assert listing(spool) == first == expected(spool)


def test_new_mail_is_one_more_segment(spool: Path) -> None:
    """Only the tail is scanned; many small deliveries become one segment again."""
    listing(spool)
    for number in range(10, 10 + 2 * MAX_SEGMENTS):
        with spool.open("ab") as file:
            file.write(entry(number))

        assert listing(spool) == expected(spool)
    index = StoredIndex.load(str(index_of(spool)))
    assert index is not None
    assert 1 < len(index.header.segments) <= MAX_SEGMENTS


@pytest.mark.parametrize("deleted", [{9}, {7, 8, 9}, {0}, {0, 1, 5}, set(range(0, 10, 2)), set(range(10))])
def test_the_index_follows_a_removal(spool: Path, deleted: set[int]) -> None:
    """After QUIT the index says what a scan would say, without one."""
    listing(spool, deleted)
    if len(deleted) < 10:
        index = StoredIndex.load(str(index_of(spool)))
        assert index is not None
        assert len(index) == 10 - len(deleted)

    assert listing(spool) == expected(spool)


def test_unique_ids_of_copies_are_those_of_a_scan(tmp_path: Path) -> None:
    """Whether there is an index or not must not be seen in a unique-id (RFC 1939 section 7)."""
    spool = tmp_path / "alice"
    spool.write_bytes(entry(1) * 3 + entry(2) + entry(1))
    for _ in range(4):
        listing(spool, {0})
        with spool.open("ab") as file:
            file.write(entry(1))

        assert listing(spool) == expected(spool)


def test_a_last_line_that_was_completed_is_noticed(spool: Path) -> None:
    """An agent that appends ends the last line first; the message before has grown by that."""
    with spool.open("ab") as file:
        file.write(b"From a@example.org Mon Jan  5 09:00:00 2026\nSubject: x\n\nno line end")
    listing(spool)
    with spool.open("ab") as file:
        file.write(b"\n\n" + entry(12))

    assert listing(spool) == expected(spool)


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_index_costs_a_login_at_most(spool: Path, seed: int) -> None:
    """Whatever octets are in it, what a session says is right, or the session is refused and the next one is right."""
    os.utime(spool, ns=(0, 0))
    listing(spool)
    chance = random.Random(seed)  # noqa: S311 - damage, not a secret
    path = index_of(spool)
    octets = bytearray(path.read_bytes())
    kind = seed % 4
    if kind == 0:
        octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
    elif kind == 1:
        del octets[chance.randrange(len(octets)) :]
    elif kind == 2:
        octets = bytearray(chance.randbytes(chance.randrange(3 * HEADER_OCTETS)))
    else:
        at = chance.randrange(len(octets))
        octets[at : at + 100] = chance.randbytes(100)
    path.write_bytes(octets)
    try:
        assert listing(spool) == expected(spool)
    except TemporaryFailure:
        assert listing(spool) == expected(spool)


def test_a_damaged_filter_does_not_give_two_messages_one_unique_id(spool: Path) -> None:
    """Whether a message was there before is asked of the filter alone, so it must be sound (RFC 1939 section 7)."""
    listing(spool)
    path = index_of(spool)
    octets = bytearray(path.read_bytes())
    octets[HEADER_OCTETS : HEADER_OCTETS + 64] = bytes(64)
    path.write_bytes(octets)
    with spool.open("ab") as file:
        file.write(entry(3))

    assert listing(spool) == expected(spool)


@pytest.mark.parametrize("column", ["start", "content", "header_end", "end", "next"])
@pytest.mark.parametrize("number", [0, 1 << 40, (1 << 64) - 1])
def test_an_index_with_impossible_places_is_not_believed(spool: Path, column: str, number: int) -> None:
    """Its checksums may be right, and a message cannot be there: nothing is read at such a place."""
    os.utime(spool, ns=(0, 0))
    listing(spool)
    replace_in_index(spool, 5, column, number)
    try:
        assert listing(spool) == expected(spool)
    except TemporaryFailure:
        assert listing(spool) == expected(spool)


def test_an_index_whose_sum_cannot_be_is_not_believed(spool: Path) -> None:
    """A last message larger than all together would leave less than nothing when it is looked at again."""
    listing(spool)
    replace_in_index(spool, 9, "octets", 1 << 40)

    assert listing(spool) == expected(spool)


def test_a_disk_that_fails_is_a_refusal(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client hears ``-ERR [SYS/TEMP]`` as long as nothing of the message is sent (RFC 3206 section 4)."""

    def fail(fd: int, length: int, offset: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    listing(spool)
    maildrop = StoreMbox(Settings(spool_dir=spool.parent)).popframe_open_maildrop(ALICE)
    try:
        monkeypatch.setattr(os, "pread", fail)

        with pytest.raises(TemporaryFailure, match="reading message 3"):
            next(maildrop.read_message(3))
    finally:
        maildrop.close()


@pytest.mark.parametrize("kind", ["symlink", "directory", "fifo", "readable by all", "foreign"])
def test_an_index_that_is_not_ours_is_not_believed(spool: Path, tmp_path: Path, kind: str) -> None:
    """A link, a pipe, a directory, or a file that others can write to is left alone, and nothing waits for it."""
    listing(spool)
    path = index_of(spool)
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    if kind == "symlink":
        path.symlink_to(elsewhere)
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "readable by all":
        elsewhere.rename(path)
        path.chmod(0o644)
    elif os.geteuid() == 0:
        elsewhere.rename(path)
        os.chown(path, 12345, 12345)

    assert StoredIndex.load(str(path)) is None
    assert listing(spool) == expected(spool)


def test_another_spool_of_that_name_is_scanned(spool: Path) -> None:
    """A spool that was replaced, cut, or rewritten in place has nothing to do with the index."""
    listing(spool)
    for content in (
        entry(50) * 20,
        entry(60),
        b"",
        b"".join(entry(number, body=b"other\n.dot\n") for number in range(10)),
    ):
        spool.write_bytes(content)

        assert listing(spool) == expected(spool)
    fresh = spool.with_name("fresh")
    fresh.write_bytes(entry(70) * 30)
    fresh.rename(spool)
    assert listing(spool) == expected(spool)


def test_without_room_for_an_index_everything_works(spool: Path) -> None:
    """A directory in the place of the index, as an example of not being able to write one."""
    index_of(spool).mkdir()

    before = expected(spool)

    assert listing(spool, {3}) == before
    assert listing(spool) == expected(spool)


class IndexMachine(RuleBasedStateMachine):
    """Deliveries, removals, other programs and lost indexes in any order; a fresh scan is always the judge."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    @initialize(path=st.just(None))
    def begin(self, path: None) -> None:
        """Make a folder."""
        self.folder = tempfile.TemporaryDirectory()
        self.spool = Path(self.folder.name) / "alice"
        self.spool.write_bytes(b"")

    def teardown(self) -> None:
        """Remove the folder."""
        self.folder.cleanup()

    @rule(count=st.integers(1, 4), copy=st.booleans(), body=st.sampled_from([b"x\n", b".\n\nFrom x\n", b"end"]))
    def deliver(self, count: int, *, copy: bool, body: bytes) -> None:
        """Append messages, some of them copies."""
        with self.spool.open("ab") as file:
            for _ in range(count):
                self.number += 0 if copy else 1
                file.write(entry(self.number, body=body))

    @rule(marks=st.sets(st.integers(0, 12), max_size=8))
    def remove(self, marks: set[int]) -> None:
        """Remove some messages in a session."""
        count = len(expected(self.spool)[0])
        listing(self.spool, {mark for mark in marks if mark < count})

    @rule()
    def lose_the_index(self) -> None:
        """Somebody removes it."""
        index_of(self.spool).unlink(missing_ok=True)

    @precondition(lambda self: self.spool.stat().st_size)
    @rule()
    def another_program_removes_the_first(self) -> None:
        """Rewrite the spool without its first message."""
        octets = self.spool.read_bytes()
        with self.spool.open("rb") as file:
            found = scan(file.fileno(), len(octets))
        self.spool.write_bytes(octets[: found.start[0]] + octets[found.next[0] :])

    @invariant()
    def says_what_a_scan_says(self) -> None:
        """Compare."""
        if hasattr(self, "spool"):
            assert listing(self.spool) == expected(self.spool)


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(stateful_step_count=25, max_examples=40, deadline=None)
