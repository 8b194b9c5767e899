"""What is counted, and what it is called where Prometheus asks.

Rule of this file: a label has few values, none of which a client can choose: no user, no address.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from popframe_session_stats.event import COUNTS, NO_CODE, Ended, Event, LoggedIn, LoginFailed

OUTCOMES = ("quit", "update-failed", "disconnected", "timed-out", "too-many-errors", "storage-failed", "shut-down")
"""How sessions end (popframe.Outcome). Each is there from the start, so that its rate is right from the first on."""

CODES = ("AUTH", "IN-USE", "LOGIN-DELAY", "SYS/TEMP", "SYS/PERM", NO_CODE)
"""Response codes of refused logins (RFC 2449 section 8.1, RFC 3206)."""

MAX_CODES = 20
"""Response codes with a series of their own: a plugin may invent some, but not one for each login."""

OTHER = "other"
"""The label of whatever has none of its own."""

DURATION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0)
"""In seconds: from a client that only looks, to one at the end of the autologout timer (600) and beyond."""


class Metrics:
    """All counters of one server."""

    def __init__(self) -> None:
        """Begin with nothing."""
        # No second series for each counter that says when this process started.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=True)
        self._sessions = Counter(
            "popframe_sessions", "Sessions that have ended, by outcome", ["outcome"], registry=self.registry
        )
        self._logins = Counter("popframe_logins", "Logins that succeeded", registry=self.registry)
        self._login_failures = Counter(
            "popframe_login_failures", "Logins that were refused, by response code", ["code"], registry=self.registry
        )
        self._messages = Counter(
            "popframe_messages", "Messages, by what was done to them", ["action"], registry=self.registry
        )
        self._message_bytes = Counter(
            "popframe_message_bytes",
            "Octets of these messages, as LIST counts them",
            ["action"],
            registry=self.registry,
        )
        self._duration = Histogram(
            "popframe_session_duration_seconds",
            "From the accepted connection to the end",
            buckets=DURATION_BUCKETS,
            registry=self.registry,
        )
        self._current = Gauge("popframe_current_sessions", "Clients that are connected", registry=self.registry)
        self._dropped = Counter(
            "popframe_stats_dropped_events", "Events that the collector could not be told", registry=self.registry
        )
        self._present: dict[int, int] = {}
        self._codes = set(CODES)
        for outcome in OUTCOMES:
            self._sessions.labels(outcome)
        for code in CODES:
            self._login_failures.labels(code)
        for action in COUNTS:
            self._messages.labels(action)
            self._message_bytes.labels(action)

    def count(self, event: Event) -> None:
        """Count one event."""
        self._dropped.inc(event.dropped_count)
        self._present[event.pid] = event.session_count
        self._current.set(sum(self._present.values()))
        match event.happening:
            case LoggedIn():
                self._logins.inc()
            case LoginFailed(code):
                self._login_failures.labels(self._code_label(code)).inc()
            case Ended() as ended:
                self._count_session(ended)

    def forget_process(self, pid: int) -> None:
        """Take note that a process, and with it every session that it had, has ended."""
        self._present.pop(pid, None)
        self._current.set(sum(self._present.values()))

    def _count_session(self, ended: Ended) -> None:
        self._sessions.labels(ended.outcome if ended.outcome in OUTCOMES else OTHER).inc()
        self._duration.observe(ended.seconds)
        for action, (messages, octets) in zip(COUNTS, ended.counts, strict=True):
            if messages:
                self._messages.labels(action).inc(messages)
                self._message_bytes.labels(action).inc(octets)

    def _code_label(self, code: str) -> str:
        if code not in self._codes:
            if len(self._codes) >= MAX_CODES:
                return OTHER
            self._codes.add(code)
        return code
