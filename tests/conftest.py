"""What holds for every test: how hard hypothesis looks, which skips count as failures, and what is under test.

Environment: ``POPFRAME_LONG=1`` looks longer (``make test-long``); ``CI=true`` makes a skip that is not listed in
``tests/allowed-skips.txt`` a failure; ``POPFRAME_WHEELS=1`` insists on installed packages (``make wheels``).
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Generator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

IN_CI = os.environ.get("CI") == "true"
ALLOWED_SKIPS = Path(__file__).with_name("allowed-skips.txt")
ALLOWED_PATTERNS = pytest.StashKey[list[str]]()

LONG_EXAMPLES = 5000
"""Examples for each property in ``make test-long``: fifty times the usual hundred, some minutes in all."""

# The time of one example says nothing where all cores are busy; pytest's own timeout catches what hangs. With
# CI the examples are the same in every run, so that a change is judged by what it changed.
settings.register_profile(
    "popframe", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=IN_CI, print_blob=True
)
settings.register_profile(
    "popframe-long", settings.get_profile("popframe"), max_examples=LONG_EXAMPLES, derandomize=False
)
settings.load_profile("popframe-long" if os.environ.get("POPFRAME_LONG") == "1" else "popframe")


# A shell lets what it starts in the background ignore SIGINT, and every program inherits that; tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Read the list of allowed skips at once, so that a mistake in it is found before any test runs."""
    config.stash[ALLOWED_PATTERNS] = _read_allowed_skips()


def pytest_sessionstart() -> None:
    """Stop at once when the installed packages are to be tested and others would be."""
    if os.environ.get("POPFRAME_WHEELS") != "1":
        return
    packages = {"popframe"} | {entry.module.partition(".")[0] for entry in entry_points(group="popframe")}
    for package in sorted(packages):
        spec = importlib.util.find_spec(package)
        origin = spec.origin if spec is not None else None
        if origin is None or not Path(origin).is_relative_to(sys.prefix):
            pytest.exit(f"{package} is imported from {origin}, not from {sys.prefix}", returncode=3)


def _read_allowed_skips() -> list[str]:
    """Return the patterns of ``allowed-skips.txt``."""
    patterns = []
    for number, line in enumerate(ALLOWED_SKIPS.read_text("utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        pattern, _, why = (part.strip() for part in line.partition(" # "))
        if not (pattern and why):
            raise pytest.UsageError(f"{ALLOWED_SKIPS.name}:{number}: a line is a pattern, then ' # ' and why")
        patterns.append(pattern)
    return patterns


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> None:
    """With CI=true, turn a skip that is not on the list into a failure."""
    if not IN_CI or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(report.nodeid.startswith(pattern) or pattern in reason for pattern in config.stash[ALLOWED_PATTERNS]):
        report.outcome = "failed"
        report.longrepr = f"{reason}\nWith CI=true this is a failure: the skip is not in tests/{ALLOWED_SKIPS.name}."


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge the skip of a test, in the worker that ran it."""
    report = yield
    _refuse_skip(report, item.config)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge the skip of a whole module."""
    report = yield
    _refuse_skip(report, collector.config)
    return report
