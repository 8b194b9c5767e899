"""``popframe bans``: what is counted, for people and programs."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from popframe import Peer
from popframe.config import AbuseSettings
from popframe.server.abuse.guard import LoginGuard
from popframe.server.abuse.memory import memory_for

Run = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[[str, str], Path]

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.fixture
def config(write: Write, complete: Path, tmp_path: Path) -> Path:
    """Return the configuration of a server that was attacked."""
    guard = LoginGuard(memory_for(tmp_path / "attempts", None), AbuseSettings(max_wrong_passwords=3))

    def guess(address: str, username: str, password: str) -> None:
        guard.failed(guard.begin(Peer(address), username, lambda _seconds: True), password.encode())

    for number in range(3):
        guess("203.0.113.66", "alice", f"guess {number}")
    guess("2001:db8::7", "mallory \x1b[2J\n" + "x" * 100, "guess")
    guard.succeeded(guard.begin(Peer("192.0.2.1"), "bob", lambda _seconds: True))
    guess("192.0.2.1", "bob", "typo")
    settings = '[abuse]\nmax_wrong_passwords = 3\nstate_file = "attempts"\n'
    plugin = '[plugin.complete]\nusers = "users"\n'
    return write("popframe.toml", f'plugins = ["./{complete.name}"]\n{settings}{plugin}')


def test_the_table_says_who_is_refused_first(popframe: Run, config: Path) -> None:
    """One line each, columns aligned, and nothing of a stranger's that changes a terminal."""
    result = popframe("bans", "list", "--config", config.name)
    lines = result.stdout.splitlines()

    assert (result.returncode, result.stderr) == (0, "")
    assert re.split(r"  +", lines[0]) == ["ADDRESS", "USER", "WRONG PASSWORDS", "SINCE", "REFUSED UNTIL"]
    assert re.fullmatch(rf"203\.0\.113\.66 +- +3 +{TIME}  {TIME}", lines[1])
    assert re.fullmatch(rf"- +alice +3 +{TIME}  -", lines[2])
    assert {line.split()[0] for line in lines[3:]} == {"-", "192.0.2.1", "2001:db8::/64"}
    assert re.search(rf"^192\.0\.2\.1 +bob +1 +{TIME}  -$", result.stdout, re.MULTILINE)
    assert r'"mallory \u001b[2j\nxxx' in result.stdout
    assert max(map(len, lines)) < 140
    assert len({line.find("T") for line in lines[1:]}) <= 2


def test_json_is_for_programs(popframe: Run, config: Path) -> None:
    """The same, whole."""
    entries = json.loads(popframe("bans", "list", "--json", "--config", config.name).stdout)

    assert len(entries) == 6
    assert entries[0].keys() == {"network", "username", "wrong_passwords", "since", "until"}
    assert (entries[0]["network"], entries[0]["username"], entries[0]["wrong_passwords"]) == ("203.0.113.66", None, 3)
    assert re.fullmatch(TIME, entries[0]["until"])
    assert {entry["until"] for entry in entries[1:]} == {None}


def test_what_is_cleared_is_gone(popframe: Run, config: Path) -> None:
    """By address, by user, or everything."""
    assert popframe("bans", "clear", "--config", config.name, "203.0.113.66").stdout == "1 cleared\n"
    assert popframe("bans", "clear", "--config", config.name, "bob").stdout == "2 cleared\n"
    assert popframe("bans", "clear", "bob", "--config", config.name).stdout == "0 cleared\n"
    assert "alice" in popframe("bans", "list", "--config", config.name).stdout
    assert popframe("bans", "clear", "--config", config.name, "--all").stdout == "3 cleared\n"

    assert popframe("bans", "list", "--config", config.name).stdout == "no wrong passwords are remembered\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: list|clear"),
        (("clear",), "one of the arguments ADDRESS|USER --all is required"),
        (("clear", "bob", "--all"), "not allowed with argument ADDRESS|USER"),
        (("clear", "bob", "--json"), "unrecognized arguments: --json"),
        (("list", "bob"), "unrecognized arguments: bob"),
        (("show",), "invalid choice: 'show'"),
    ],
)
def test_a_wrong_command_line_is_told(popframe: Run, config: Path, arguments: tuple[str, ...], message: str) -> None:
    """And nothing is done."""
    result = popframe("bans", *arguments, *(("--config", config.name) if arguments else ()))

    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
    assert len(json.loads(popframe("bans", "list", "--json", "--config", config.name).stdout)) == 6


def test_a_server_that_keeps_no_file_has_no_list(popframe: Run, write: Write, complete: Path) -> None:
    """The message names the setting."""
    write("popframe.toml", f'plugins = ["./{complete.name}"]\nplugin.complete.users = "users"\n')
    result = popframe("bans", "list", "--config", "popframe.toml")

    assert (result.returncode, result.stdout) == (2, "")
    assert "abuse.state_file is not set" in result.stderr


def test_a_file_that_is_not_there_is_told(popframe: Run, config: Path, tmp_path: Path) -> None:
    """The server makes it; this command does not."""
    (tmp_path / "attempts").unlink()
    result = popframe("bans", "list", "--config", config.name)

    assert (result.returncode, result.stdout) == (1, "")
    assert "attempts" in result.stderr
    assert not (tmp_path / "attempts").exists()
