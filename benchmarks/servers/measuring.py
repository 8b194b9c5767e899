"""The order of things: in each round every server does the work once, in turn, so that noise hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.servers.client import Failure
from benchmarks.servers.server import Server
from benchmarks.servers.spool import numbers_in
from benchmarks.servers.work import Talk, Work, listings

REST_SECONDS = 2.5
"""Pause after a spool was changed: popa3d waits for a second, popframe trusts time stamps after two, and mail that has
come long ago is the usual case."""

ENOUGH_SECONDS = 2.0
"""A server that has worked for so long in a round need not do it again."""

SLOW_SECONDS = 15.0
"""A server that needs longer for one session is measured in one round: mailutils syncs its file once for each message,
which takes minutes on a busy disk."""


@dataclass(slots=True)
class Result:
    """What was measured of one server at one kind of work; an item for each round, the mean of its sessions.

    Attributes:
        server: Its name.
        cpu_seconds: CPU time that a session cost.
        wall_seconds: Time from connecting until the server has closed the connection.
        pss_octets: Memory by which the server grows for its first session.
        whole_pss_octets: Memory of the server with that session.
        failure: Why there are no numbers.
    """

    server: str
    cpu_seconds: list[float] = field(default_factory=list)
    wall_seconds: list[float] = field(default_factory=list)
    pss_octets: list[float] = field(default_factory=list)
    whole_pss_octets: list[float] = field(default_factory=list)
    failure: str = ""


class Measuring:
    """One kind of work, done by some servers."""

    def __init__(self, work: Work, servers: Sequence[Server], folder: Path) -> None:
        """Write the spool, if it is not there yet."""
        self._work = work
        self._servers = servers
        self._template = work.spool.write(folder)
        self._messages = work.spool.messages
        self._results = {server.name: Result(server.name) for server in servers}

    def run(self, rounds: int) -> list[Result]:
        """Return a result for each server, in the order of the servers."""
        for number in range(rounds):
            if number == 0 or self._work.fresh:
                self._put()
            if self._work.new_mail:
                self._deliver()
            self._each(self._measure_memory if self._work.holds_memory else self._measure_time, number)
        return list(self._results.values())

    def _put(self) -> None:
        """Give every server a new copy of the spool."""
        self._messages = self._work.spool.messages
        self._each(lambda server: server.put(self._template))
        time.sleep(REST_SECONDS)
        for _ in range(self._work.warm):
            self._each(lambda server: self._session(server, listings))

    def _deliver(self) -> None:
        """Let a message arrive at every server."""
        self._messages += 1
        self._each(lambda server: server.append(self._work.spool.message(self._messages)))
        time.sleep(REST_SECONDS)

    def _each(self, action: Callable[[Server], object], start: int = 0) -> None:
        """Do something with each server that has not failed; which one begins depends on the round."""
        for index in range(len(self._servers)):
            server = self._servers[(start + index) % len(self._servers)]
            result = self._results[server.name]
            if result.failure or max(result.wall_seconds, default=0) > SLOW_SECONDS:
                continue
            try:
                action(server)
            except (Failure, OSError) as error:
                result.failure = str(error) or type(error).__name__

    def _measure_time(self, server: Server) -> None:
        """Add what one session costs, the mean of those of a round."""
        before = server.group.settled_cpu_seconds()
        wall_seconds = 0.0
        results: list[list[bytes]] = []
        while len(results) < self._work.sessions and wall_seconds < ENOUGH_SECONDS:
            begun = time.perf_counter()
            results.append(self._session(server, self._work.talk))
            wall_seconds += time.perf_counter() - begun
        cpu_seconds = server.group.settled_cpu_seconds() - before
        for replies in results:
            self._work.check(replies, self._work.spool, self._messages)
        self._check_spool(server)
        result = self._results[server.name]
        result.cpu_seconds.append(cpu_seconds / len(results))
        result.wall_seconds.append(wall_seconds / len(results))

    def _measure_memory(self, server: Server) -> None:
        """Add by how much a server that was just started grows for a session that has done the work and waits."""
        server.restart()
        server.group.settled_cpu_seconds()
        before = server.group.pss_octets()
        with server.login() as client:
            replies = self._work.talk(client, self._messages)
            server.group.settled_cpu_seconds()
            whole = server.group.pss_octets()
            client.quit()
        self._work.check(replies, self._work.spool, self._messages)
        self._results[server.name].pss_octets.append(whole - before)
        self._results[server.name].whole_pss_octets.append(whole)

    def _session(self, server: Server, talk: Talk) -> list[bytes]:
        """Run a session from the connection to its end."""
        with server.login() as client:
            replies = talk(client, self._messages)
            client.quit()
        return replies

    def _check_spool(self, server: Server) -> None:
        """Make sure that those messages are in the spool that the work leaves.

        Raises:
            Failure: They are not.
        """
        left, expected = numbers_in(server.spool), self._work.left(self._messages)
        if left != expected:
            raise Failure(f"has left {len(left)} messages, or others, in place of {len(expected)}")
