"""The frame of the command line: finding subcommands, help, exit status, output that cannot be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from popframe import __version__

Run = Callable[..., subprocess.CompletedProcess[str]]
InstallCommand = Callable[[str, str], None]

GREET = '''\
"""Greet somebody.

More that only a programmer needs.
"""

def add_arguments(parser):
    parser.add_argument("--name", default="world", help="whom")

def run(arguments):
    print("hello", arguments.name)
    return 3
'''


def test_version_is_that_of_the_package(popframe: Run) -> None:
    """``popframe --version`` on standard output."""
    result = popframe("--version")

    assert (result.returncode, result.stdout, result.stderr) == (0, f"popframe {__version__}\n", "")


def test_help_lists_all_commands_with_their_summaries(popframe: Run, install_command: InstallCommand) -> None:
    """Those of the core and those of plugins; a broken one is told and hides no other."""
    install_command("greet", GREET)
    install_command("broken", "1 / 0")
    result = popframe("--help")

    assert (result.returncode, result.stderr) == (0, "")
    assert "check-config  Check a configuration file and report every mistake in it.\n" in result.stdout
    assert "greet         Greet somebody.\n" in result.stdout
    assert (
        "broken        (cannot be used: command 'broken' (stranger-broken 3) cannot be imported: Zero" in result.stdout
    )
    assert all(heading in result.stdout for heading in ("commands:", "exit status:", "files:", "examples:"))


@pytest.mark.parametrize("command", ["bans", "check-config", "demo", "inetd", "list-plugins", "serve"])
def test_every_command_has_help(popframe: Run, command: str) -> None:
    """With its usage and what it does."""
    result = popframe(command, "--help")

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"usage: popframe {command} ")


def test_command_line_without_a_command_is_wrong(popframe: Run) -> None:
    """The message names the commands."""
    result = popframe()

    assert (result.returncode, result.stdout) == (2, "")
    assert "a command is missing (commands: " in result.stderr
    assert ", check-config, demo, import, inetd, list-plugins" in result.stderr


def test_unknown_command_is_told_with_the_nearest_one(popframe: Run) -> None:
    """A slip is easily mended."""
    result = popframe("chek-config")

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(
        "popframe: there is no command 'chek-config'; did you mean 'check-config'? (commands: "
    )


def test_abbreviated_option_is_wrong(popframe: Run) -> None:
    """A script that abbreviates would break when an option is added."""
    assert popframe("--vers").returncode == 2
    assert popframe("list-plugins", "--js").returncode == 2


def test_command_of_a_plugin_runs(popframe: Run, install_command: InstallCommand) -> None:
    """It gets its options and its exit status is that of the program."""
    install_command("greet", GREET)
    result = popframe("greet", "--name", "alice")

    assert (result.returncode, result.stdout, result.stderr) == (3, "hello alice\n", "")


def test_broken_command_of_a_plugin_breaks_no_other(popframe: Run, install_command: InstallCommand) -> None:
    """Its own call tells what is wrong, with file and line."""
    install_command("broken", "x = 1\n1 / 0\n")
    result = popframe("broken")

    assert result.returncode == 2
    assert (
        "command 'broken' (stranger-broken 3) cannot be imported: ZeroDivisionError: division by zero ("
        in result.stderr
    )
    assert result.stderr.endswith("command_broken.py:2)\n")
    assert popframe("list-plugins").returncode == 0


def test_module_that_is_no_command_is_told(popframe: Run, install_command: InstallCommand) -> None:
    """It must have the two functions."""
    install_command("half", "def run(arguments): return 0\n")

    assert popframe("half").stderr == "command 'half' (stranger-half 3) is not a module with add_arguments and run\n"


def test_command_without_an_exit_status_is_told(popframe: Run, install_command: InstallCommand) -> None:
    """A function that forgot to return one may have failed."""
    install_command("lax", "def add_arguments(parser): pass\ndef run(arguments): pass\n")
    result = popframe("lax")

    assert (result.returncode, result.stderr) == (1, "popframe: lax: run() of command_lax returned no exit status\n")


def test_interrupt_ends_quietly(popframe: Run, install_command: InstallCommand) -> None:
    """Ctrl-C prints no traceback; the status is that of a shell."""
    install_command(
        "wait",
        "import os, signal\n"
        "def add_arguments(parser): pass\n"
        "def run(arguments): os.kill(os.getpid(), signal.SIGINT); signal.pause()\n",
    )
    result = popframe("wait")

    assert (result.returncode, result.stderr) == (128 + signal.SIGINT, "")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["check-config", "--schema"], ["list-plugins"]])
def test_closed_pipe_ends_quietly(environment: dict[str, str], arguments: list[str]) -> None:
    """``popframe … | head`` prints no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        result = subprocess.run(
            [sys.executable, "-m", "popframe", *arguments],
            env=environment,
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert (result.returncode, result.stderr) == (128 + signal.SIGPIPE, "")


def test_closed_descriptors_lead_nowhere(environment: dict[str, str], install_command: InstallCommand) -> None:
    """A file that is opened later never becomes standard output."""
    install_command(
        "open",
        "import os, sys\n"
        "def add_arguments(parser): pass\n"
        "def run(arguments):\n"
        "    print('lost')\n"
        "    return 0 if os.open('/dev/null', os.O_RDONLY) > 2 else 1\n",
    )
    closed = 'exec 0<&- 1>&- 2>&-; exec "$0" -m popframe open'
    result = subprocess.run(["sh", "-c", closed, sys.executable], env=environment, check=False)

    assert result.returncode == 0


@pytest.mark.parametrize("arguments", [["--version"], ["check-config", "--schema"]])
def test_full_disk_is_told(environment: dict[str, str], arguments: list[str]) -> None:
    """Output that could not be written is never a success."""
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [sys.executable, "-m", "popframe", *arguments],
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert (result.returncode, result.stderr) == (1, "popframe: [Errno 28] No space left on device\n")
