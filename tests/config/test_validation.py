"""All mistakes of a file at once, each in its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator

from popframe import PluginSettings
from popframe.config import ConfigFile, Configuration, InvalidConfiguration, Problem, UnknownSettings, validate

Models = dict[str, type[BaseModel] | None]
ProblemsIn = Callable[[str, Models], list[Problem]]
Valid = Callable[[str, Models], Configuration]


class Inner(PluginSettings):
    """A table within a plugin's table."""

    depth: int = 0


class Settings(PluginSettings):
    """A plugin with a setting that must be given, and a secret."""

    path: str = Field(description="Where the users are.")
    secret: SecretStr = SecretStr("")
    inner: Inner = Inner()
    rows: tuple[Inner, ...] = ()
    table: dict[str, Inner] = Field(default_factory=dict)
    either: int | bool = 0


class Odd(PluginSettings):
    """A plugin whose own validator fails in a way that pydantic does not expect."""

    number: int = 0

    @field_validator("number")
    @classmethod
    def _fail(cls, number: int) -> int:
        return number // 0


MODELS: Models = {"auth": Settings, "store": None}

FIVE_MISTAKES = """\
# five mistakes
plugins = [
  "auth",
  "store",
]

[server]
idle_timeout = 600
listen = [
  "127.0.0.1:110",
  "pop.example.org:110",
]

[log]
format = "jsn"

[plugin.auth]
pth = "users"

[plugin.bulletin]
folder = "x"
"""


def test_five_mistakes_give_five_messages_with_their_lines(write: Callable[[str], Path]) -> None:
    """An operator mends the file in one go."""
    path = write(FIVE_MISTAKES.replace('pth = "users"', 'path = "users"\npth = "users"'))

    with pytest.raises(InvalidConfiguration) as caught:
        validate(ConfigFile.read(path), MODELS)
    assert str(caught.value).splitlines() == [
        f"{path}:8: server.idle_timeout: unknown key; did you mean 'idle_timeout_seconds'? (known: "
        "idle_timeout_seconds, allow_short_idle_timeout, fronts, isolation, listen, listen_tls, login_timeout_seconds, "
        "look_up_client_names, max_connections, max_connections_per_address, max_connections_per_user, run_as, "
        "shutdown_timeout_seconds, write_timeout_seconds)",
        f"{path}:11: server.listen[1]: 'pop.example.org' is not a numeric address; host names are not looked up, "
        "except 'localhost'",
        f"{path}:15: log.format: 'jsn' is not allowed; did you mean 'json'? (allowed: json, text)",
        f"{path}:19: plugin.auth.pth: unknown key; did you mean 'path'? (known: path, either, inner, rows, secret, "
        "table)",
        f"{path}:21: plugin.bulletin: this plugin is not in the list 'plugins' (listed: auth, store)",
    ]


def test_missing_key_is_told_in_the_line_of_its_table(problems_in: ProblemsIn) -> None:
    """The description says what is to be written."""
    problems = problems_in(FIVE_MISTAKES, MODELS)

    assert (17, "plugin.auth.path", "is missing: Where the users are.") in [
        (problem.line, problem.key, problem.text) for problem in problems
    ]


def test_missing_key_of_a_missing_table_is_told_where_the_plugin_is_listed(problems_in: ProblemsIn) -> None:
    """Another plugin's table would be the wrong place to look."""
    problems = problems_in('plugins = [\n  "store",\n  "auth",\n]\n[plugin.store]\n', MODELS)

    assert [(problem.line, problem.key) for problem in problems] == [(3, "plugin.auth.path")]


def test_missing_key_of_a_single_file_plugin_is_told_where_it_is_listed(problems_in: ProblemsIn) -> None:
    """A plugin may be listed by its file; its table has the file's stem."""
    problems = problems_in('plugins = [\n  "store",\n  "./sub/auth.py",\n]\n', MODELS)

    assert [(problem.line, problem.key) for problem in problems] == [(3, "plugin.auth.path")]


def test_missing_list_of_plugins_is_told_in_the_first_line(problems_in: ProblemsIn) -> None:
    """And the plugins' tables are not blamed for it."""
    problems = problems_in("[plugin.auth]\npath = 'x'\n", {})

    assert [(problem.line, problem.key, problem.text[:32]) for problem in problems] == [
        (1, "plugins", "is missing: Which plugins to loa")
    ]


@pytest.mark.parametrize("value", ["[]", '""', "3", "{}", "[[]]", '[""]'])
def test_list_of_plugins_that_names_none_is_refused(problems_in: ProblemsIn, value: str) -> None:
    """Nothing works without plugins."""
    assert [problem.key[:7] for problem in problems_in(f"plugins = {value}", {})] == ["plugins"]


@pytest.mark.parametrize("text", ["plugin = 3", "plugin.auth = 3"])
def test_plugin_that_is_no_table_is_refused(problems_in: ProblemsIn, text: str) -> None:
    """A value in the place of a table is told as such."""
    problems = problems_in(f'plugins = ["store"]\n{text}\n', {"store": None, "auth": None})

    assert [(problem.line, problem.text) for problem in problems] == [(2, "must be a table, not a whole number")]


def test_table_of_a_plugin_without_settings_must_be_empty(problems_in: ProblemsIn) -> None:
    """A setting without effect is a mistake that nobody would see."""
    problems = problems_in('plugins = ["store"]\n[plugin.store]\nx = 1\n', {"store": None})

    assert [str(problem).partition(": ")[2] for problem in problems] == ["plugin.store.x: unknown key (known: none)"]


def test_table_of_a_broken_plugin_is_left_alone(write: Callable[[str], Path]) -> None:
    """What is wrong with the plugin itself is told, sorted in with the rest."""
    path = write('plugins = [\n"broken"]\n[plugin.broken]\nx = 1\n[server]\nfronts = -1')
    extra = Problem(path, 2, "plugins[0]", "cannot be imported")

    with pytest.raises(InvalidConfiguration) as caught:
        validate(ConfigFile.read(path), {"broken": UnknownSettings}, [extra])

    assert [problem.line for problem in caught.value.problems] == [2, 6]


def test_extra_problem_alone_makes_the_configuration_invalid(write: Callable[[str], Path]) -> None:
    """Nobody starts a server whose plugin is broken."""
    path = write('plugins = ["store"]')

    with pytest.raises(InvalidConfiguration, match="broken"):
        validate(ConfigFile.read(path), {"store": None}, [Problem(path, 1, "", "broken")])


@pytest.mark.parametrize(
    ("line", "key", "text"),
    [
        ("inner.dpth = 1", "plugin.auth.inner.dpth", "unknown key; did you mean 'depth'? (known: depth)"),
        (
            "rows = [\n {},\n {dpth = 1}]",
            "plugin.auth.rows[1].dpth",
            "unknown key; did you mean 'depth'? (known: depth)",
        ),
        ('table."a b".dpth = 1', 'plugin.auth.table."a b".dpth', "unknown key (known: none)"),
        ('rows = [{depth = "1"}]', "plugin.auth.rows[0].depth", "must be a whole number, not a string"),
        ("either = []", "plugin.auth.either", "must be a whole number, not a list"),
        ('"a\\nb" = 1', 'plugin.auth."a\\nb"', None),
    ],
)
def test_mistake_in_a_plugins_table_is_told_as_exactly(
    problems_in: ProblemsIn, line: str, key: str, text: str | None
) -> None:
    """Tables in tables, in lists, and under free names."""
    problems = problems_in(f'plugins = ["auth"]\n[plugin.auth]\npath = "x"\n{line}\n', {"auth": Settings})

    assert problems[0].key == key
    assert problems[0].line == 4 + line.count("\n")
    assert text is None or problems[0].text == text


def test_message_never_holds_a_secret(problems_in: ProblemsIn) -> None:
    """A password of the wrong type does not end in a terminal or a log."""
    problems = problems_in('plugins = ["auth"]\n[plugin.auth]\npath = "x"\nsecret = ["hunter2"]', {"auth": Settings})

    assert [problem.text for problem in problems] == ["must be a string, not a list"]


def test_plugins_validator_that_fails_is_told(problems_in: ProblemsIn) -> None:
    """A plugin's own code may raise anything."""
    problems = problems_in('plugins = ["odd"]\n[plugin.odd]\nnumber = 1', {"odd": Odd})

    assert [(problem.line, problem.key) for problem in problems] == [(2, "plugin.odd")]
    assert problems[0].text.startswith(f"its settings cannot be checked: ZeroDivisionError ({__file__}:")


def test_order_of_the_plugins_is_kept(valid: Valid) -> None:
    """The order of the list is the order of asking."""
    configuration = valid('plugins = ["store", "auth"]\nplugin.auth.path = "x"', {"store": None, "auth": Settings})

    assert configuration.plugins == ("store", "auth")
    assert list(configuration.plugin_settings) == ["store", "auth"]
    assert configuration.plugin_settings["store"] is None
