"""Becoming an ordinary user, for good."""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import signal
from collections.abc import Collection

from popframe.errors import ConfigError, PermanentFailure
from popframe.model import Account

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
"""Numbers of prctl(2), which Python's library does not have."""

STANDARD_DESCRIPTORS = 3
"""Input, output, errors."""

NO_ID = 2**32 - 1
"""What setresuid(2) takes for "leave it as it is"."""

PRIVATE_UMASK = 0o077
"""What a session makes is for its user alone."""


def become(run_as: str | None) -> None:
    """Drop root for the configured user; without root there is nothing to drop.

    Raises:
        ConfigError: Started as root and no user to become; or a user to become and not started as root.
    """
    if os.geteuid() != 0:
        if run_as is not None and pwd.getpwnam(run_as).pw_uid != os.geteuid():
            raise ConfigError(f"server.run_as: only root can become {run_as!r}: start as root, or as {run_as!r}")
        return
    if run_as is None:
        raise ConfigError("server.run_as: name the user to become once the sockets are open; nothing runs as root")
    user = pwd.getpwnam(run_as)
    os.initgroups(run_as, user.pw_gid)
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    if os.getresuid() != (user.pw_uid,) * 3 or os.getresgid() != (user.pw_gid,) * 3:
        raise ConfigError(f"server.run_as: could not become {run_as!r} for good")


def checked_user(run_as: str | None) -> str:
    """Return the user that the processes become which talk to clients, when others become other users.

    Raises:
        ConfigError: There is none, or this process is not root and can become nobody.
    """
    if os.geteuid() != 0:
        raise ConfigError("server.isolation: 'per-user' needs root, to become each user")
    if run_as is None:
        raise ConfigError("server.run_as: name the user that talks to clients; nothing that does runs as root")
    return run_as


def make_undumpable() -> None:
    """Keep the memory of this process and its children to root: no core file, no debugger.

    Raises:
        OSError: The kernel refuses.
    """
    _prctl(PR_SET_DUMPABLE, 0)


def end_with_parent() -> None:
    """Let the kernel kill this process when its parent ends, until it becomes another user (prctl(2)).

    Raises:
        OSError: The kernel refuses.
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def become_account(account: Account, keep: Collection[int], *, may_gain: bool) -> None:
    """Become the user of an account, for good, with nothing of what this process had.

    Args:
        account: Whose process this is from now on.
        keep: Descriptors that stay open, besides the standard ones.
        may_gain: Programs that it starts may get more rights by a setuid or setgid bit.

    Raises:
        PermanentFailure: It has no user id, or that of root; or something of the old identity is left.
        OSError: The system refuses.
    """
    uid, gid = account.uid, account.gid
    if uid is None or gid is None or not 0 < uid < NO_ID or not 0 < gid < NO_ID:
        raise PermanentFailure(f"account {account.username!r} is not one of an ordinary user (uid {uid}, gid {gid})")
    try:
        groups = os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        groups = [gid]
    _blank_descriptors(keep)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(PRIVATE_UMASK)
    os.chdir("/")
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if not may_gain:
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prctl(PR_SET_DUMPABLE, 0)
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3 or set(os.getgroups()) - set(groups):
        raise PermanentFailure(f"could not become user {uid} for good")


def _blank_descriptors(keep: Collection[int]) -> None:
    """Put nothing in the place of every other descriptor.

    They are not closed: objects that still know their numbers must not meet another file there.
    """
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number >= STANDARD_DESCRIPTORS and number != nothing and number not in keep:
            os.dup2(nothing, number, inheritable=False)
    os.close(nothing)


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"prctl {option}")
