"""How long it takes to be refused: it must tell nothing of a user, nor of the password."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable

import pytest

from popframe import Account, AuthenticationFailed, PlainCredentials
from popframe.testing import SystemUsers
from popframe_auth_shadow import AuthShadow, AuthShadowSettings

Authenticate = Callable[[str, bytes], Account | None]

LOGINS = 5
"""How many logins are timed; the median counts."""

CLOSED = {
    "locked": ["passwd", "--lock"],
    "locked, without hash": ["usermod", "--password", "!!"],
    "empty": ["passwd", "--delete"],
    "no hash": ["usermod", "--password", "x"],
    "must change": ["chage", "--lastday", "0"],
    "expired": ["usermod", "--expiredate", "2020-02-29"],
    "too old": ["chage", "--lastday", "10000", "--maxdays", "1"],
    "inactive": ["chage", "--lastday", "10000", "--maxdays", "1", "--inactive", "1"],
}
"""What closes an account."""


def seconds_of(authenticate: Authenticate, username: str, password: bytes) -> float:
    """Return the processor time of a login."""
    times = []
    for _ in range(LOGINS):
        start = time.thread_time()
        with contextlib.suppress(AuthenticationFailed):
            authenticate(username, password)
        times.append(time.thread_time() - start)
    return statistics.median(times)


@pytest.mark.usefixtures("typical_users")
class TestTime:
    """On a machine where most users have yescrypt hashes."""

    @pytest.mark.parametrize("case", CLOSED)
    def test_refusal_takes_as_long_whatever_the_state(
        self, users: SystemUsers, user: str, authenticate: Authenticate, password: bytes, case: str
    ) -> None:
        """It tells neither that an account is closed, nor that the password would have been the right one."""
        assert authenticate(user, password)
        wrong = seconds_of(authenticate, user, b"x")
        users.run(*CLOSED[case], user)

        assert wrong / 2 < seconds_of(authenticate, user, b"x") < wrong * 2
        assert wrong / 2 < seconds_of(authenticate, user, password) < wrong * 2
        with pytest.raises(AuthenticationFailed):
            authenticate(user, password)

    def test_unknown_user_takes_as_long_as_a_wrong_password(self, user: str, authenticate: Authenticate) -> None:
        """Names that nobody can have included."""
        wrong = seconds_of(authenticate, user, b"x")

        for name in ("no-such-user", "root\0", "x" * 1000, ""):
            assert wrong / 2 < seconds_of(authenticate, name, b"x") < wrong * 2

    def test_locking_changes_nothing_about_the_time(
        self, users: SystemUsers, user: str, authenticate: Authenticate
    ) -> None:
        """A user whose hash is less costly than those of most takes as long after being locked."""
        users.run("chpasswd", "--encrypted", stdin=f"{user}:$1$iH8nh9Ru$10vWy2kL3UYutmsYQeq6X1\n")
        before = seconds_of(authenticate, user, b"x")
        users.run("passwd", "--lock", user)

        assert before / 4 < seconds_of(authenticate, user, b"x") < before * 4
        assert seconds_of(authenticate, user, b"x") < seconds_of(authenticate, "no-such-user", b"x") / 2

    def test_second_login_is_quick(self, user: str, authenticate: Authenticate, password: bytes) -> None:
        """A proven password costs microseconds; a wrong one always costs the hash."""
        assert authenticate(user, password)

        assert seconds_of(authenticate, user, password) < seconds_of(authenticate, user, b"x") / 4

    def test_every_login_is_slow_without_the_cache(self, user: str, password: bytes) -> None:
        """Who wants nothing derived from passwords in memory pays for it."""
        plugin = AuthShadow(AuthShadowSettings(cache_verified_passwords=False))

        def ask(username: str, password: bytes) -> Account | None:
            return plugin.popframe_authenticate(PlainCredentials(username, password))

        assert ask(user, password)
        assert seconds_of(ask, user, password) > seconds_of(ask, user, b"x") / 2
