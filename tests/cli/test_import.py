"""``popframe import qpopper``: a configuration that can be used, or everything that is wrong."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[[str, str], Path]


def test_what_is_printed_is_accepted(popframe: Run, write: Write) -> None:
    """File and command line together; nothing on standard error, exit status 0."""
    write("qpopper.conf", "set server-mode\nset timeout = 600\n")
    result = popframe("import", "qpopper", "--config", "qpopper.conf", "--", "popper", "-R", "-y", "local0")
    write("popframe.toml", result.stdout)

    assert (result.returncode, result.stderr) == (0, "")
    assert "# set timeout = 600 (qpopper.conf:2)\nidle_timeout_seconds = 600\n" in result.stdout
    assert "# -y local0 (command line)\n" in result.stdout
    assert popframe("check-config", "--settings-only", "popframe.toml").returncode == 0


def test_what_is_left_out_is_told_twice(popframe: Run, write: Write) -> None:
    """On standard error and in the file, which is accepted all the same; exit status 1."""
    write("inetd.conf", "pop3 stream tcp nowait root /usr/sbin/popper popper -D mx.example.org -s\n")
    result = popframe("import", "qpopper", "--inetd-conf", "inetd.conf")
    write("popframe.toml", result.stdout)

    assert result.returncode == 1
    assert result.stderr.startswith("left out: -D mx.example.org (command line): no mail server is told of logins")
    assert "# Has no equal, and was left out:\n#   -D mx.example.org (command line): " in result.stdout
    assert popframe("check-config", "--settings-only", "popframe.toml").returncode == 0


def test_every_mistake_is_told_at_once(popframe: Run, write: Write) -> None:
    """In files and on the command line; nothing is printed, exit status 2."""
    write("qpopper.conf", "set timeout\nset nothing\n")
    result = popframe("import", "qpopper", "--config", "qpopper.conf", "--", "-z")

    assert (result.returncode, result.stdout) == (2, "")
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [
        "command line",
        "qpopper.conf:1",
        "qpopper.conf:2",
    ]


def test_nothing_to_import_is_a_mistake(popframe: Run) -> None:
    """It says what to name."""
    result = popframe("import", "qpopper")

    assert result.returncode == 2
    assert "name a file (--config, --inetd-conf, --xinetd), or write a command line behind --" in result.stderr
