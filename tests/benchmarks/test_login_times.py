"""The check of the times of refusals still runs, and would see a difference."""

from __future__ import annotations

import importlib
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from popframe.testing import SystemUsers

pytestmark = pytest.mark.checkout

CHECKOUT = Path(__file__).resolve().parents[2]


def test_probability_is_that_of_the_test_of_mann_and_whitney(monkeypatch: pytest.MonkeyPatch) -> None:
    """An example worked by hand, two samples from one distribution, and two that are half a deviation apart."""
    monkeypatch.syspath_prepend(str(CHECKOUT))
    probability = importlib.import_module("benchmarks.login_times").probability
    source = random.Random(1)  # noqa: S311  # numbers, no secrets
    one, other, later = ([source.gauss(mean) for _ in range(400)] for mean in (0, 0, 0.5))

    # Ranks 1 to 4 and 5 to 8: 8 pairs less than the mean, deviation sqrt(16 * 9 / 12), so z = 2.309.
    assert probability([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]) == pytest.approx(0.0209, abs=0.0001)
    assert probability(one, other) > 0.05
    assert probability(one, later) < 0.001
    assert probability(one, later) == pytest.approx(probability(later, one))


@pytest.mark.skipif(not SystemUsers.is_possible(), reason="needs root: makes users")
def test_check_of_times_runs() -> None:
    """Each state is refused, with the same words, by each kind of server."""
    program = str(CHECKOUT / "benchmarks" / "login_times.py")
    command = [sys.executable, program, "--tries", "2", "--clients", "8", "--only", "auth_file"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    medians = re.findall(r"^  (\S.*?) +(\d+\.\d\d) ", done.stdout, re.MULTILINE)
    assert len(medians) == 14
    assert all(float(median) >= 250 for _, median in medians)
    assert "12 comparisons, smallest p" in done.stdout
