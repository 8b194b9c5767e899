"""The benchmark of the process for each session still runs, its prototype included."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.checkout

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a server that becomes each user")
def test_benchmark_of_a_warm_process_runs() -> None:
    """Each kind of server serves every session, and has a number."""
    command = [sys.executable, str(CHECKOUT / "benchmarks" / "warm_session.py"), "--sessions", "20", "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    kinds = re.findall(r"^  (\S+) +(\d+) +(\d+)$", done.stdout, re.MULTILINE)
    assert [kind for kind, _, _ in kinds] == ["shared", "per-user", "warm"]
    assert all(int(least) > 0 for _, least, _ in kinds)
    assert re.search(r"has \d{3,} KiB of its own", done.stdout)
