"""Who comes too often is told so, over all processes; and nobody else."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from popframe import LoginDelayed, TemporaryFailure
from popframe.config import AbuseSettings
from popframe.server.abuse.memory import memory_alone
from popframe.server.abuse.spacing import Spacing
from popframe.server.scoreboard import TooManyConnections


class World:
    """A server with two fronts whose clock goes only when a test says so."""

    def __init__(self, settings: AbuseSettings) -> None:
        """Start."""
        self.now = 1_800_000_000.0
        memory = memory_alone()
        self.memories = [memory.reopened() for _ in range(2)]
        self._fronts = [Spacing(each, settings, lambda: self.now) for each in self.memories]
        self._turn = 0

    @property
    def spacing(self) -> Spacing:
        """One front after the other."""
        self._turn += 1
        return self._fronts[self._turn % len(self._fronts)]


@pytest.fixture
def spaced() -> World:
    """Return a server with a delay between logins."""
    return World(AbuseSettings(login_delay_seconds=60))


def try_login(world: World, username: str, inside: Callable[[], None] = lambda: None) -> None:
    """Log in as far as the delay goes."""
    with world.spacing.spaced_login(username):
        inside()


def test_a_second_login_waits_for_the_delay(spaced: World) -> None:
    """Counted from the first, on any front; a refused one does not make it longer (C-020)."""
    try_login(spaced, "alice")
    for _ in range(2):
        spaced.now += 29.9
        with pytest.raises(LoginDelayed, match=r"^the last login was (29\.9|59\.8) s ago"):
            try_login(spaced, "alice")
    try_login(spaced, "bob")
    spaced.now += 0.3

    try_login(spaced, "alice")


def test_the_delay_begins_when_the_login_is_answered(spaced: World) -> None:
    """Opening a large maildrop takes a while (C-020)."""

    def open_slowly() -> None:
        spaced.now += 30

    try_login(spaced, "alice", open_slowly)
    spaced.now += 59

    with pytest.raises(LoginDelayed):
        try_login(spaced, "alice")


def test_a_login_that_fails_does_not_count(spaced: World) -> None:
    """The maildrop was in use: nobody has logged in."""

    def fail() -> None:
        raise TemporaryFailure("in use")

    with pytest.raises(TemporaryFailure, match="in use"):
        try_login(spaced, "alice", fail)

    try_login(spaced, "alice")
    with pytest.raises(LoginDelayed):
        try_login(spaced, "alice", fail)


def test_a_clock_that_was_wrong_locks_nobody_out(spaced: World) -> None:
    """A login in the future is none."""
    try_login(spaced, "alice")
    spaced.now -= 86_400

    try_login(spaced, "alice")


# --- connections


def test_connections_are_limited_by_the_minute() -> None:
    """Over all fronts, for each network by itself; those that are refused do not make it longer."""
    world = World(AbuseSettings(max_connections_per_minute=10))
    for _ in range(10):
        world.spacing.admit_connection("2001:db8::1")
    for number in range(10):
        with pytest.raises(TooManyConnections, match=r"10 connections of 2001:db8::/64 within a minute") as caught:
            world.spacing.admit_connection("2001:db8::2")
        assert caught.value.is_news == (number == 0)
    world.spacing.admit_connection("2001:db8:1::1")
    world.now += 61

    world.spacing.admit_connection("2001:db8::1")


@pytest.mark.parametrize("address", ["192.0.2.9", ""])
def test_connections_of_exempt_networks_are_not_counted(address: str) -> None:
    """Nor those that have no address."""
    world = World(AbuseSettings(max_connections_per_minute=1, exempt_networks=("192.0.2.0/24",)))
    for _ in range(10):
        world.spacing.admit_connection(address)

    world.spacing.admit_connection("198.51.100.1")
    with pytest.raises(TooManyConnections):
        world.spacing.admit_connection("198.51.100.1")


def test_nobody_is_refused_when_nothing_can_be_counted() -> None:
    """A broken disk keeps nobody from the mail."""
    world = World(AbuseSettings(max_connections_per_minute=1, login_delay_seconds=60))
    for memory in world.memories:
        os.close(memory.file._descriptor)
    for _ in range(3):
        world.spacing.admit_connection("192.0.2.1")
        try_login(world, "alice")
