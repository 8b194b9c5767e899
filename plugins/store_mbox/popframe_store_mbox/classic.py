"""A session on a private copy, as the Berkeley popper has it.

At login the spool moves into the copy, all commands work on that, and QUIT puts back what is to stay, in front of what
has arrived. A session that ends in another way leaves the copy as it is; the next one begins with it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Set as AbstractSet
from contextlib import suppress

from popframe import MaildropInUse, TemporaryFailure
from popframe_store_mbox.columns import Index
from popframe_store_mbox.file import FileState, read_at
from popframe_store_mbox.in_place import InPlace
from popframe_store_mbox.journal import has_journal
from popframe_store_mbox.lock import LockTimeout
from popframe_store_mbox.place import Place
from popframe_store_mbox.private_copy import PrivateCopy
from popframe_store_mbox.scan import refuse_other_than_mbox, scan
from popframe_store_mbox.settings import Settings
from popframe_store_mbox.snapshot import Snapshot
from popframe_store_mbox.splice import Part, edited
from popframe_store_mbox.spool import finish_interrupted, locked_spool
from popframe_store_mbox.update import find_update

_logger = logging.getLogger("popframe.store_mbox")


class Classic:
    """Moves the spool into the private copy, and back."""

    def __init__(self, place: Place, settings: Settings) -> None:
        self._place = place
        self._policy = settings.lock_policy
        self._stamps_headers = settings.status_headers == "popper"
        self._keeps_stored_uids = settings.uidl == "x-uidl"
        self._copy: PrivateCopy | None = None
        self._in_place = InPlace(place, settings)

    def open(self, dead_pid: int | None) -> tuple[int, Snapshot] | None:
        """Move the spool into the copy; return that, open, with what is in it.

        On a full disk the mail stays in the spool, and the session serves what was in the copy; or else the spool.

        Raises:
            MaildropInUse: Another session has the copy, or another program kept its lock on the spool too long.
            TemporaryFailure: It cannot be done now.
            PermanentFailure: It cannot until an operator has mended something.
            OSError: The copy cannot be made or read.
        """
        try:
            finish_interrupted(self._place, self._policy, dead_pid)
        except LockTimeout as exc:
            raise MaildropInUse(str(exc)) from exc
        self._copy = PrivateCopy.take(self._place, create=True)
        if self._copy is None:
            raise TemporaryFailure(f"{self._place.private_copy} is removed again and again")
        refuse_other_than_mbox(self._copy.fd, self._copy.size)
        self._move_in(self._copy, dead_pid)
        if not self._copy.size:
            self._copy.remove()
            self._copy.close()
            self._copy = None
            return self._in_place.open(dead_pid)
        state = FileState.of(self._copy.fd)
        index = scan(self._copy.fd, state.size, keeps_stored_uids=self._keeps_stored_uids)
        snapshot = Snapshot(index, state, state.is_settled)
        return os.dup(self._copy.fd), snapshot

    def _move_in(self, copy: PrivateCopy, dead_pid: int | None) -> None:
        try:
            with locked_spool(self._place, self._policy, dead_pid=dead_pid) as spool:
                if spool is not None:
                    copy.move_in(spool)
                else:
                    with suppress(FileNotFoundError):  # the spool of an interrupted move is gone: the copy has its mail
                        os.unlink(self._place.move_record)
        except LockTimeout as exc:
            raise MaildropInUse(str(exc)) from exc
        except OSError as exc:
            if has_journal(self._place) or os.path.lexists(self._place.move_record):
                raise  # nobody knows where the mail is before these were dealt with
            left = "what it had before" if copy.size else "the spool itself"
            _logger.warning("%s: no private copy (%s); the session has %s", self._place.spool, exc.strerror, left)

    def commit(self, snapshot: Snapshot, deleted: AbstractSet[int], seen: AbstractSet[int]) -> None:
        """Put what is to stay back into the spool.

        Raises:
            TemporaryFailure: It cannot be done now; all mail is in the copy.
            PermanentFailure: It cannot until an operator has mended something; the same.
            OSError: The disk is full, or broken; the same.
        """
        if self._copy is None:
            self._in_place.commit(snapshot, deleted, seen)
            return
        update = find_update(self._copy.fd, snapshot, deleted, seen if self._stamps_headers else None)
        parts: list[Part] = edited(self._copy.fd, 0, self._copy.size, update.edits)
        if len(deleted) == len(snapshot.index) and _has_only_messages(self._copy.fd, snapshot):
            parts = []
        with locked_spool(self._place, self._policy, create=True) as spool:
            if spool is not None:
                self._copy.give_back(spool, parts)

    def close(self) -> None:
        """Let go of the copy; without a commit it keeps its mail."""
        if self._copy is not None:
            copy, self._copy = self._copy, None
            copy.close()


def _has_only_messages(fd: int, snapshot: Snapshot) -> bool:
    """Tell whether nothing but blank lines is in front of the first message."""
    index = snapshot.index
    end = index.start[0] if isinstance(index, Index) and index.start else snapshot.state.size
    return not read_at(fd, end, 0).strip(b"\r\n")
