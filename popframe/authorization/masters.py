"""Users who may log in as somebody else, with their own password or proof: for support, migration and backup."""

from __future__ import annotations

from collections.abc import Collection


class MasterUsers:
    """``master_users`` and ``master_separator``; without any, nobody may log in as anybody else."""

    def __init__(self, names: Collection[str], separator: str) -> None:
        """Take the canonical names of those who may, and what stands between two names."""
        self._names = frozenset(names)
        self._separator = separator

    def split(self, username: str) -> tuple[str, str]:
        """Return whose password it is, and the user as whom to log in; that is empty for the same one.

        A name in which the separator occurs and no master user's name stands before it is an ordinary one.

        Args:
            username: The name that came with a password.
        """
        master, separator, other = username.partition(self._separator)
        return (master, other) if separator and other and master in self._names else (username, "")

    def includes(self, username: str) -> bool:
        """Tell whether an account may log in as another one."""
        return username in self._names
