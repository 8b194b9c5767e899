"""``popframe demo``: what it prints works when it is typed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def demo() -> Iterator[tuple[Path, str]]:
    """Start a demonstration in a folder where only its owner may look in; yield that folder and what was printed."""
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        command = [sys.executable, "-m", "popframe", "demo", "--listen", "127.0.0.1:0"]
        process = subprocess.Popen(command, cwd=room, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Press Ctrl-C"):
                break
        try:
            yield room, "".join(lines)
        finally:
            process.send_signal(signal.SIGINT)
            _, log = process.communicate(timeout=30)
        assert process.returncode == 0, log
        assert os.listdir(room) == ["popframe-demo"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl (Debian: apt-get install curl)")
def test_every_printed_command_works(demo: tuple[Path, str]) -> None:
    """The lines for curl and Python give what they say, whoever started the demonstration, and wherever."""
    _, text = demo
    commands = [line.strip().split("    ")[0] for line in text.splitlines() if re.match(r"  (curl|python3) ", line)]
    results = [subprocess.run(shlex.split(command), capture_output=True, timeout=30) for command in commands]

    assert [result.returncode for result in results] == [0, 0, 0]
    assert results[0].stdout.count(b"\r\n") == 4
    assert results[1].stdout.startswith(b"Return-Path: <postmaster@example.org>\r\n")
    assert results[2].stdout.startswith(b"(b'+OK 2 messages")


def test_a_folder_that_is_not_a_demonstration_is_left_alone(tmp_path: Path) -> None:
    """Nothing of the user's is overwritten."""
    (tmp_path / "popframe-demo").mkdir()
    mine = tmp_path / "popframe-demo" / "users"
    mine.write_text("mine")
    command = [sys.executable, "-m", "popframe", "demo", "--listen", "127.0.0.1:0"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)

    assert result.returncode == 2
    assert "was not made by `popframe demo`" in result.stderr
    assert mine.read_text() == "mine"
