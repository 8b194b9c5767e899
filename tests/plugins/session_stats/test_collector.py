"""The collector as a process: nothing that it was told is lost, and what it was not told is known."""

from __future__ import annotations

import logging
import os
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from popframe import SessionSummary
from popframe_session_stats.collector_process import CollectorProcess
from popframe_session_stats.reporter import Reporter

PATIENCE_SECONDS = 30.0


class Running:
    """A collector, and where it answers."""

    def __init__(self, process: CollectorProcess, address: str) -> None:
        self.process = process
        self.address = address
        self.children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def samples(self) -> dict[str, float]:
        """Return what it has counted."""
        with urllib.request.urlopen(f"http://{self.address}/", timeout=PATIENCE_SECONDS) as answer:
            text = answer.read().decode()
        return {
            sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
            for family in parse_text(text)
            for sample in family.samples
        }

    def samples_once(self, name: str, value: float) -> dict[str, float]:
        """Return it once a sample has a value."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := self.samples())[name] != value:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found

    def worker(self) -> int:
        """Return the process that counts."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (pids := self.children.read_text().split()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return int(pids[0])


@pytest.fixture
def collector(caplog: pytest.LogCaptureFixture) -> Iterator[Running]:
    """Yield one."""
    with caplog.at_level(logging.INFO, "popframe"):
        process = CollectorProcess("127.0.0.1:0", None)
    found = re.search(r"metrics at (\S+)", caplog.text)
    assert found is not None
    yield Running(process, found[1])
    process.close()


def test_every_event_is_counted_or_known_to_be_dropped(collector: Running, summary: SessionSummary) -> None:
    """A collector that stands still until its queue is full, and far beyond."""
    reporter = Reporter(collector.process.events)
    total = 30_000
    os.kill(collector.worker(), signal.SIGSTOP)
    try:
        for _ in range(total):
            reporter.session_ended(summary)
    finally:
        os.kill(collector.worker(), signal.SIGCONT)
    told = 0
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:  # the first event that fits again tells of those that did not
        reporter.session_started()
        told += 1
        found = collector.samples()
        counted = found["popframe_sessions_total quit"]
        if counted + found["popframe_stats_dropped_events_total"] >= total:
            break
        assert time.monotonic() < deadline, found
        time.sleep(0.05)

    assert 100 < counted < total
    assert total <= counted + found["popframe_stats_dropped_events_total"] <= total + told


def test_what_waits_is_counted_by_the_next_collector(collector: Running, summary: SessionSummary) -> None:
    """The queue outlives the process that dies."""
    reporter = Reporter(collector.process.events)
    worker = collector.worker()
    os.kill(worker, signal.SIGSTOP)
    for _ in range(100):
        reporter.session_ended(summary)
    os.kill(worker, signal.SIGKILL)

    assert collector.samples_once("popframe_sessions_total quit", 100)


def test_everything_told_before_the_end_is_taken(collector: Running, summary: SessionSummary) -> None:
    """Closing waits for it, and for both processes."""
    reporter = Reporter(collector.process.events)
    for _ in range(100):
        reporter.session_ended(summary)
    worker = collector.worker()
    collector.process.close()

    assert not Path(f"/proc/{worker}").exists()
    assert not Path(f"/proc/{collector.process.pid}").exists()


def test_what_is_no_event_does_no_harm(collector: Running, summary: SessionSummary) -> None:
    """Nor one of a process that has ended long ago."""
    worker = collector.worker()
    collector.process.events.send(b"\xff nonsense")
    collector.process.events.send(b"4194303 7 0 started")
    Reporter(collector.process.events).session_ended(summary)
    found = collector.samples_once("popframe_sessions_total quit", 1)

    assert found["popframe_current_sessions"] == 0
    assert collector.worker() == worker
