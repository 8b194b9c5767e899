"""What is counted: names, labels, and that nobody can make series without end."""

from __future__ import annotations

from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from popframe import (
    AuthenticationFailed,
    LoginDelayed,
    MaildropInUse,
    Outcome,
    PermanentFailure,
    Refusal,
    TemporaryFailure,
)
from popframe_session_stats.event import Ended, Event, LoggedIn, LoginFailed, Started
from popframe_session_stats.metrics import CODES, MAX_CODES, OUTCOMES, Metrics

NOTHING = ((0, 0),) * 4


def samples(metrics: Metrics) -> dict[str, float]:
    """Return every sample by its name and labels."""
    families = parse_text(generate_latest(metrics.registry).decode())
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_known_values_are_those_of_the_server() -> None:
    """Each outcome, and each response code of a refusal, is there before it happens."""
    refusals = (AuthenticationFailed, LoginDelayed, MaildropInUse, PermanentFailure, TemporaryFailure, Refusal)

    assert set(OUTCOMES) == {outcome.value for outcome in Outcome}
    assert set(CODES) == {refusal.code or "none" for refusal in refusals}


def test_everything_is_zero_at_the_start() -> None:
    """Also what has labels: rate() needs two values, and the first session counts."""
    assert set(samples(Metrics()).values()) == {0.0}
    assert "popframe_sessions_total timed-out" in samples(Metrics())


def test_one_session_is_counted_everywhere() -> None:
    """Outcome, login, messages, octets, time."""
    metrics = Metrics()
    metrics.count(Event(1, 1, 0, Started()))
    metrics.count(Event(1, 1, 0, LoginFailed("AUTH")))
    metrics.count(Event(1, 1, 0, LoggedIn()))
    assert samples(metrics)["popframe_current_sessions"] == 1
    metrics.count(Event(1, 0, 0, Ended("quit", 0.3, ((2, 200), (1, 40), (1, 120), (2, 300)))))

    assert {name: value for name, value in samples(metrics).items() if value and "bucket" not in name} == {
        "popframe_sessions_total quit": 1,
        "popframe_logins_total": 1,
        "popframe_login_failures_total AUTH": 1,
        "popframe_messages_total retr": 2,
        "popframe_messages_total top": 1,
        "popframe_messages_total deleted": 1,
        "popframe_messages_total left": 2,
        "popframe_message_bytes_total retr": 200,
        "popframe_message_bytes_total top": 40,
        "popframe_message_bytes_total deleted": 120,
        "popframe_message_bytes_total left": 300,
        "popframe_session_duration_seconds_count": 1,
        "popframe_session_duration_seconds_sum": 0.3,
    }


def test_session_without_a_login_is_none() -> None:
    """It counts among the sessions alone."""
    metrics = Metrics()
    metrics.count(Event(1, 0, 0, Ended("disconnected", 0.3, NOTHING)))

    assert samples(metrics)["popframe_logins_total"] == 0
    assert samples(metrics)["popframe_sessions_total disconnected"] == 1


def test_present_sessions_are_those_of_all_processes_that_live() -> None:
    """The last word of each counts, so that a lost one does no lasting harm."""
    metrics = Metrics()
    metrics.count(Event(1, 3, 0, Started()))
    metrics.count(Event(2, 2, 0, Started()))
    metrics.count(Event(1, 7, 2, Started()))
    assert samples(metrics)["popframe_current_sessions"] == 9
    assert samples(metrics)["popframe_stats_dropped_events_total"] == 2
    metrics.forget_process(1)
    metrics.forget_process(3)

    assert samples(metrics)["popframe_current_sessions"] == 2


def test_codes_and_outcomes_do_not_grow_without_end() -> None:
    """A plugin that makes a code for each login gets no series for each."""
    metrics = Metrics()
    for number in range(1000):
        metrics.count(Event(1, 0, 0, LoginFailed(f"CODE{number}")))
        metrics.count(Event(1, 0, 0, Ended(f"outcome{number}", 0.0, NOTHING)))
    found = samples(metrics)

    assert len([name for name in found if name.startswith("popframe_login_failures_total")]) == MAX_CODES + 1
    assert found["popframe_login_failures_total other"] == 1000 - (MAX_CODES - len(CODES))
    assert found["popframe_sessions_total other"] == 1000
    assert len([name for name in found if name.startswith("popframe_sessions_total")]) == len(OUTCOMES) + 1


def test_openmetrics_is_read_by_the_strict_parser() -> None:
    """With its types, and no series beyond those of the text format."""
    metrics = Metrics()
    text = generate_openmetrics(metrics.registry).decode()  # type: ignore[no-untyped-call]
    families = parse_openmetrics(text)  # type: ignore[no-untyped-call]
    types = {family.name: family.type for family in families}

    assert types == {
        "popframe_sessions": "counter",
        "popframe_logins": "counter",
        "popframe_login_failures": "counter",
        "popframe_messages": "counter",
        "popframe_message_bytes": "counter",
        "popframe_session_duration_seconds": "histogram",
        "popframe_current_sessions": "gauge",
        "popframe_stats_dropped_events": "counter",
    }
    assert "_created" not in text
