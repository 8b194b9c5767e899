"""Becoming an ordinary user, for good."""

from __future__ import annotations

import os
import pwd

from popframe.errors import ConfigError


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
