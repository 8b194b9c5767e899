"""Which attempt to log in is looked at, which has to wait, and which is refused unseen.

An attempt is counted for its network (one IPv4 address, one IPv6 /64) as long as nobody knows that its password is
right, and takes one of the places that the network has until then; so it makes no difference how many come at once.
What is counted are different wrong passwords: a program that tries an old one again and again counts once.

Nobody can lock a user out. Wrong passwords for a user delay attempts from networks where the user is a stranger, and
refuse none. In a network from which the user has logged in lately, a ledger for this user alone is asked, whatever
others try there. A right password clears what was counted for this user in this network, and nothing else: having an
account of one's own helps nobody to guess the password of another.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from popframe.config import AbuseSettings
from popframe.errors import AuthenticationFailed, TemporaryFailure
from popframe.model import Peer
from popframe.server.abuse.ledger import NAME_OCTETS, TAG_OCTETS, Ledger, weight
from popframe.server.abuse.memory import MARK, AttemptMemory, mark_time
from popframe.server.abuse.networks import Networks

SHORTEST_DELAY_SECONDS = 0.5
"""The first delay; each further wrong password doubles it."""

PLACE_PAUSE_SECONDS = 0.05
"""How often an attempt for which there is no place looks whether there is one."""

PLACE_PATIENCE_SECONDS = 30.0
"""How long it does that before it is refused: mail programs wait a minute for an answer."""

KNOWN_STEP_SECONDS = 3600.0
"""How exactly is known when a user was last in a network; finer would be a write for each login."""

_DAY_SECONDS = 86_400.0

Wait = Callable[[float], bool]
"""Waits so many seconds; False when there is nobody any more to wait for."""


class TooManyWrongPasswords(AuthenticationFailed):
    """The password was not looked at. The client is told what it is told of a wrong one, so it learns nothing."""


@dataclass(slots=True)
class Attempt:
    """One attempt to log in, from :meth:`LoginGuard.begin` until somebody knows what came of it.

    Attributes:
        network: What its address is counted as.
        username: The name that was tried, as it is counted.
        own: Key of what is known of this user in this network.
        subject: Key of the ledger in which it stands; empty when it is not counted, or no longer.
        label: What people call this ledger.
        name: Its name there.
        delay_seconds: How long it has to wait.
    """

    network: str
    username: str
    own: bytes
    subject: bytes = b""
    label: str = ""
    name: bytes = b""
    delay_seconds: float = 0.0


class LoginGuard:
    """The counts of all processes, as one process sees them, and what follows from them. Used by many threads."""

    def __init__(self, memory: AttemptMemory, settings: AbuseSettings, clock: Callable[[], float] = time.time) -> None:
        """Look after one process.

        Args:
            memory: Opened for this process alone.
            settings: The table ``[abuse]``.
            clock: Tells the seconds since 1970, also those before a restart.
        """
        self._clock = clock
        self._memory = memory
        self._settings = settings
        self._networks = Networks(settings.exempt_networks)
        self._memory_seconds = float(settings.forget_after_seconds)

    # --- attempts to log in

    def begin(self, peer: Peer, username: str, wait: Wait) -> Attempt:
        """Let an attempt wait for its turn, before its password is looked at.

        Whoever calls this calls :meth:`failed`, :meth:`succeeded` or :meth:`withdrawn` afterwards.

        Args:
            peer: Where the client connects from.
            username: The name as the client sent it.
            wait: Waits for some time, or until the client is gone.

        Raises:
            TooManyWrongPasswords: Too much was tried; the password is not to be looked at.
            TemporaryFailure: The client is gone, or too many attempts from there are under way.
        """
        address = "" if peer.address == peer.proxy else peer.address  # a proxy's own brings many clients
        network = self._networks.counted_as(address) if self._settings.max_wrong_passwords else ""
        name = counted_name(username)
        attempt = Attempt(network, name, self._memory.key("own", network, name) if network else b"")
        deadline = time.monotonic() + PLACE_PATIENCE_SECONDS
        while network and not self._take_place(attempt):
            if time.monotonic() >= deadline:
                raise TemporaryFailure(f"too many logins of {network} under way")
            if not wait(PLACE_PAUSE_SECONDS):
                raise TemporaryFailure("the client went away while its login waited for a place")
        if attempt.delay_seconds and not wait(attempt.delay_seconds):
            self.withdrawn(attempt)
            raise TemporaryFailure("the client went away while its login was delayed")
        return attempt

    def failed(self, attempt: Attempt, secret: bytes | None) -> None:
        """Count an attempt that was wrong.

        Args:
            attempt: What :meth:`begin` returned.
            secret: The password; None when a mechanism does not show it, and every attempt counts as another.
        """
        if not attempt.subject:
            return
        name = attempt.name if secret is None else self._name(attempt, secret)
        with self._memory.troubles.told(), self._memory.file.locked():
            now = self._clock()
            ledger = self._ledger(attempt.subject, attempt.label, now)
            ledger.under_way.pop(attempt.name, None)
            ledger.failed[name] = now
            self._keep(attempt.subject, ledger, now)
            self._note_for_user(attempt.username, name, now)
        attempt.subject = b""

    def succeeded(self, attempt: Attempt) -> None:
        """Take note that an attempt was right: the network is the user's own now, and mistakes there are forgotten."""
        if not attempt.subject:
            return
        memory = self._memory
        with memory.troubles.told(), memory.file.locked():
            now = self._clock()
            memory.ledgers.remove(attempt.own)
            self._leave_place(self._network_key(attempt), attempt, now, is_right=True)
            mark = memory.known.get(attempt.own)
            if mark is None or not 0 <= now - mark_time(mark) < KNOWN_STEP_SECONDS:
                memory.known.put(attempt.own, MARK.pack(now, 0), mark_time)
        attempt.subject = b""

    def withdrawn(self, attempt: Attempt) -> None:
        """Take an attempt back of which nobody knows whether it was right."""
        if not attempt.subject:
            return
        with self._memory.troubles.told(), self._memory.file.locked():
            self._leave_place(attempt.subject, attempt, self._clock(), is_right=False)
        attempt.subject = b""

    def password_digest(self, username: str, password: bytes) -> str:
        """Return a keyed hash of a name and a password, in hexadecimal digits; the key ends with the server."""
        return self._memory.password_hash(counted_name(username), password, NAME_OCTETS).hex()

    # --- in the tables

    def _take_place(self, attempt: Attempt) -> bool:
        """Let an attempt stand in its ledger, and find out how long it has to wait; False when there is no place now.

        Raises:
            TooManyWrongPasswords: There will be none until some are forgotten.
        """
        limit = self._settings.max_wrong_passwords
        failed = under_way = 0
        with self._memory.troubles.told(), self._memory.file.locked():
            now = self._clock()
            is_known = self._is_known(attempt, now)
            subject = attempt.own if is_known else self._network_key(attempt)
            attempt.label = f"{attempt.network} {attempt.username}" if is_known else attempt.network
            ledger = self._ledger(subject, attempt.label, now)
            failed, under_way = len(ledger.failed), len(ledger.under_way)
            if failed + under_way < limit:
                tried_for_user = 0 if is_known else self._count_for_user(attempt.username, now)
                attempt.delay_seconds = max(self._delay(failed), self._delay(tried_for_user))
                attempt.subject, attempt.name = subject, self._name(attempt, secrets.token_bytes(NAME_OCTETS))
                ledger.under_way[attempt.name] = now + attempt.delay_seconds
                self._keep(subject, ledger, now)
        if failed >= limit:
            raise TooManyWrongPasswords(
                f"{failed} different wrong passwords from {attempt.network} (abuse.max_wrong_passwords): "
                "the password was not looked at"
            )
        return failed + under_way < limit

    def _delay(self, failed: int) -> float:
        """Return how long an attempt waits after so many wrong passwords."""
        excess = failed - self._settings.delay_after
        return 0.0 if excess <= 0 else min(SHORTEST_DELAY_SECONDS * 2 ** (excess - 1), self._settings.max_delay_seconds)

    def _is_known(self, attempt: Attempt, now: float) -> bool:
        """Tell whether the user has logged in from there lately."""
        mark = self._memory.known.get(attempt.own)
        days = self._settings.known_network_days
        return mark is not None and now - MARK.unpack(mark)[0] < days * _DAY_SECONDS

    def _network_key(self, attempt: Attempt) -> bytes:
        return self._memory.key("network", attempt.network)

    def _ledger(self, subject: bytes, label: str, now: float) -> Ledger:
        payload = self._memory.ledgers.get(subject)
        return Ledger(label) if payload is None else Ledger.parsed(payload, now, self._memory_seconds)

    def _keep(self, subject: bytes, ledger: Ledger, now: float) -> None:
        if ledger.is_empty:
            self._memory.ledgers.remove(subject)
        else:
            rank = partial(weight, now=now, memory_seconds=self._memory_seconds)
            self._memory.ledgers.put(subject, ledger.packed(), rank)

    def _leave_place(self, subject: bytes, attempt: Attempt, now: float, *, is_right: bool) -> None:
        payload = self._memory.ledgers.get(subject)
        if payload is None:
            return
        ledger = Ledger.parsed(payload, now, self._memory_seconds)
        ledger.under_way.pop(attempt.name, None)
        if is_right:
            ledger.forget_user(self._tag(attempt.username))
        self._keep(subject, ledger, now)

    def _count_for_user(self, username: str, now: float) -> int:
        payload = self._memory.users.get(self._memory.key("user", username))
        return 0 if payload is None else len(Ledger.parsed(payload, now, self._memory_seconds).failed)

    def _note_for_user(self, username: str, name: bytes, now: float) -> None:
        key = self._memory.key("user", username)
        payload = self._memory.users.get(key)
        ledger = Ledger(username) if payload is None else Ledger.parsed(payload, now, self._memory_seconds)
        ledger.failed[name] = now
        rank = partial(weight, now=now, memory_seconds=self._memory_seconds)
        self._memory.users.put(key, ledger.packed(), rank)

    def _tag(self, username: str) -> bytes:
        return self._memory.key("tag", username)[:TAG_OCTETS]

    def _name(self, attempt: Attempt, secret: bytes) -> bytes:
        """Return the name of an attempt: the same user and password have the same one as long as the server runs."""
        octets = NAME_OCTETS - TAG_OCTETS
        return self._tag(attempt.username) + self._memory.password_hash(attempt.username, secret, octets)


def counted_name(username: str) -> str:
    """Return a name without what most systems make no difference of: nobody gets new tries by writing it otherwise."""
    return username.strip().casefold()
