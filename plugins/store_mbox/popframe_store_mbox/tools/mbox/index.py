"""Make the index beside a spool anew, or remove it.

Rule of this file: no session may be using the index meanwhile, so the session's lock is held, and the work is done by
what a login does.
"""

from __future__ import annotations

import os
from contextlib import closing, suppress

from popframe import PermanentFailure
from popframe_store_mbox.maildrop import MboxMaildrop
from popframe_store_mbox.place import Place
from popframe_store_mbox.session_lock import SessionLock
from popframe_store_mbox.settings import Settings
from popframe_store_mbox.tools.text import counted, printable_path


def drop_index(place: Place) -> str:
    """Remove an index; return what was done, for people.

    Raises:
        MaildropInUse: A session has the maildrop.
        PermanentFailure: The session's lock cannot be taken, or the index not removed.
        OSError: The same.
    """
    lock = SessionLock.take(place.session_lock)
    try:
        os.unlink(place.index)
    except FileNotFoundError:
        return f"{printable_path(place.index)}: there is none"
    finally:
        lock.release()
    return f"{printable_path(place.index)}: removed; the next login scans the spool"


def rebuild_index(place: Place, settings: Settings) -> str:
    """Scan a spool, and write its index; return what was done, for people.

    Raises:
        MaildropInUse: A session has the maildrop, or another program its lock on the spool.
        PermanentFailure: There is no spool, or it cannot be opened.
        TemporaryFailure: It cannot be opened now.
        OSError: The old index cannot be removed.
    """
    if not os.path.lexists(place.spool):
        raise PermanentFailure(f"{printable_path(place.spool)}: no such file")
    drop_index(place)
    in_place = settings.model_copy(update={"private_copy": False, "session_lock": "exclusive"})
    with closing(MboxMaildrop(place, in_place)) as maildrop:
        messages = counted(len(maildrop.message_octets()), "message")
    index = printable_path(place.index)
    with suppress(FileNotFoundError):
        return f"{index}: {messages}, {counted(os.stat(place.index).st_size, 'octet')}"
    return (
        f"{index}: not written; the spool has {messages} and is scanned at each login (it is small, or the disk full)"
    )
