"""Who a bulletin is for, when its name says so."""

from __future__ import annotations

import grp
import os
from collections.abc import Mapping, Sequence

from popframe import Account

EVERYBODY = "ALL"
"""The group in which all are, as in Qpopper."""


class Audience:
    """Tells whether an account is in a group; without group bulletins every file is for everybody."""

    def __init__(self, groups: Mapping[str, Sequence[str]], *, is_restricted: bool) -> None:
        """Take the groups of the configuration.

        Args:
            groups: User names by group, besides the groups of the machine.
            is_restricted: The names of the files say which group they are for.
        """
        self._groups = {name: frozenset(members) for name, members in groups.items()}
        self._is_restricted = is_restricted

    def includes(self, group: str | None, account: Account) -> bool:
        """Tell whether a bulletin for a group is for this account.

        A file whose name has no group is for everybody; one for a group that nobody knows is for nobody. Virtual users
        are in no group of the machine.

        Raises:
            OSError: The groups of the machine cannot be looked up now.
        """
        if not self._is_restricted or group is None or group == EVERYBODY:
            return True
        if group in self._groups:
            return account.username in self._groups[group]
        if account.gid is None:
            return False
        try:
            entry = grp.getgrnam(group)
        except KeyError:
            return False
        if account.username in entry.gr_mem:
            return True
        return entry.gr_gid in os.getgrouplist(account.username, account.gid)

    def description(self, group: str | None) -> str:
        """Say whom a bulletin is for."""
        if not self._is_restricted or group is None or group == EVERYBODY:
            return "all"
        return group if self.is_known(group) else f"nobody (no group {group!r})"

    def is_known(self, group: str) -> bool:
        """Tell whether there is such a group.

        Raises:
            OSError: The groups of the machine cannot be looked up now.
        """
        if group in self._groups or group == EVERYBODY:
            return True
        try:
            grp.getgrnam(group)
        except KeyError:
            return False
        return True
