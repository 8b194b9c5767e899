"""A maildrop that is an mbox file: what is read from it, and how a session begins and ends.

Where the mail is from login to QUIT is a choice of the site: in the spool itself, or in a private copy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Protocol

from popframe import TemporaryFailure
from popframe_store_mbox.classic import Classic
from popframe_store_mbox.file import os_errors_refused, read_at, refusal_for
from popframe_store_mbox.in_place import InPlace
from popframe_store_mbox.place import Place
from popframe_store_mbox.session_lock import SessionLock
from popframe_store_mbox.settings import Settings
from popframe_store_mbox.snapshot import MAX_HEADER_END_OCTETS, Snapshot, is_beginning

PIECE_OCTETS = 64 * 1024
"""Read at a time: fits the processor's cache while the engine converts it."""

_CLOSED = -1


class Mode(Protocol):
    """Where the mail is from login to QUIT."""

    def open(self, dead_pid: int | None) -> tuple[int, Snapshot] | None:
        """Return the file to read, open, and what is in it; None when there is no mail and no file.

        Args:
            dead_pid: Process whose session on this maildrop is known to have ended without letting go.
        """
        ...

    def commit(self, snapshot: Snapshot, deleted: AbstractSet[int], seen: AbstractSet[int]) -> None:
        """Remove messages, and do whatever else QUIT does to the spool."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class MboxMaildrop:
    """One session's messages; see :class:`popframe.Maildrop`."""

    def __init__(self, place: Place, settings: Settings) -> None:
        """Open it.

        Args:
            place: Where it is.
            settings: What the site chose.

        Raises:
            MaildropInUse: Another session has it, or another program kept its lock on the spool too long.
            TemporaryFailure: It cannot be opened now.
            PermanentFailure: It cannot be opened until an operator has mended something.
        """
        self._place = place
        self._mode: Mode = Classic(place, settings) if settings.private_copy else InPlace(place, settings)
        is_shared = settings.session_lock == "shared"
        self._file = _CLOSED
        self._snapshot: Snapshot | None = None
        with os_errors_refused(f"making the session's lock {place.session_lock} (plugin.store_mbox.state_dir)"):
            self._session_lock: SessionLock | None = SessionLock.take(place.session_lock, is_shared=is_shared)
        with os_errors_refused(f"opening {place.spool}"):
            try:
                if opened := self._mode.open(self._session_lock.dead_pid):
                    self._file, self._snapshot = opened
            except BaseException:
                self.close()
                raise

    def message_octets(self) -> Sequence[int]:
        """Return the size of each message as it is sent."""
        return self._snapshot.index.octets if self._snapshot else ()

    def message_uids(self) -> Sequence[str]:
        """Return the unique-id of each message."""
        return self._snapshot.index.uids if self._snapshot else ()

    def total_octets(self) -> int:
        """Return the sum of the sizes."""
        return self._snapshot.index.total_octets() if self._snapshot else 0

    def scan_listing(self) -> Iterator[bytes]:
        """Yield the lines of LIST."""
        return self._snapshot.index.list_lines() if self._snapshot else iter(())

    def uid_listing(self) -> Iterator[bytes]:
        """Yield the lines of UIDL."""
        return self._snapshot.index.uid_lines() if self._snapshot else iter(())

    def has_dot_lines(self, index: int) -> bool:
        """Tell whether a line of the message may begin with a dot."""
        return self._snapshot is None or self._snapshot.index.may_have_dot_lines(index)

    def read_message(self, index: int) -> Iterator[bytes]:
        """Yield the text of one message, without its From_ line.

        Raises:
            TemporaryFailure: It cannot be read, or another program changed the file under it.
        """
        snapshot = self._snapshot
        if snapshot is None:
            raise TemporaryFailure(f"{self._place.spool} has no message {index}")
        with os_errors_refused(f"reading message {index} of {self._place.spool}"):
            row = snapshot.index.row(index)
            start, position, end = row.start, row.content, row.end
            head_end = row.header_end + MAX_HEADER_END_OCTETS
            # From the From_ line on: whether it is this message is seen by the octets that are then sent.
            piece = read_at(self._file, min(max(head_end, end) - start, PIECE_OCTETS), start)
            is_in_place = snapshot.is_scanned or (
                is_beginning(piece, row)
                if head_end - start <= PIECE_OCTETS
                else snapshot.has_in_place(self._file, index)
            )
        if not is_in_place:
            snapshot.index.discard()
            raise TemporaryFailure(f"message {index} of {self._place.spool} is not where its index says")
        piece = piece[position - start : end - start]
        while position < end:
            piece = piece or self._read_on(position, min(PIECE_OCTETS, end - position))
            self._make_sure(snapshot, index)
            yield piece
            position += len(piece)
            piece = b""

    def _read_on(self, position: int, length: int) -> bytes:
        """Return some octets of the file, at least one.

        Raises:
            TemporaryFailure: There are none.
        """
        with os_errors_refused(f"reading {self._place.spool} at offset {position}"):
            octets = read_at(self._file, length, position)
        if not octets:
            raise TemporaryFailure(f"{self._place.spool} ends at offset {position}")
        return octets

    def _make_sure(self, snapshot: Snapshot, index: int) -> None:
        """Make sure that what was just read was of this message.

        Raises:
            TemporaryFailure: Perhaps it was not.
        """
        try:
            is_certain = snapshot.is_unchanged(self._file) or snapshot.has_in_place(self._file, index)
        except OSError as exc:
            raise refusal_for(exc, f"looking at {self._place.spool} again") from exc
        if not is_certain:
            raise TemporaryFailure(f"another program changed {self._place.spool}: message {index} is not in its place")

    def commit(self, deleted: AbstractSet[int], seen: AbstractSet[int]) -> None:
        """Remove messages from the spool, and stamp those that stay if the site wants that.

        Without a change nothing is written.

        Raises:
            TemporaryFailure: They could not be removed.
            PermanentFailure: They cannot until an operator has mended something.
        """
        if self._snapshot is not None:
            with os_errors_refused(f"removing messages from {self._place.spool}"):
                self._mode.commit(self._snapshot, deleted, seen)

    def close(self) -> None:
        """Let go of the spool and of the session's lock."""
        if self._file != _CLOSED:
            file, self._file = self._file, _CLOSED
            with suppress(OSError):  # nothing was written that commit did not sync
                os.close(file)
        if self._snapshot is not None:
            snapshot, self._snapshot = self._snapshot, None
            snapshot.index.close()
        self._mode.close()
        if self._session_lock is not None:
            session_lock, self._session_lock = self._session_lock, None
            session_lock.release()
