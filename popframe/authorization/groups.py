"""Lists of groups of the machine whose members may log in, or may not.

Rule of this file: names are looked up at each login, so that a group counts as it is now, and a lookup that fails is
never taken for "not a member": getgrouplist(3) leaves out silently what a directory service that is down would have
said.
"""

from __future__ import annotations

import ctypes
import grp
import os
from collections.abc import Sequence

from popframe.errors import TemporaryFailure
from popframe.model import Account, Peer

USUAL_GROUP_COUNT = 64
"""Room for so many groups at first; who is in more costs a second call."""

MAX_GROUP_COUNT = 1 << 20
"""More than NGROUPS_MAX (65,536 on Linux) is not a number of groups but a failure."""


_getgrouplist = ctypes.CDLL(None).getgrouplist
_getgrouplist.argtypes = (ctypes.c_char_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int))
_getgrouplist.restype = ctypes.c_int


class GroupLists:
    """``allow_groups`` and ``deny_groups``; an account that is in both may not log in."""

    def __init__(self, allowed: Sequence[str] | None, denied: Sequence[str]) -> None:
        """Take the names; None for everybody."""
        self._allowed = None if allowed is None else tuple(allowed)
        self._denied = tuple(denied)

    def objection(self, peer: Peer, account: Account) -> str | None:
        """Ask the machine; an account without a group id is in no group.

        Raises:
            TemporaryFailure: The machine cannot tell now.
        """
        if account.gid is None:
            if account.uid is not None:
                return "the account has a user id and no group id, and login has lists of groups"
            return None if self._allowed is None else "the user is virtual, and login.allow_groups is set"
        group_ids = _group_ids(account.username, account.gid)
        for name in self._denied:
            if _is_member(account.username, group_ids, name):
                return f"the user is in group {name}, which is in login.deny_groups"
        if self._allowed is None or any(_is_member(account.username, group_ids, name) for name in self._allowed):
            return None
        return "the user is in no group of login.allow_groups"


def _is_member(username: str, group_ids: frozenset[int], group_name: str) -> bool:
    """Tell whether the user is in a group.

    By the list of members too, for that comes from where the group itself is known.

    Raises:
        TemporaryFailure: The group is unknown; at the start it was known.
    """
    try:
        group = grp.getgrnam(group_name)
    except (KeyError, OSError) as error:
        raise TemporaryFailure(f"this machine does not know group {group_name!r} at present") from error
    return group.gr_gid in group_ids or username in group.gr_mem


def _group_ids(username: str, group_id: int) -> frozenset[int]:
    """Return the user's groups, the given one among them.

    Not by :func:`os.getgrouplist`: it holds the interpreter's lock meanwhile, so that a slow directory service would
    stop every session of the process.

    Raises:
        TemporaryFailure: The C library gives none.
    """
    room = USUAL_GROUP_COUNT
    while room <= MAX_GROUP_COUNT:
        group_ids = (ctypes.c_uint32 * room)()
        count = ctypes.c_int(room)
        if _getgrouplist(os.fsencode(username), group_id, group_ids, ctypes.byref(count)) >= 0:
            return frozenset(group_ids[: count.value])
        room = max(count.value, room * 2)
    raise TemporaryFailure(f"the groups of user {username!r} cannot be told")
