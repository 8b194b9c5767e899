"""The user whose locks are tried: found, and become in a child process.

Rule of this file: the process that calls never changes its own user.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NoReturn

from popframe_store_mbox.tools.locks.trial import Attempt, Outcome, Trial

READ_OCTETS = 65536
"""How much of the child's answer is read at a time."""


@dataclass(frozen=True, slots=True)
class User:
    """A user of this machine.

    Attributes:
        name: The login name; the number when there is none.
        uid: Numeric user id.
        gid: Numeric id of the login group.
        groups: Numeric ids of all its groups, that one included.
    """

    name: str
    uid: int
    gid: int
    groups: frozenset[int]

    @classmethod
    def named(cls, name: str) -> User:
        """Return the user of a name.

        Raises:
            KeyError: There is none.
        """
        entry = pwd.getpwnam(name)
        return cls(name, entry.pw_uid, entry.pw_gid, frozenset(os.getgrouplist(name, entry.pw_gid)))

    @classmethod
    def numbered(cls, uid: int, gid: int) -> User:
        """Return the user of a number.

        Args:
            uid: Numeric user id.
            gid: The group to take when this machine knows no user of that number.
        """
        try:
            return cls.named(pwd.getpwuid(uid).pw_name)
        except KeyError:
            return cls(str(uid), uid, gid, frozenset({gid}))

    @classmethod
    def own(cls) -> User:
        """Return the user that this process is, with the groups that it has."""
        user = cls.numbered(os.geteuid(), os.getegid())
        return cls(user.name, os.geteuid(), os.getegid(), frozenset({os.getegid(), *os.getgroups()}))

    def may(self, status: os.stat_result, wanted: int) -> bool:
        """Tell whether owner, group and mode of a file allow something.

        Args:
            status: Of the file.
            wanted: A sum of ``os.R_OK``, ``os.W_OK`` and ``os.X_OK``.
        """
        if self.uid == 0:
            return True
        # The first class that fits counts, as in the kernel, even if a later one allows more.
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid in self.groups else 0
        return status.st_mode >> shift & wanted == wanted


def user_name(uid: int) -> str:
    """Return the name of a user, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return the name of a group, or its number."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


# --- in a child process, which becomes the user -------------------------------------------------------------------


def as_user(user: User, function: Callable[[], Trial]) -> Trial:
    """Call a function in a child process that is that user for good; only root can.

    Raises:
        ChildProcessError: The child gave no answer.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _answer_and_exit(user, function, writing)
    os.close(writing)
    try:
        answer = b""
        while octets := os.read(reading, READ_OCTETS):
            answer += octets
    finally:
        os.close(reading)
        _, status = os.waitpid(pid, 0)
    if status != 0 or not answer:
        raise ChildProcessError(f"the locks could not be tried as user {user.name}: {answer.decode() or status}")
    return _from_json(answer)


def _answer_and_exit(user: User, function: Callable[[], Trial], writing: int) -> NoReturn:
    """Become the user, call the function, and write what it returned; or why there is nothing to write."""
    status = 1
    try:
        os.setgroups(sorted(user.groups))
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
        answer = json.dumps(asdict(function()), default=lambda outcome: outcome.name)
        status = 0
    except BaseException as exc:  # nothing may return into the parent's code
        answer = f"{type(exc).__name__}: {exc}"
    try:
        with os.fdopen(writing, "w") as pipe:
            pipe.write(answer)
    finally:
        os._exit(status)


def _from_json(answer: bytes) -> Trial:
    content = json.loads(answer)
    attempts = (Attempt(**{**attempt, "outcome": Outcome[attempt["outcome"]]}) for attempt in content["attempts"])
    return Trial(content["refusal"], tuple(attempts))
