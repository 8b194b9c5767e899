"""``popframe list-plugins``: what is installed, listed, broken."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[[str, str], Path]


@pytest.fixture
def config(write: Write, complete: Path, site: Path) -> Path:
    """Return a configuration with a sound and a broken plugin; a third one is installed."""
    (site / "stranger.py").write_text(
        "from popframe import hookimpl\nclass X:\n @hookimpl\n def popframe_login_failed(self): ...\n"
    )
    metadata = site / "stranger-3.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 3\n")
    (metadata / "entry_points.txt").write_text("[popframe]\nstranger = stranger:X\n")
    write("broken.py", "from popframe import hookimpl\nclass X:\n Settings = 3\n def popframe_authorize(self): ...\n")
    return write("popframe.toml", f'plugins = ["./{complete.name}", "./broken.py"]')


def test_table_is_aligned_and_says_why_a_plugin_is_broken(popframe: Run, config: Path) -> None:
    """Listed plugins first, in their order; a line for each reason."""
    result = popframe("list-plugins", "--config", config.name)
    bundled = ("auth_", "bulletin ", "session_", "store_", "xtnd ")
    lines = [line for line in result.stdout.splitlines() if not line.startswith(bundled)]
    column = lines[0].index("STATUS")

    assert (result.returncode, result.stderr) == (0, "")
    assert lines[0].split() == ["NAME", "VERSION", "FROM", "STATUS", "HOOKS"]
    assert lines[1].split() == ["complete", "-", "complete.py", "active", "authenticate,", "open_maildrop"]
    assert lines[2].split()[:4] == ["broken", "-", "broken.py", "broken"]
    assert "is not marked with @hookimpl" in lines[2]
    assert lines[3].strip() == "X.Settings is not a class derived from PluginSettings"
    assert lines[4].split()[:3] == ["stranger", "3", "stranger"]
    assert [line[column:].split("  ")[0] for line in lines[1:3]] == ["active", "broken"]
    assert lines[4][column:].startswith("not listed")


def test_json_is_for_programs(popframe: Run, config: Path) -> None:
    """The same, with every name in full."""
    result = popframe("list-plugins", "--json", "--config", config.name)
    plugins = {plugin.pop("name"): plugin for plugin in json.loads(result.stdout)}

    assert plugins["complete"] == {
        "version": "",
        "distribution": "",
        "path": "complete.py",
        "hooks": ["popframe_authenticate", "popframe_open_maildrop"],
        "status": "active",
        "reasons": [],
    }
    assert plugins["stranger"]["status"] == "not listed"
    assert len(plugins["broken"]["reasons"]) == 2


@pytest.mark.usefixtures("config")
def test_without_a_configuration_all_are_just_installed(popframe: Run) -> None:
    """Nothing is known of which are used."""
    result = popframe("list-plugins", "--json")

    assert {plugin["name"]: plugin["status"] for plugin in json.loads(result.stdout)}["stranger"] == "installed"


def test_configuration_that_cannot_be_read(popframe: Run) -> None:
    """Exit status 2, as everywhere."""
    result = popframe("list-plugins", "--config", "nothing.toml")

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "nothing.toml: cannot be read: No such file or directory\n"
