"""The command ``popframe`` as a process of its own, and plugins for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

Result = subprocess.CompletedProcess[str]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder from which the command imports."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def environment(site: Path) -> dict[str, str]:
    """Return the environment of the command: narrow enough for help texts to be wrapped in one way."""
    above = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    path = os.pathsep.join([str(site), *map(os.path.abspath, above)])
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "100", "PYTHONUNBUFFERED": ""}


@pytest.fixture
def popframe(tmp_path: Path, environment: dict[str, str]) -> Callable[..., Result]:
    """Return a function that runs ``popframe`` in the test's folder."""

    def popframe(*arguments: str) -> Result:
        return subprocess.run(
            [sys.executable, "-m", "popframe", *arguments],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return popframe


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Return a function that writes a file into the test's folder."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(dedent(text), encoding="utf-8")
        return path

    return write


@pytest.fixture
def install_command(site: Path) -> Callable[[str, str], None]:
    """Return a function that installs a distribution whose module is a subcommand."""

    def install_command(name: str, source: str) -> None:
        module = f"command_{name}"
        (site / f"{module}.py").write_text(dedent(source), encoding="utf-8")
        metadata = site / f"stranger_{name}-3.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: stranger-{name}\nVersion: 3\n")
        (metadata / "entry_points.txt").write_text(f"[popframe.cli]\n{name} = {module}\n")

    return install_command


@pytest.fixture
def complete(write: Callable[[str, str], Path]) -> Path:
    """Return a single-file plugin that authenticates and stores, with a setting and a secret."""
    return write(
        "complete.py",
        '''\
        """A plugin with both roles."""

        from pydantic import Field, SecretStr

        from popframe import ConfigError, ConfigPath, PluginSettings, hookimpl


        class Settings(PluginSettings):
            """Its table."""

            users: ConfigPath = Field(description="Where the users are.")
            secret: SecretStr = SecretStr("")


        class Complete:
            """The plugin."""

            Settings = Settings

            def __init__(self, settings: Settings) -> None:
                if not isinstance(settings, Settings):
                    raise ConfigError("these settings were validated by another reading of this file")
                if not settings.users.exists():
                    raise ConfigError(f"{settings.users}: no such file")

            @hookimpl
            def popframe_authenticate(self, credentials):
                return None

            @hookimpl
            def popframe_open_maildrop(self, account):
                return None
        ''',
    )
