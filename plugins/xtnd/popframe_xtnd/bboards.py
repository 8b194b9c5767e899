"""``XTND BBOARDS``, ``XTND ARCHIVE`` and ``XTND X-BBOARDS``: mail of groups, read only (RFC 1082)."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate

from popframe import CommandContext, Reply
from popframe_xtnd.groups import ARCHIVE, Folder, Group

FLAGS = "0"
"""RFC 1082 gives no meaning to any flag that would hold here."""


class BulletinBoards:
    """Offers the groups of a folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def bboards(self, context: CommandContext, arguments: Sequence[str]) -> Reply:
        """``XTND BBOARDS [name]``: list the groups, or go to one of them.

        Raises:
            Refusal: There is no such group, or what is marked as deleted could not be removed: nothing has changed.
        """
        if arguments:
            return self._enter(context, arguments[0], "")
        uid = context.account.uid
        return _listing([self._line(group, uid) for group in self._folder.groups(uid)])

    def archive(self, context: CommandContext, arguments: Sequence[str]) -> Reply:
        """``XTND ARCHIVE name``: go to the archive of a group.

        Raises:
            Refusal: As for ``XTND BBOARDS``.
        """
        return self._enter(context, arguments[0], ARCHIVE)

    def x_bboards(self, context: CommandContext, arguments: Sequence[str]) -> Reply:
        """``XTND X-BBOARDS name``: describe a group in fourteen lines; what is not told is an empty one.

        Raises:
            Refusal: There is no such group.
        """
        uid = context.account.uid
        group = self._folder.find(arguments[0], uid)
        opened = self._folder.open(group, uid)
        opened.maildrop.close()
        told = group.description
        # name, aliases, maildrop, archive, information file, map, password, leaders, addresses, feeds, numbers, date
        lines = [group.name, " ".join(told.aliases), "", "", "", "", "", told.leaders, told.address, told.request]
        return _listing([*lines, "", "", f"{FLAGS} {opened.last}", formatdate(opened.changed)])

    def _enter(self, context: CommandContext, name: str, kind: str) -> Reply:
        uid = context.account.uid
        group = self._folder.find(name, uid, kind)
        opened = self._folder.open(group, uid, kind)
        context.enter_group(opened.maildrop, opened.maxima)
        return _listing([f"{group.name} {opened.last}"])

    def _line(self, group: Group, uid: int | None) -> str:
        opened = self._folder.open(group, uid)
        opened.maildrop.close()
        return f"{group.name} {opened.last}"


def _listing(lines: Sequence[str]) -> Reply:
    return Reply("XTND", body=[f"{line}\n".encode("ascii", "replace") for line in lines])
