"""A front's way to the collector: nobody waits, and what is lost is counted."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from popframe import SessionSummary
from popframe_session_stats.event import Ended, Event, LoggedIn, LoginFailed, Started
from popframe_session_stats.reporter import Reporter


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield the two ends of a way on which little fits."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        near.setblocking(False)
        far.settimeout(10)
        yield near, far


def received(far: socket.socket) -> Event:
    """Return the next event."""
    return Event.parsed(far.recv(4096))


def test_one_session(ends: tuple[socket.socket, socket.socket], summary: SessionSummary) -> None:
    """A datagram for each event, which say all that is counted, and how many sessions there are."""
    reporter = Reporter(ends[0])
    pid = os.getpid()
    reporter.session_started()
    assert received(ends[1]) == Event(pid, 1, 0, Started())
    reporter.login_succeeded()
    assert received(ends[1]) == Event(pid, 1, 0, LoggedIn())
    reporter.login_failed("AUTH")
    assert received(ends[1]) == Event(pid, 1, 0, LoginFailed("AUTH"))
    reporter.session_ended(summary)
    assert received(ends[1]) == Event(pid, 0, 0, Ended("quit", 0.25, ((2, 200), (1, 40), (1, 120), (2, 300))))


@pytest.mark.parametrize(
    ("code", "told"), [("", "none"), ("SYS/TEMP", "SYS/TEMP"), ("ODD CODE", "ODD-CODE"), ("X" * 99, "X" * 32)]
)
def test_any_code_is_one_word(ends: tuple[socket.socket, socket.socket], code: str, told: str) -> None:
    """Whatever a plugin's refusal has for one."""
    Reporter(ends[0]).login_failed(code)

    assert received(ends[1]).happening == LoginFailed(told)


def test_no_user_and_no_address_is_told(ends: tuple[socket.socket, socket.socket], summary: SessionSummary) -> None:
    """The collector cannot make labels of what it does not know."""
    Reporter(ends[0]).session_ended(summary)
    datagram = ends[1].recv(4096)

    assert b"alice" not in datagram
    assert b"192.0.2" not in datagram


def test_full_queue_keeps_nobody_and_is_counted(
    ends: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    """The first event that fits again says how many did not; the log has one line."""
    reporter = Reporter(ends[0])
    started = time.monotonic()
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            reporter.session_started()
    assert time.monotonic() - started < 10

    fitted = 0
    ends[1].setblocking(False)
    try:
        while True:
            assert received(ends[1]).dropped_count == 0
            fitted += 1
    except BlockingIOError:
        pass
    reporter.session_started()
    event = received(ends[1])

    assert event == Event(os.getpid(), 1001, 1000 - fitted, Started())
    assert len(caplog.records) == 1
    assert "takes no events" in caplog.text
    reporter.session_started()
    assert received(ends[1]).dropped_count == 0


def test_dead_collector_keeps_nobody(
    ends: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither an exception nor a signal comes of it."""
    ends[1].close()
    reporter = Reporter(ends[0])
    with caplog.at_level(logging.WARNING):
        reporter.session_started()
        reporter.login_failed("AUTH")

    assert len(caplog.records) == 1


def test_session_that_was_never_told_of_makes_no_negative_number(
    ends: tuple[socket.socket, socket.socket], summary: SessionSummary
) -> None:
    """One that failed before plugins were told ends all the same."""
    Reporter(ends[0]).session_ended(summary)

    assert received(ends[1]).session_count == 0


def test_numbers_of_many_threads_arrive_in_order() -> None:
    """The last datagram has the number that is right; 80 fit on the way before anybody reads."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    counts: list[int] = []
    with near, far:
        near.setblocking(False)
        reporter = Reporter(near)
        for _ in range(50):
            threads = [threading.Thread(target=start_twenty, args=(reporter,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            counts += [received(far).session_count for _ in range(80)]

    assert counts == list(range(1, 4001))


def start_twenty(reporter: Reporter) -> None:
    """Tell of twenty sessions."""
    for _ in range(20):
        reporter.session_started()


@pytest.mark.parametrize("text", ["", "1 2", "1 2 3", "x 0 0 started", "1 0 0 ended quit 0.5 1", "1 0 0 failed"])
def test_what_is_no_event(text: str) -> None:
    """It is refused as a whole."""
    with pytest.raises(ValueError, match=r"."):
        Event.parsed(text.encode())
