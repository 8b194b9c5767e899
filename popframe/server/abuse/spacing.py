"""How often somebody may come: LOGIN-DELAY for users, and a limit on connections for networks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from popframe.config import AbuseSettings
from popframe.errors import LoginDelayed
from popframe.server.abuse.memory import MARK, AttemptMemory, mark_time
from popframe.server.abuse.networks import Networks
from popframe.server.scoreboard import TooManyConnections

RATE_SECONDS = 60.0
"""For how long connections are counted."""


class Spacing:
    """When everybody was here last, over all processes, as one process sees it. Used by many threads."""

    def __init__(self, memory: AttemptMemory, settings: AbuseSettings, clock: Callable[[], float] = time.time) -> None:
        """Look after one process.

        Args:
            memory: Opened for this process alone.
            settings: The table ``[abuse]``.
            clock: Tells the seconds since 1970, also those before a restart.
        """
        self._memory = memory
        self._settings = settings
        self._clock = clock
        self._networks = Networks(settings.exempt_networks)

    @contextmanager
    def spaced_login(self, username: str) -> Iterator[None]:
        """Hold a user's login against LOGIN-DELAY (RFC 2449 section 6.5); one that fails in the block does not count.

        Args:
            username: The account's canonical name.

        Raises:
            LoginDelayed: The user was here too short a time ago.
        """
        seconds = self._settings.login_delay_seconds
        if not seconds:
            yield
            return
        key = self._memory.key("login", username)
        before = self._take_turn(key, seconds)
        try:
            yield
        except BaseException:
            with self._memory.troubles.told(), self._memory.file.locked():
                self._memory.logins.put(key, before or MARK.pack(0.0, 0), mark_time)
            raise
        with self._memory.troubles.told(), self._memory.file.locked():
            self._memory.logins.put(key, MARK.pack(self._clock(), 0), mark_time)

    def admit_connection(self, address: str) -> None:
        """Count a new connection.

        Raises:
            TooManyConnections: The network of this address comes too often.
        """
        limit = self._settings.max_connections_per_minute
        network = self._networks.counted_as(address) if limit and address else ""
        if not network:
            return
        key = self._memory.key("connection", network)
        count = 0
        with self._memory.troubles.told(), self._memory.file.locked():
            now = self._clock()
            begun, count = MARK.unpack(self._memory.connections.get(key) or MARK.pack(0.0, 0))
            if not now - RATE_SECONDS < begun <= now:
                begun, count = now, 0
            count += 1
            if count <= limit + 1:  # one more, to know whether the log was told
                self._memory.connections.put(key, MARK.pack(begun, count), mark_time)
        if count > limit:
            reason = f"{limit} connections of {network} within a minute (abuse.max_connections_per_minute)"
            refusal = TooManyConnections(reason)
            refusal.is_news = count == limit + 1
            raise refusal

    def _take_turn(self, key: bytes, seconds: int) -> bytes | None:
        """Let a user log in now; return what was kept of the last login.

        Raises:
            LoginDelayed: It was too short a time ago.
        """
        before, age = None, float(seconds)
        with self._memory.troubles.told(), self._memory.file.locked():
            now = self._clock()
            before = self._memory.logins.get(key)
            age = float(seconds) if before is None else now - MARK.unpack(before)[0]
            if not 0 <= age < seconds:
                self._memory.logins.put(key, MARK.pack(now, 0), mark_time)
        if 0 <= age < seconds:
            raise LoginDelayed(f"the last login was {age:.1f} s ago (abuse.login_delay_seconds = {seconds})")
        return before
