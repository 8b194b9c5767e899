"""The configuration written out."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, SecretStr

from popframe import ConfigPath, PluginSettings
from popframe.config import Configuration, dump, json_schema

Models = dict[str, type[BaseModel] | None]
Valid = Callable[[str, Models], Configuration]


class Settings(PluginSettings):
    """A plugin's settings."""

    path: ConfigPath = Field(description="Where the users are.")
    secret: SecretStr = SecretStr("hunter2")
    note: str | None = None


MODELS: Models = {"auth": Settings, "store": None}

TEXT = """\
plugins = ["auth", "store"]
server.listen = ["localhost:1110", "[::1]:1110"]
pop3.greeting = "hello \\"there\\" #"
[plugin.auth]
path = "users"
secret = "swordfish"
"""


def test_dump_has_every_setting_and_no_secret(valid: Valid, tmp_path: Path) -> None:
    """Defaults are filled in, paths are as they will be opened, secrets are masked."""
    text = dump(valid(TEXT, MODELS))
    tables = tomllib.loads(text)

    assert tables["plugin"] == {"auth": {"path": str(tmp_path / "users"), "secret": "**********"}}
    assert tables["server"]["listen"] == ["127.0.0.1:1110", "[::1]:1110"]
    assert tables["server"]["idle_timeout_seconds"] == 600
    assert tables["log"]["level"] == "info"
    assert "swordfish" not in text
    assert "hunter2" not in text


def test_dump_can_be_read_again(valid: Valid) -> None:
    """What is in effect, written to a file, has the same effect."""
    first = valid(TEXT, MODELS)
    second = valid(dump(first), MODELS)

    assert (second.plugins, second.server, second.log, second.pop3, second.login) == (
        first.plugins, first.server, first.log, first.pop3, first.login
    )  # fmt: skip


def test_schema_knows_the_tables_of_the_plugins() -> None:
    """An editor can tell a mistake while it is typed."""
    schema: dict[str, Any] = json_schema(MODELS)
    plugin = schema["properties"]["plugin"]
    settings = schema["$defs"][plugin["properties"]["auth"]["$ref"].rpartition("/")[2]]

    assert schema["required"] == ["plugins"]
    assert schema["additionalProperties"] is False
    assert plugin["additionalProperties"] is False
    assert list(plugin["properties"]) == ["auth", "store"]
    assert settings["properties"]["path"]["description"] == "Where the users are."
    assert settings["required"] == ["path"]


def test_schema_keeps_models_of_one_name_apart() -> None:
    """Most plugins call their model Settings."""
    other = type("Settings", (PluginSettings,), {"__annotations__": {"x": int}, "__module__": "other"})
    schema: dict[str, Any] = json_schema({"a": Settings, "b": other})
    references = [table["$ref"] for table in schema["properties"]["plugin"]["properties"].values()]

    assert len(set(references)) == 2
    assert all(reference.rpartition("/")[2] in schema["$defs"] for reference in references)
