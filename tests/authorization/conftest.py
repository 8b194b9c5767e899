"""What the tests of the rules share: files of the machine that are others, without changing the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

PROBE = Path(__file__).with_name("machine_probe.py")

_ENTER = """
while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 77; shift 2; done
shift
exec "$@"
"""
"""Arguments: pairs of a file and the file of the machine that it takes the place of, then ``--`` and a command."""

MAY_NOT_MOUNT = 77

Probe = Callable[..., str]


@pytest.fixture
def probe(tmp_path: Path) -> Probe:
    """Return a function that runs the probe where some files of the machine hold another text."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount files in the place of the machine's: run as root")

    def run(question: str, *arguments: str, files: Mapping[str, bytes]) -> str:
        pairs: list[str] = []
        for number, (place, content) in enumerate(files.items()):
            path = tmp_path / f"file-{number}"
            path.write_bytes(content)
            pairs += [str(path), place]
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "sh", *pairs, "--"]
        command += [sys.executable, str(PROBE), question, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
        if done.returncode == MAY_NOT_MOUNT:
            pytest.skip(f"root may not mount here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
