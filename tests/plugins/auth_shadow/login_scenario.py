"""One login, for the crash harness; ``run`` is called in a child in which a system call may fail."""

from __future__ import annotations

import contextlib
import os
import resource

from popframe import AuthenticationFailed, PlainCredentials, TemporaryFailure
from popframe_auth_shadow import AuthShadow, AuthShadowSettings

LOGGED_IN = 0
REFUSED = 3
TRY_LATER = 4
UNKNOWN = 5

_PLUGIN = AuthShadow(AuthShadowSettings())


def run(argument: dict[str, str]) -> int:
    """Log in without a privilege or a resource that was there before; say why not in a file, if one is named."""
    with contextlib.ExitStack() as files:
        reason = files.enter_context(open(argument["reason"], "w")) if argument["reason"] else None
        if argument["without"] == "root":
            os.setgroups([])
            os.setresgid(65_534, 65_534, 65_534)
            os.setresuid(65_534, 65_534, 65_534)
        if argument["without"] == "descriptors":
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
        try:
            credentials = PlainCredentials(argument["username"], argument["password"].encode())
            return UNKNOWN if _PLUGIN.popframe_authenticate(credentials) is None else LOGGED_IN
        except (AuthenticationFailed, TemporaryFailure) as error:
            if reason is not None:
                reason.write(str(error))
            return REFUSED if isinstance(error, AuthenticationFailed) else TRY_LATER
