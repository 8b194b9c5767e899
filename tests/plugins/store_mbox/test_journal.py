"""A journal that is damaged while the spool waits for it, or left over by another program or version."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from contextlib import closing, suppress
from pathlib import Path

import pytest

from popframe import Account, PermanentFailure, TemporaryFailure
from popframe_store_mbox import StoreMbox
from popframe_store_mbox.journal_format import HEADER_OCTETS

ALICE = Account("alice")
ENTRIES = [
    b"From a@example.org Mon Jan  5 09:00:00 2026\nSubject: number %d\n\nline\n\n" % number for number in range(5)
]


@pytest.fixture
def journal(store: StoreMbox, spool: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the journal of a removal that was interrupted between mark and cut: the spool is half what it will be."""
    spool.write_bytes(b"".join(ENTRIES))
    with closing(store.popframe_open_maildrop(ALICE)) as maildrop, monkeypatch.context() as patch:
        patch.setattr("popframe_store_mbox.journal.Journal.copy_back", fail)
        with pytest.raises(TemporaryFailure):
            maildrop.commit({1, 2}, set())
    return spool.with_name(".alice.popframe-redo")


def fail(*_: object) -> None:
    """Fail as a broken disk does."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def flip(path: Path, at: int) -> None:
    """Change one octet of a file."""
    octets = bytearray(path.read_bytes())
    octets[at] ^= 1
    path.write_bytes(octets)


def test_the_next_session_finishes_it(store: StoreMbox, spool: Path, journal: Path) -> None:
    """What this file's other tests damage is of use otherwise."""
    store.popframe_open_maildrop(ALICE).close()

    assert spool.read_bytes() == ENTRIES[0] + ENTRIES[3] + ENTRIES[4]
    assert not journal.exists()


@pytest.mark.parametrize("at", [HEADER_OCTETS, HEADER_OCTETS + 100, -1])
def test_a_journal_that_is_needed_and_damaged_refuses_the_login(
    store: StoreMbox, spool: Path, journal: Path, at: int
) -> None:
    """Half of the spool is in it: nothing is served, nothing removed, and an operator has to look."""
    flip(journal, at)
    before = spool.read_bytes(), journal.read_bytes()

    with pytest.raises(PermanentFailure, match="damaged, and the spool waits for what it holds"):
        store.popframe_open_maildrop(ALICE)
    assert (spool.read_bytes(), journal.read_bytes()) == before


def test_a_journal_whose_header_is_damaged_is_set_aside(
    store: StoreMbox, spool: Path, journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can tell whether the spool waits for it; the log says where it is."""
    flip(journal, 30)
    before = journal.read_bytes()
    store.popframe_open_maildrop(ALICE).close()

    (aside,) = spool.parent.glob(".alice.popframe-redo.*")
    assert aside.read_bytes() == before
    assert f"the journal {journal} is damaged; what can be read of it is in {aside}" in caplog.text


def test_a_journal_that_was_not_written_to_its_end_goes(store: StoreMbox, spool: Path) -> None:
    """Its header is written last, and the spool touched only after that."""
    spool.write_bytes(ENTRIES[0])
    journal = spool.with_name(".alice.popframe-redo")
    journal.touch(0o600)
    journal.write_bytes(bytes(HEADER_OCTETS) + ENTRIES[1])
    store.popframe_open_maildrop(ALICE).close()

    assert not list(spool.parent.glob("*redo*"))
    assert spool.read_bytes() == ENTRIES[0]


def test_a_journal_of_another_version_is_left_alone(store: StoreMbox, spool: Path, journal: Path) -> None:
    """The version that wrote it can finish it."""
    octets = journal.read_bytes()
    journal.write_bytes(b"popframe redo 9\n" + octets[16:])

    with pytest.raises(PermanentFailure, match="written by another version of this program"):
        store.popframe_open_maildrop(ALICE)
    assert journal.exists()


@pytest.mark.parametrize(("at", "value"), [(64, 9), (24, 2**63), (32, 2**63), (40, 2**64 - 1), (72, 2**61)])
def test_a_header_that_cannot_be_is_damaged_whatever_its_checksum_says(
    store: StoreMbox, spool: Path, journal: Path, at: int, value: int
) -> None:
    """Companion, offset, length before, and both lengths of what follows: nothing goes by them."""
    octets = bytearray(journal.read_bytes())
    struct.pack_into("<Q", octets, at, value)
    struct.pack_into("<I", octets, HEADER_OCTETS - 4, zlib.crc32(octets[: HEADER_OCTETS - 4]))
    journal.write_bytes(octets)
    before = spool.read_bytes()
    with suppress(PermanentFailure):
        store.popframe_open_maildrop(ALICE).close()

    assert spool.read_bytes() == before
    assert octets in [path.read_bytes() for path in spool.parent.glob("*redo*")]
