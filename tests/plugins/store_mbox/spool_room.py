"""A folder with one spool in it, what happens to it, and the sessions that it goes through, in the fuzz tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from popframe import Account, PermanentFailure, Refusal
from popframe_store_mbox import (
    Settings,
    StoreMbox,
    columns,
    file,
    index_file,
    index_writing,
    indexed,
    journal_format,
    maildrop,
    scan,
    snapshot,
    splice,
    uid,
)
from popframe_store_mbox.maildrop import MboxMaildrop

from .spool_model import Contents, check_contents

ALICE = Account("alice")
FOLDER = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - a folder of its own is made in it
"""Where syncing to disk costs nothing."""

SMALL_LIMITS = (
    (scan, "WINDOW_OCTETS", 4096),
    (scan, "MAX_HEADER_OCTETS", 3000),
    (snapshot, "MAX_HEADER_OCTETS", 3000),
    (uid, "MAX_HASHED_OCTETS", 1500),
    (columns, "LISTED_AT_ONCE", 2),
    (maildrop, "PIECE_OCTETS", 509),
    (journal_format, "PIECE_OCTETS", 64),
    (journal_format, "RUNS_AT_ONCE", 2),
    (splice, "BUFFER_OCTETS", 64),
    (uid, "SORTED_AT_ONCE", 3),
    (index_file, "BLOCK_ROWS", 3),
    (index_file, "NEAR_ROWS", 2),
    (index_file, "PIECE_OCTETS", 200),
    (index_writing, "BATCH_ROWS", 2),
    (index_writing, "MAX_SEGMENTS", 2),
)
"""So that files of some hundred octets reach every boundary; they stand to each other as the real ones do."""

Octets = dict[str, bytes]
"""A folder: what is in each file."""


@dataclass(frozen=True)
class Damage:
    """What happens to a file.

    Attributes:
        keep: How many of its octets are kept.
        flips: Places, counted round and round, and what is flipped there.
        tail: What is put behind.
        hole: Where a number of octets becomes zero, as on a disk that lost a write.
    """

    keep: int = 1 << 30
    flips: tuple[tuple[int, int], ...] = ()
    tail: bytes = b""
    hole: tuple[int, int] = (0, 0)

    def applied(self, octets: bytes) -> bytes:
        """Return the octets after it."""
        left = bytearray(octets[: self.keep])
        for at, bits in self.flips if left else ():
            left[at % len(left)] ^= bits
        at, length = self.hole
        length = len(left[at : at + length])
        left[at : at + length] = bytes(length)
        return bytes(left) + self.tail


@dataclass(frozen=True)
class Case:
    """One spool and what happens to it.

    Attributes:
        spool: The file.
        appended: What an agent appends later.
        marks: Bit n is set: message n is removed.
        damage: What happens to the index, or the journal.
        crash_at: The system call before which a server dies.
        reads_first: The messages are read before they are removed.
        is_damaged_early: The index is damaged before mail is appended, too.
        is_settled: The file looks as if it had not been written to for a while.
        is_small: The limits are small.
        window_octets: A size of window, which must make no difference to a scan.
    """

    spool: bytes
    appended: bytes = b""
    marks: int = 0
    damage: Damage = field(default_factory=Damage)
    crash_at: int = 0
    reads_first: bool = True
    is_damaged_early: bool = False
    is_settled: bool = False
    is_small: bool = False
    window_octets: int = 4096

    def deleted(self, count: int) -> set[int]:
        """Return which of some messages are removed."""
        return {message for message in range(count) if self.marks >> message & 1}


class Room:
    """A folder with alice's spool, and sessions on it that are judged by the octets of the file."""

    def __init__(self, folder: Path, files: Octets, *, is_classic: bool = False) -> None:
        self.folder = folder
        self.spool = folder / "alice"
        self.index = folder / ".alice.popframe-index"
        self.private_copy = folder / ".alice.pop"
        self._store = StoreMbox(Settings(spool_dir=folder, lock_timeout_seconds=0, private_copy=is_classic))
        for name, octets in files.items():
            self.write(name, octets)

    def write(self, name: str, octets: bytes) -> None:
        """Make a file that nobody else can read, as a store makes its own."""
        path = self.folder / name
        path.touch(0o600)
        path.write_bytes(octets)

    def damage_index(self, case: Case) -> None:
        """Let something happen to the index, if there is one."""
        if case.damage != Damage() and self.index.exists():
            self.write(self.index.name, case.damage.applied(self.index.read_bytes()))

    def opened(self) -> MboxMaildrop:
        """Open the maildrop."""
        return self._store.popframe_open_maildrop(ALICE)

    def contents(self) -> Contents | None:
        """Return what a session is told, None when it is refused; the spool is not changed by either."""
        before = self.spool.read_bytes()
        try:
            session = self.opened()
        except PermanentFailure:
            assert self.spool.read_bytes() == before
            return None
        try:
            contents = contents_of(session)
            assert session.total_octets() == sum(contents.octets)
            check_contents(before, contents, list(map(session.has_dot_lines, range(len(contents.uids)))))
        finally:
            session.close()
        assert self.spool.read_bytes() == before
        return contents

    def files(self) -> Octets:
        """Return what is in the folder, but for locks."""
        return {path.name: path.read_bytes() for path in self.folder.iterdir() if not path.name.endswith("lock")}

    def journals(self) -> Octets:
        """Return what there is of journals."""
        return {name: octets for name, octets in self.files().items() if "redo" in name}


def contents_of(session: MboxMaildrop) -> Contents:
    """Return everything that a maildrop says."""
    sizes = list(session.message_octets())
    return Contents(
        sizes,
        list(session.message_uids()),
        b"".join(session.scan_listing()),
        b"".join(session.uid_listing()),
        [b"".join(session.read_message(message)) for message in range(len(sizes))],
    )


@contextmanager
def room(case: Case, files: Octets, *, is_indexed: bool = False, is_classic: bool = False) -> Iterator[Room]:
    """Make a folder, under the limits of a case."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        for module, name, value in SMALL_LIMITS if case.is_small else ():
            patch.setattr(module, name, value)
        if is_indexed:
            patch.setattr(indexed, "SMALL_SPOOL_OCTETS", 0)
        # Always settled: what was written in the last two seconds is not suspected. Never: everything is.
        patch.setattr(file, "SETTLED_NS", -(1 << 62) if case.is_settled else 1 << 62)
        yield Room(Path(folder), files, is_classic=is_classic)


def files_at(case: Case) -> tuple[Octets, bytes] | None:
    """Return the files at the call where the server dies, and the spool when it does not; None without that call."""
    with room(case, {"alice": case.spool}) as made:
        try:
            session = made.opened()
        except Refusal:
            return None
        try:
            deleted = case.deleted(len(session.message_octets()))
            with _recorded(made, case.crash_at) as states:
                session.commit(deleted, set())
        finally:
            session.close()
        return (states[0], made.spool.read_bytes()) if states else None


@contextmanager
def _recorded(made: Room, number: int) -> Iterator[list[Octets]]:
    """Take down what is in a folder before one of the calls that change it; a long write is half done then."""
    states: list[Octets] = []
    calls = 0

    def watched(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watch(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - it is any of six calls
            nonlocal calls
            if calls == number:
                # A mark and a header lie within one sector, which is written whole or not at all.
                if name == "pwrite" and len(arguments[1]) > journal_format.HEADER_OCTETS:
                    call(arguments[0], arguments[1][: len(arguments[1]) // 2], arguments[2])
                states.append(made.files())
            calls += 1
            return call(*arguments, **options)

        return watch

    with pytest.MonkeyPatch.context() as patch:
        for name in ("pwrite", "ftruncate", "fsync", "unlink", "replace", "rename"):
            patch.setattr(os, name, watched(name, getattr(os, name)))
        yield states
