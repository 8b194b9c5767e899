"""Guessing is stopped, whoever guesses from wherever; and nobody else pays for it."""

from __future__ import annotations

import logging
import os
import threading

import pytest

from popframe import Peer, TemporaryFailure
from popframe.config import AbuseSettings
from popframe.server.abuse.guard import PLACE_PATIENCE_SECONDS, Attempt, LoginGuard, TooManyWrongPasswords
from popframe.server.abuse.ledger import UNDER_WAY_SECONDS
from popframe.server.abuse.memory import AttemptMemory, memory_alone

LIMIT = 6
SETTINGS = AbuseSettings(max_wrong_passwords=LIMIT, delay_after=2, max_delay_seconds=4, known_network_days=2)
HOME, CAFE, ATTACKER = "192.0.2.1", "198.51.100.7", "203.0.113.66"


class World:
    """A server with several fronts whose clock goes only when a test says so.

    Attributes:
        memory: What the fronts share.
        waited: How long the last attempt was let wait, in seconds.
    """

    def __init__(self, settings: AbuseSettings = SETTINGS, fronts: int = 2) -> None:
        """Start."""
        self.memory = memory_alone()
        self.waited = 0.0
        self.now = 1_800_000_000.0
        self._fronts = [LoginGuard(self.memory.reopened(), settings, self.clock) for _ in range(fronts)]
        self._turn = 0

    def clock(self) -> float:
        """Tell the time."""
        return self.now

    def wait(self, seconds: float) -> bool:
        """Let time pass."""
        self.waited += seconds
        return True

    @property
    def guard(self) -> LoginGuard:
        """One front after the other."""
        self._turn += 1
        return self._fronts[self._turn % len(self._fronts)]

    def begin(self, address: str, username: str) -> Attempt:
        """Begin an attempt."""
        self.waited = 0.0
        return self.guard.begin(Peer(address, 1024), username, self.wait)

    def guess(self, address: str, username: str, password: str) -> None:
        """Try a wrong password."""
        self.guard.failed(self.begin(address, username), password.encode())

    def guesses(self, address: str, username: str, count: int) -> None:
        """Try so many different wrong passwords."""
        for number in range(count):
            self.guess(address, username, f"guess {number}")

    def log_in(self, address: str, username: str) -> float:
        """Log in with the right password; return how long that was delayed."""
        self.guard.succeeded(self.begin(address, username))
        return self.waited

    def is_refused(self, address: str, username: str) -> bool:
        """Tell whether a password would be looked at."""
        try:
            attempt = self.begin(address, username)
        except TooManyWrongPasswords:
            return True
        self.guard.withdrawn(attempt)
        return False


@pytest.fixture
def world() -> World:
    """Return a server where nothing was tried."""
    return World()


def test_guesses_are_refused_from_the_limit_on(world: World) -> None:
    """Whichever front they come to, and whichever user they are for; other addresses are not (H-048)."""
    for number in range(LIMIT):
        world.guess(ATTACKER, f"user{number}", "123456")

    for username in ("user0", "user7"):
        with pytest.raises(TooManyWrongPasswords, match=r"6 different wrong passwords from 203\.0\.113\.66"):
            world.begin(ATTACKER, username)
    assert world.log_in(HOME, "alice") == 0


def test_an_ipv6_network_is_one_address(world: World) -> None:
    """A guesser has 2**64 addresses for the price of one (H-048)."""
    for number in range(LIMIT):
        world.guess(f"2001:db8:0:1::{number}", "alice", f"guess {number}")

    assert world.is_refused("2001:db8:0:1:ffff::1%eth0", "bob")
    assert not world.is_refused("2001:db8:0:2::1", "bob")


def test_an_ipv4_address_is_the_same_however_it_comes(world: World) -> None:
    """Through a socket for both families, too."""
    world.guesses(f"::ffff:{ATTACKER}", "alice", LIMIT)

    assert world.is_refused(ATTACKER, "alice")


def test_an_old_password_counts_once_however_often_it_is_tried(world: World) -> None:
    """Six devices of one user keep asking with last year's password (H-048)."""
    for _ in range(60):
        world.guess(HOME, "alice", "last year's")
        assert world.waited == 0

    assert not world.is_refused(HOME, "alice")
    assert world.log_in(CAFE, "alice") == 0


def test_many_different_ones_at_once_take_no_more_than_the_limit(world: World) -> None:
    """Connections side by side get no guess more than one after the other (H-048)."""
    looked_at: list[str] = []
    barrier = threading.Barrier(40)

    def guess(number: int) -> None:
        guard = world.guard
        barrier.wait()
        try:
            attempt = guard.begin(Peer(ATTACKER), "alice", lambda seconds: not threading.Event().wait(seconds / 10))
        except TooManyWrongPasswords:
            return
        looked_at.append(f"guess {number}")
        threading.Event().wait(0.02)
        guard.failed(attempt, f"guess {number}".encode())

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(looked_at) == LIMIT


def test_right_passwords_at_once_all_come_in(world: World) -> None:
    """More than there are places wait for one another, and none is refused."""
    errors: list[Exception] = []

    def log_in(number: int) -> None:
        guard = world.guard
        try:
            attempt = guard.begin(Peer(HOME), f"user{number}", lambda seconds: not threading.Event().wait(seconds / 10))
            threading.Event().wait(0.005)
            guard.succeeded(attempt)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=log_in, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert not world.is_refused(HOME, "alice")


def test_who_waits_too_long_for_a_place_is_told_to_come_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is trouble of ours, and no wrong password."""
    for _ in range(LIMIT):
        world.begin(HOME, "alice")
    ticks = iter([0.0, 1.0, PLACE_PATIENCE_SECONDS + 1])
    monkeypatch.setattr("popframe.server.abuse.guard.time.monotonic", lambda: next(ticks))

    with pytest.raises(TemporaryFailure, match="under way"):
        world.begin(HOME, "bob")


def test_places_of_the_dead_come_back(world: World) -> None:
    """A front that dies in the middle of logins, or a directory that hangs, keeps nobody out for long."""
    for _ in range(LIMIT):
        world.begin(HOME, "alice")
    world.now += UNDER_WAY_SECONDS + 1

    assert world.log_in(HOME, "alice") == 0


def test_an_attempt_that_took_long_is_counted_all_the_same(world: World) -> None:
    """Slowing the server down gains no guess but those that were under way."""
    attempts = [world.begin(ATTACKER, "alice") for _ in range(LIMIT)]
    world.now += UNDER_WAY_SECONDS + 1
    for number, attempt in enumerate(attempts):
        world.guard.failed(attempt, b"guess %d" % number)

    assert world.is_refused(ATTACKER, "alice")


def test_a_place_is_held_during_the_delay(world: World) -> None:
    """Attempts side by side do not escape it."""
    world.guesses(ATTACKER, "alice", LIMIT - 1)
    attempt = world.begin(ATTACKER, "alice")
    world.now += attempt.delay_seconds + UNDER_WAY_SECONDS - 1
    with pytest.raises(TemporaryFailure, match="went away"):
        world.guard.begin(Peer(ATTACKER), "alice", lambda _seconds: False)
    world.guard.failed(attempt, b"the last")

    assert attempt.delay_seconds == 2
    assert world.is_refused(ATTACKER, "alice")


def test_delays_grow_and_end(world: World) -> None:
    """Half a second, then twice as much each time, up to the limit (H-048)."""
    delays = []
    for number in range(LIMIT):
        world.guess(ATTACKER, "alice", f"guess {number}")
        delays.append(world.waited)

    assert delays == [0, 0, 0, 0.5, 1, 2]
    world.now += SETTINGS.forget_after_seconds + 1
    world.guess(ATTACKER, "alice", "guess 7")
    assert world.waited == 0


def test_a_refusal_ends_when_enough_is_forgotten(world: World) -> None:
    """One by one, as they came."""
    for number in range(LIMIT):
        world.now += 60
        world.guess(ATTACKER, "alice", f"guess {number}")
    world.now += SETTINGS.forget_after_seconds - (LIMIT - 1) * 60 - 1
    assert world.is_refused(ATTACKER, "alice")
    world.now += 2

    assert not world.is_refused(ATTACKER, "alice")
    world.guess(ATTACKER, "alice", "guess 7")
    assert world.is_refused(ATTACKER, "alice")


def test_strangers_cannot_lock_a_user_out(world: World) -> None:
    """A user whom a thousand addresses try is delayed where it is a stranger itself, and nowhere refused (H-048)."""
    world.log_in(HOME, "alice")
    for number in range(1000):
        world.guess(f"203.0.{number // 250}.{number % 250}", "alice", f"guess {number}")

    assert world.log_in(HOME, "alice") == 0
    assert world.log_in(CAFE, "alice") == SETTINGS.max_delay_seconds
    assert world.log_in(CAFE, "alice") == 0
    assert world.log_in(CAFE, "bob") == 0


def test_a_user_at_home_is_not_refused_for_what_others_try_there(world: World) -> None:
    """Nor delayed: a network address may stand for a whole house (H-048)."""
    world.log_in(HOME, "alice")
    world.guesses(HOME, "bob", LIMIT)

    assert world.is_refused(HOME, "bob")
    assert world.log_in(HOME, "alice") == 0


def test_a_user_is_a_stranger_again_after_a_while(world: World) -> None:
    """The address may be somebody else's by then."""
    world.log_in(HOME, "alice")
    world.now += SETTINGS.known_network_days * 86_400 + 1
    world.guesses(HOME, "bob", LIMIT)

    assert world.is_refused(HOME, "alice")


def test_guesses_at_a_user_from_its_own_network_are_limited_as_well(world: World) -> None:
    """Who knows the house has no more tries."""
    world.log_in(HOME, "alice")
    world.guesses(HOME, "alice", LIMIT)

    assert world.is_refused(HOME, "alice")
    assert not world.is_refused(HOME, "bob")
    assert not world.is_refused(CAFE, "alice")


def test_a_right_password_forgets_the_mistakes_of_its_user_alone(world: World) -> None:
    """An account of one's own buys no more guesses at others (H-048)."""
    world.guesses(ATTACKER, "mallory", 2)
    for number in range(LIMIT - 1):
        if number < LIMIT - 2:
            world.guess(ATTACKER, "alice", f"guess {number}")
        world.log_in(ATTACKER, "mallory")

    assert not world.is_refused(ATTACKER, "alice")
    world.guess(ATTACKER, "alice", "another")
    world.guess(ATTACKER, "alice", "and another")
    assert world.is_refused(ATTACKER, "alice")
    world.log_in(ATTACKER, "mallory")
    assert world.is_refused(ATTACKER, "alice")


def test_a_name_written_otherwise_is_the_same_user(world: World) -> None:
    """Most systems make no difference, and a guesser must not gain by one."""
    for number, username in enumerate(["alice", "ALICE", " Alice "]):
        world.guess(f"203.0.113.{number}", username, "123456")

    world.guess("203.0.113.9", "alice", "123456")
    assert world.waited == 0  # the same password for the same user is one guess


def test_proofs_that_show_no_password_count_each(world: World) -> None:
    """Of a SCRAM exchange nobody knows which password it was made of."""
    for _ in range(LIMIT):
        world.guard.failed(world.begin(ATTACKER, "alice"), None)

    assert world.is_refused(ATTACKER, "alice")


def test_an_attempt_of_which_nothing_is_known_counts_nothing(world: World) -> None:
    """A directory that is down is no guess."""
    for _ in range(3 * LIMIT):
        world.guard.withdrawn(world.begin(HOME, "alice"))

    assert world.log_in(HOME, "alice") == 0


def test_a_client_that_goes_away_is_not_waited_for(world: World) -> None:
    """It holds no place behind that, and its password was not looked at."""
    world.guesses(ATTACKER, "alice", LIMIT - 1)
    for _ in range(3):
        with pytest.raises(TemporaryFailure, match="went away"):
            world.guard.begin(Peer(ATTACKER), "alice", lambda _seconds: False)

    assert not world.is_refused(ATTACKER, "alice")


@pytest.mark.parametrize("address", ["192.0.2.9", "2001:db8:7::1", ""])
def test_exempt_networks_are_not_counted(address: str) -> None:
    """A webmail server has the mistakes of all its users; a client without an address has nothing to be counted by."""
    world = World(AbuseSettings(max_wrong_passwords=2, exempt_networks=("192.0.2.0/24", "2001:db8:7::/48")))
    for number in range(10):
        world.guess(address, "alice", f"guess {number}")

    assert world.log_in(address, "alice") == 0


def test_the_address_of_a_proxy_is_nobodys(world: World) -> None:
    """Clients that the proxy does not know are not counted as one (N-020)."""
    for number in range(3 * LIMIT):
        attempt = world.guard.begin(Peer("192.0.2.10", proxy="192.0.2.10"), "alice", world.wait)
        world.guard.failed(attempt, b"guess %d" % number)
    world.guesses(ATTACKER, "alice", LIMIT)

    assert world.is_refused(ATTACKER, "alice")
    world.guard.succeeded(world.guard.begin(Peer("192.0.2.10", proxy="192.0.2.10"), "bob", world.wait))


def test_nothing_is_counted_without_a_limit() -> None:
    """0 switches it off."""
    world = World(AbuseSettings(max_wrong_passwords=0))
    world.guesses(ATTACKER, "alice", 100)

    assert world.log_in(ATTACKER, "alice") == 0


def test_memory_holds_no_password_in_any_form_that_can_be_tried(world: World) -> None:
    """What is kept of a password cannot be computed from the file: its key is not there."""
    world.guess(ATTACKER, "alice", "swordfish")
    world.guard.succeeded(world.begin(HOME, "alice"))
    octets = world.memory.file.read(0, world.memory.file.size())
    same = AttemptMemory(world.memory.file, world.memory._salt, b"")

    assert b"swordfish" not in octets
    assert world.memory.password_hash("alice", b"swordfish", 5) in octets
    assert same.password_hash("alice", b"swordfish", 5) not in octets
    assert world.memory._password_key not in octets


def test_when_nothing_can_be_counted_nobody_is_refused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A broken disk is told to the log, once in a while, and keeps nobody from the mail."""
    guard = LoginGuard(world.memory.reopened(), AbuseSettings(max_wrong_passwords=1))
    os.close(guard._memory.file._descriptor)
    caplog.set_level(logging.INFO, "popframe")
    for number in range(3):
        attempt = guard.begin(Peer(HOME), "alice", world.wait)
        guard.failed(attempt, b"%d" % number)
        guard.succeeded(guard.begin(Peer(HOME), "alice", world.wait))

    assert [record.getMessage() for record in caplog.records] == ["attempts-not-counted"]
