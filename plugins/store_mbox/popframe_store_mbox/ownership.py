"""Which files are to be trusted with somebody's mail."""

from __future__ import annotations

import os
import stat

from popframe import PermanentFailure
from popframe_store_mbox.place import Place


def refuse_foreign(place: Place, path: str, status: os.stat_result) -> None:
    """Refuse a file that could be somebody else's mail, or not mail at all.

    Its owner is the account's user; where the account has none, the user that the server runs as. Only root may serve
    an account without a user id from any file: then the operator vouches for the directory.

    Raises:
        PermanentFailure: With the reason.
    """
    owner = os.geteuid() if place.uid is None else place.uid
    if not stat.S_ISREG(status.st_mode):
        raise PermanentFailure(f"{path} is not a regular file")
    if status.st_nlink != 1:
        raise PermanentFailure(f"{path} has {status.st_nlink} names (hard links)")
    if status.st_uid != owner and not (place.uid is None and owner == 0):
        raise PermanentFailure(f"{path} belongs to user {status.st_uid}, not to {owner}")


def refuse_accessible(path: str, status: os.stat_result) -> None:
    """Refuse a file that others than its owner may read or write.

    Raises:
        PermanentFailure: They may.
    """
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PermanentFailure(f"{path} is accessible to others (mode {stat.S_IMODE(status.st_mode):04o}, not 0600)")
