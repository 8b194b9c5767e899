"""``popframe check-config``: everything that is wrong, or what is in effect."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[[str, str], Path]

GOOD = """\
plugins = ["./complete.py"]

[plugin.complete]
users = "users"
secret = "swordfish"
"""

BAD = """\
plugins = [
  "./complete.py",
  "auth_flie",
  "./nothing.py",
]

[server]
idle_timeout = 600

[log]
level = 3

[plugin.complete]
user = "users"

[plugin.other]
"""


@pytest.fixture
def config(write: Write, complete: Path) -> Path:
    """Return a configuration without mistakes."""
    write("users", "")
    return write("popframe.toml", GOOD)


def test_good_configuration(popframe: Run, config: Path) -> None:
    """One line, exit status 0."""
    result = popframe("check-config", config.name)

    assert (result.returncode, result.stdout, result.stderr) == (0, "popframe.toml: no problems found\n", "")


@pytest.mark.usefixtures("complete")
def test_every_mistake_is_told_at_once(popframe: Run, write: Write) -> None:
    """The core's tables, the plugins' tables, and the plugins themselves, sorted by line; exit status 2."""
    write("popframe.toml", BAD)
    result = popframe("check-config", "popframe.toml")

    assert (result.returncode, result.stdout) == (2, "")
    assert [line[: line.index(": ", 20)] for line in result.stderr.splitlines()] == [
        "popframe.toml:3: plugins[1]",
        "popframe.toml:4: plugins[2]",
        "popframe.toml:8: server.idle_timeout",
        "popframe.toml:11: log.level",
        "popframe.toml:13: plugin.complete.users",
        "popframe.toml:14: plugin.complete.user",
        "popframe.toml:16: plugin.other",
    ]
    assert "Traceback" not in result.stderr


def test_file_that_cannot_be_read(popframe: Run) -> None:
    """No traceback for a slip in the path."""
    result = popframe("check-config", "nothing.toml")

    assert (result.returncode, result.stderr) == (2, "nothing.toml: cannot be read: No such file or directory\n")


def test_missing_role_is_told_with_the_list(popframe: Run, write: Write) -> None:
    """A server that can authenticate nobody is not worth starting."""
    write(
        "only_reports.py",
        "from popframe import hookimpl\nclass X:\n @hookimpl\n def popframe_session_ended(self): ...\n",
    )
    write("popframe.toml", '\nplugins = ["only_reports.py"]')
    result = popframe("check-config", "popframe.toml")

    assert result.stderr.splitlines() == [
        "popframe.toml:2: plugins: no plugin authenticates users: list one that implements popframe_authenticate, such "
        "as auth_file",
        "popframe.toml:2: plugins: no plugin stores mail: list one that implements popframe_open_maildrop, such as "
        "store_mbox",
    ]


def test_plugin_that_does_not_start_is_told(popframe: Run, config: Path, tmp_path: Path) -> None:
    """What a plugin reads is checked too, unless the settings alone are asked about."""
    (tmp_path / "users").unlink()
    result = popframe("check-config", config.name)

    assert (result.returncode, result.stderr) == (2, "plugin 'complete' (complete.py): users: no such file\n")
    assert popframe("check-config", "--settings-only", config.name).returncode == 0


def test_state_file_that_cannot_be_used_is_told(popframe: Run, config: Path, tmp_path: Path) -> None:
    """As the server would be told when it starts; a good place stays empty."""
    config.write_text(f'{GOOD}\n[abuse]\nstate_file = "state/attempts"\n')
    result = popframe("check-config", config.name)

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "abuse.state_file: cannot use state/attempts: No such file or directory\n"
    assert popframe("check-config", "--settings-only", config.name).returncode == 0
    (tmp_path / "state").mkdir()
    assert popframe("check-config", config.name).returncode == 0
    assert list((tmp_path / "state").iterdir()) == []


def test_verb_of_the_core_cannot_be_taken(popframe: Run, write: Write, complete: Path) -> None:
    """A plugin does not replace what RFC 1939 defines."""
    write("users", "")
    write("popframe.toml", GOOD)
    text = complete.read_text().replace("import ConfigError", "import IN_TRANSACTION, Command, ConfigError")
    complete.write_text(
        f"{text}\n    @hookimpl\n    def popframe_register_commands(self):\n"
        "        yield Command('STAT', print, IN_TRANSACTION)\n"
    )
    result = popframe("check-config", "popframe.toml")

    assert result.returncode == 2
    assert "popframe_register_commands: command STAT is taken already, by popframe itself" in result.stderr


def test_dump_shows_what_is_in_effect(popframe: Run, config: Path) -> None:
    """Valid TOML with defaults filled in and secrets masked."""
    result = popframe("check-config", "--dump", str(config))
    tables = tomllib.loads(result.stdout)

    assert (result.returncode, result.stderr) == (0, "")
    assert tables["plugin"]["complete"] == {"users": str(config.parent / "users"), "secret": "**********"}
    assert tables["server"]["listen"] == ["127.0.0.1:110"]
    assert "swordfish" not in result.stdout


def test_schema_has_the_tables_of_the_listed_plugins(popframe: Run, config: Path) -> None:
    """Mistakes in values do not matter: an editor wants the schema while the file is written."""
    config.write_text(f"server = 3\n{GOOD}")
    result = popframe("check-config", "--schema", config.name)

    assert (result.returncode, result.stderr) == (0, "")
    assert list(json.loads(result.stdout)["properties"]["plugin"]["properties"]) == ["complete"]


def test_schema_of_a_list_with_a_broken_plugin_is_refused(popframe: Run, write: Write) -> None:
    """A schema without its table would blame the table."""
    write("popframe.toml", 'plugins = ["./nothing.py"]')
    result = popframe("check-config", "--schema", "popframe.toml")

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("popframe.toml: plugin 'nothing': not found: ")


def test_schema_needs_no_file(popframe: Run) -> None:
    """Then it has the tables of all that are installed."""
    result = popframe("check-config", "--schema")

    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["title"] == "popframe configuration"


def test_check_without_a_file_is_wrong(popframe: Run) -> None:
    """There is no usual place: a server says what it runs on."""
    result = popframe("check-config")

    assert (result.returncode, result.stdout) == (2, "")
    assert "FILE is missing" in result.stderr
