"""What session_stats costs a front for each session, in CPU time of the process that serves the client.

Usage: python -m benchmarks.session_stats [--sessions 20000] [--rounds 5]

The plugin is started as a server would start it, collector included, and told of sessions one after the other: a
connection, a login, a refused one in every tenth, an end. The collector's own CPU time is told beside it.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from popframe import Host, LoginFailure, Outcome, Peer, SessionSummary
from popframe_session_stats import SessionStats, SessionStatsSettings

PEER = Peer("192.0.2.7", 4711, "192.0.2.1", 110)
SUMMARY = SessionSummary("9f3c2a1b-1", PEER, "alice", Outcome.QUIT, 0.25, 8, 0, 2, 200, 0, 0, 2, 200, 5, 900)
FAILURE = LoginFailure("9f3c2a1b-1", PEER, "alice", "AUTH", "wrong password")
FAILURES = 10
"""Of so many sessions one has a refused login."""

PACE = 200
"""Sessions that are told before there is a pause for the collector, which has a core for itself only by chance."""

PAUSE_SECONDS = 0.02


def main() -> None:
    """Measure, and write a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=20_000, help="sessions of each round")
    parser.add_argument("--rounds", type=int, default=5, help="the median of so many is told")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w", encoding="ascii") as nothing:
        logging.getLogger("popframe").addHandler(logging.StreamHandler(nothing))
        logging.getLogger("popframe").setLevel(logging.INFO)
        logging.getLogger("popframe").propagate = False
        file = Path(folder) / "sessions"
        kinds = {
            "metrics alone": SessionStatsSettings(record="none", listen="127.0.0.1:0"),
            "popper's line in a file alone": SessionStatsSettings(record="popper", file=file, listen=""),
            "JSON in a file alone": SessionStatsSettings(record="json", file=file, listen=""),
            "popper's line in the log alone": SessionStatsSettings(record="popper", listen=""),
            "metrics and JSON in a file": SessionStatsSettings(record="json", file=file, listen="127.0.0.1:0"),
        }
        sys.stdout.write("| what | front, µs a session | collector, µs a session |\n|---|---|---|\n")
        for name, settings in kinds.items():
            rounds = [measured(settings, arguments.sessions) for _ in range(arguments.rounds)]
            front, collector = (statistics.median(values) for values in zip(*rounds, strict=True))
            sys.stdout.write(f"| {name} | {front:.1f} | {collector:.1f} |\n")


def measured(settings: SessionStatsSettings, sessions: int) -> tuple[float, float]:
    """Return microseconds of CPU time for each session: in this process, and in the collector with its start."""
    before = children_seconds()
    idle = SessionStats.before_run_as(settings, Host(is_server=True))
    idle.close()
    start = children_seconds() - before
    prepared = SessionStats.before_run_as(settings, Host(is_server=True))
    plugin = SessionStats(settings, prepared)
    spent = 0.0
    for first in range(0, sessions, PACE):
        begun = time.thread_time()
        for number in range(first, min(first + PACE, sessions)):
            plugin.popframe_session_started()
            plugin.popframe_login_succeeded()
            if number % FAILURES == 0:
                plugin.popframe_login_failed(FAILURE)
            plugin.popframe_session_ended(SUMMARY)
        spent += time.thread_time() - begun
        if settings.listen:
            time.sleep(PAUSE_SECONDS)
    prepared.close()
    collector = children_seconds() - before - 2 * start if settings.listen else 0.0
    return spent / sessions * 1e6, collector / sessions * 1e6


def children_seconds() -> float:
    """Return the CPU time of all processes that this one has started, and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
