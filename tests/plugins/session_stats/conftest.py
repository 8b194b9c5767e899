"""Sessions that were, and the plugin as a server would have it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from popframe import Outcome, Peer, SessionSummary, Tls


@pytest.fixture
def summary() -> SessionSummary:
    """Return what a session of alice did that removed one of three messages."""
    return SessionSummary(
        session_id="9f3c2a1b-1",
        peer=Peer("192.0.2.7", 4711, "192.0.2.1", 995, Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384")),
        username="alice",
        outcome=Outcome.QUIT,
        duration_seconds=0.25,
        command_count=8,
        failed_login_count=1,
        retr_count=2,
        retr_octets=200,
        top_count=1,
        top_octets=40,
        deleted_count=1,
        deleted_octets=120,
        left_count=2,
        left_octets=300,
    )


@pytest.fixture
def summary_of(summary: SessionSummary) -> Callable[[str], SessionSummary]:
    """Return a function that gives the same session of somebody else."""
    return lambda username: replace(summary, username=username)
