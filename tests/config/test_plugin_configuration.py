"""What a plugin's command line tool gets of a configuration file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import Field

from popframe import ConfigError, ConfigPath, PluginConfiguration, PluginSettings, read_plugin_configuration

Write = Callable[[str], Path]


class Settings(PluginSettings):
    """A plugin with a path and a number."""

    path: ConfigPath = Field(default=Path("people"), description="Who.")
    days: int = Field(default=1, description="For how long.")


def mistakes(path: Path, name: str = "lab") -> list[str]:
    """Return what is told about a file, without its name."""
    with pytest.raises(ConfigError) as caught:
        read_plugin_configuration(path, name, Settings)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(str(path)) for line in lines)
    return [line.removeprefix(str(path)) for line in lines]


def test_own_table_and_what_tools_need_of_the_server(write: Write) -> None:
    """Paths start from the folder of the file, as they do for the server."""
    path = write(
        'plugins = ["lab"]\n[server]\nrun_as = "daemon"\n[login]\nmin_uid = 500\n[plugin.lab]\npath = "list"\n'
    )
    configuration = read_plugin_configuration(path, "lab", Settings)

    assert configuration == PluginConfiguration(Settings(path=path.parent / "list"), run_as="daemon", min_uid=500)


def test_defaults_are_those_of_the_server(write: Write) -> None:
    """A table that is not there is one without settings."""
    path = write('plugins = ["lab"]\n')

    assert read_plugin_configuration(path, "lab", Settings) == PluginConfiguration(
        Settings(path=path.parent / "people"), run_as=None, min_uid=1000
    )


def test_plugin_may_be_listed_by_its_file(write: Write) -> None:
    """Its name is the file's, without the ending."""
    path = write('plugins = ["./tools/lab.py"]\n[plugin.lab]\ndays = 3\n')

    assert read_plugin_configuration(path, "lab", Settings).settings.days == 3


def test_tables_that_do_not_concern_it_are_not_judged(write: Write, tmp_path: Path) -> None:
    """Whoever runs the tool may be unable to see the server's certificate, and another plugin need not be installed."""
    path = write(
        'plugins = ["lab", "not-installed"]\n'
        f'[tls]\ncertificate = "{tmp_path / "missing.pem"}"\n[log]\nformat = "jsn"\n[plugin.other]\nx = 1\n'
    )

    assert read_plugin_configuration(path, "lab", Settings).settings.days == 1


def test_all_mistakes_are_told_with_their_lines(write: Write) -> None:
    """In the words of the server."""
    path = write('plugins = ["lab"]\n[plugin.lab]\ndays = "3"\ndayz = 4\n[login]\nmin_uid = 0\n[server]\nfronts = -1\n')

    assert mistakes(path) == [
        ":3: plugin.lab.days: must be a whole number, not a string",
        ":4: plugin.lab.dayz: unknown key; did you mean 'days'? (known: days, path)",
        ":6: login.min_uid: must be greater than or equal to 1, not 0",
        ":8: server.fronts: must be greater than or equal to 0, not -1",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('# none\nplugins = ["other"]\n', ":2: plugins: 'lab' is not in this list"),
        ("plugins = []\n[plugin.lab]\n", ":1: plugins: 'lab' is not in this list"),
        ("", ":1: plugins: is missing"),
        ('plugins = "lab"\n', ":1: plugins: must be a list, not a string"),
        ('plugins = ["lab"]\nserver = 3\n', ":2: server: must be a table, not a whole number"),
        ('plugins = ["lab"]\nplugin = 3\n', ":2: plugin: must be a table, not a whole number"),
        ('plugins = ["lab"]\n[plugin]\nlab = 3\n', ":3: plugin.lab: must be a table, not a whole number"),
        ("plugins = [", ":1: Invalid value"),
    ],
)
def test_file_that_says_nothing_to_the_plugin(write: Write, text: str, told: str) -> None:
    """Never an empty error, and never the defaults in place of what somebody has written."""
    assert mistakes(write(text)) == [told]


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Told like any other mistake."""
    assert mistakes(tmp_path / "none.toml") == [": cannot be read: No such file or directory"]
