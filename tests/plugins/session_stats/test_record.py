"""One session as a line: exactly as popper and Dovecot write it, or as JSON."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import Outcome, Peer, SessionSummary
from popframe_session_stats.record import DOVECOT_REASONS, dovecot_line, json_object, popper_line, timestamp, with_head

SummaryOf = Callable[[str], SessionSummary]


def test_popper_line(summary: SessionSummary) -> None:
    """User, messages deleted, their octets, messages left, their octets."""
    assert popper_line(summary) == "Stats: alice 1 120 2 300"


def test_dovecot_line(summary: SessionSummary) -> None:
    """Deleted of all messages; size is that of all messages before the removal."""
    assert dovecot_line(summary) == (
        f"pop3(alice)<{os.getpid()}><9f3c2a1b-1>: Disconnected: Logged out top=1/40, retr=2/200, del=1/3, size=420"
    )


def test_every_outcome_has_words_of_dovecot() -> None:
    """A new outcome gets some, too."""
    assert set(DOVECOT_REASONS) == set(Outcome)


@pytest.mark.parametrize("render", [popper_line, dovecot_line])
def test_no_line_where_nobody_logged_in(summary_of: SummaryOf, render: Callable[[SessionSummary], str | None]) -> None:
    """Both servers write theirs only for sessions that came to the TRANSACTION state."""
    assert render(summary_of("")) is None


def test_json_object_has_everything_that_is_known(summary: SessionSummary) -> None:
    """Names are those of the summary, where they are unmistakable."""
    fields = json.loads(json_object(summary))

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields.pop("time"))
    assert fields == {
        "schema": 1,
        "session": "9f3c2a1b-1",
        "address": "192.0.2.7",
        "port": 4711,
        "local_address": "192.0.2.1",
        "local_port": 995,
        "proxy": "",
        "tls": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "user": "alice",
        "outcome": "quit",
        "seconds": 0.25,
        "commands": 8,
        "failed_logins": 1,
        "retr_count": 2,
        "retr_octets": 200,
        "top_count": 1,
        "top_octets": 40,
        "deleted_count": 1,
        "deleted_octets": 120,
        "left_count": 2,
        "left_octets": 300,
    }


def test_json_object_of_a_session_without_a_login(summary_of: SummaryOf) -> None:
    """It is recorded too, with an empty name, and without TLS when there was none."""
    fields = json.loads(json_object(replace(summary_of(""), peer=Peer("192.0.2.7"))))

    assert (fields["user"], fields["tls"], fields["cipher"]) == ("", "", "")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("alice@example.org", "alice@example.org"),
        ("käthe", "käthe"),
        ("a b", "a\\u0020b"),
        ("a\nb", "a\\u000ab"),
        ("a\\u0020b", "a\\u005cu0020b"),
        ("a\u2028b\xa0", "a\\u2028b\\u00a0"),
    ],
)
def test_name_stays_one_word(summary_of: SummaryOf, name: str, word: str) -> None:
    """Blanks, line ends and backslashes are escaped, and nothing else."""
    assert popper_line(summary_of(name)) == f"Stats: {word} 1 120 2 300"


@given(name=st.text(min_size=1))
def test_any_name_makes_one_line_of_six_words(name: str) -> None:
    """Whatever a plugin lets in as a name, no field can be forged."""
    made = SessionSummary("s-1", Peer(""), name, Outcome.QUIT, 0.0)

    assert len((popper_line(made) or "").split()) == 6
    assert len((popper_line(made) or "").splitlines()) == 1
    assert len(json_object(made).splitlines()) == 1
    assert json.loads(json_object(made))["user"] == name


def test_head_is_that_of_the_log() -> None:
    """Time in UTC and process."""
    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z popframe\[{os.getpid()}\]: Stats: a", with_head("Stats: a")
    )
    assert timestamp(1767603612.3456) == "2026-01-05T09:00:12.345Z"
