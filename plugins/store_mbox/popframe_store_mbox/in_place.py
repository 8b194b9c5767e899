"""A session on the spool itself.

Rule of this file: the spool's locks are held while it is scanned and while it is rewritten, never in between.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Set as AbstractSet
from functools import partial

from popframe import MaildropInUse, PermanentFailure
from popframe_store_mbox.file import FileState, refusal_for
from popframe_store_mbox.index_file import StoredIndex
from popframe_store_mbox.index_update import follow_update
from popframe_store_mbox.lock import LockPolicy, LockTimeout
from popframe_store_mbox.place import Place
from popframe_store_mbox.private_copy import PrivateCopy
from popframe_store_mbox.scan import refuse_other_than_mbox
from popframe_store_mbox.settings import Settings
from popframe_store_mbox.snapshot import Snapshot
from popframe_store_mbox.splice import Span
from popframe_store_mbox.spool import finish_interrupted, locked_spool, read_without_dotlock
from popframe_store_mbox.update import find_update

_logger = logging.getLogger("popframe.store_mbox")


class InPlace:
    """Reads the spool where it is, and changes it there."""

    def __init__(self, place: Place, settings: Settings) -> None:
        self._place = place
        self._policy = settings.lock_policy
        self._is_shared = settings.session_lock == "shared"
        self._keeps_stored_uids = settings.uidl == "x-uidl"
        self._stamps_headers = settings.status_headers == "popper"

    def open(self, dead_pid: int | None) -> tuple[int, Snapshot] | None:
        """Scan the spool under its locks; return it, open, with what is in it, or None when there is none.

        Raises:
            MaildropInUse: Another program kept its lock too long.
            TemporaryFailure: It cannot be read now.
            PermanentFailure: It cannot until an operator has mended something.
            OSError: It cannot be read.
        """
        try:
            if os.path.lexists(self._place.private_copy):
                _merge_left_over(self._place, self._policy, dead_pid)
            take = partial(Snapshot.take, index_path=self._place.index, keeps_stored_uids=self._keeps_stored_uids)
            if "dotlock" in self._policy.kinds and (quiet := read_without_dotlock(self._place, self._policy, take)):
                return quiet
            with locked_spool(self._place, self._policy, dead_pid=dead_pid) as spool:
                if spool is None:
                    return None
                snapshot = take(spool)
                return os.dup(spool), snapshot
        except LockTimeout as exc:
            raise MaildropInUse(str(exc)) from exc

    def commit(self, snapshot: Snapshot, deleted: AbstractSet[int], seen: AbstractSet[int]) -> None:
        """Remove messages, and stamp those that stay if the site wants that; without a change nothing is written.

        Raises:
            TemporaryFailure: They could not be removed.
            PermanentFailure: They cannot until an operator has mended something.
            OSError: The disk is full, or broken.
        """
        if not (deleted or self._stamps_headers):
            return
        with locked_spool(self._place, self._policy) as spool:
            if spool is None:
                return
            is_latest = not self._is_shared or FileState.of(spool) == snapshot.state
            update = find_update(spool, snapshot, deleted, seen if self._stamps_headers else None)
            update.apply(spool, self._place, snapshot)
            if isinstance(snapshot.index, StoredIndex):
                # Another session may have written the index since; then only a scan can tell what it should say.
                follow_update(self._place.index, snapshot.index, deleted, update, spool, is_latest=is_latest)

    def close(self) -> None:
        """Do nothing: no lock is held."""


def _merge_left_over(place: Place, policy: LockPolicy, dead_pid: int | None) -> None:
    """Put what a session with a private copy has left there in front of the spool.

    What cannot be merged is left alone, for the log to tell of: the mail in the spool can be read all the same.

    Raises:
        MaildropInUse: Another program has the copy locked.
        LockTimeout: Another program kept its lock on the spool too long.
    """
    try:
        finish_interrupted(place, policy, dead_pid)
        copy = PrivateCopy.take(place, create=False)
        if copy is None:
            return
        try:
            if not copy.size:
                copy.remove()
                return
            refuse_other_than_mbox(copy.fd, copy.size)
            with locked_spool(place, policy, dead_pid=dead_pid, create=True) as spool:
                if spool is not None:
                    copy.give_back(spool, [Span(copy.fd, 0, copy.size)])
            _logger.warning("%s: what an interrupted session had left there is in the spool again", place.private_copy)
        finally:
            copy.close()
    except PermanentFailure as exc:
        _logger.error("mail in %s is left alone: %s", place.private_copy, exc)  # noqa: TRY400 - no fault of the program
    except OSError as exc:
        refusal = refusal_for(exc, "merging it with the spool")
        _logger.error("mail in %s is left alone: %s", place.private_copy, refusal)  # noqa: TRY400 - the same
