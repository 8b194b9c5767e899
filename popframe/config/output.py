"""The configuration written out: as TOML with every default filled in, and as a JSON Schema for editors.

Rule of this file: a secret (a field of type ``SecretStr`` or ``SecretBytes``) is never written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel

from popframe.config.validation import NoSettings, RootTable

if TYPE_CHECKING:
    from popframe.config.validation import Configuration

JSON_SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""The dialect that pydantic writes."""


def dump(configuration: Configuration) -> str:
    """Return the configuration in effect as TOML: defaults filled in, paths as they are opened, secrets masked."""
    import tomlkit  # longer to import than a configuration is to read

    document = tomlkit.document()
    document.add(tomlkit.comment(f"in effect from {configuration.path}; secrets are masked"))
    document["plugins"] = list(configuration.plugins)
    for name in ("server", "log", "pop3", "login", "tls", "proxy", "abuse", "trace"):
        document[name] = _plain(getattr(configuration, name))
    tables = {name: _plain(settings) for name, settings in configuration.plugin_settings.items() if settings}
    if tables:
        document["plugin"] = tables
    return tomlkit.dumps(document)


def _plain(settings: BaseModel) -> dict[str, object]:
    """Return the values as TOML knows them; TOML has no word for None, and a key that is left out means the same."""
    return settings.model_dump(mode="json", exclude_none=True)


def json_schema(plugin_models: Mapping[str, type[BaseModel] | None]) -> dict[str, object]:
    """Return the JSON Schema of a configuration file.

    Args:
        plugin_models: By name of each plugin its ``Settings``, or None; no other plugin's table is allowed by it.
    """
    from pydantic.json_schema import models_json_schema  # 45 ms that no start of a server should wait for

    models = {name: model or NoSettings for name, model in plugin_models.items()}
    tables: list[type[BaseModel]] = [RootTable, *models.values()]
    references, definitions = models_json_schema([(model, "validation") for model in tables])
    schema = definitions["$defs"].pop("RootTable")
    schema["properties"]["plugin"] = {
        "type": "object",
        "description": schema["properties"]["plugin"]["description"],
        "additionalProperties": False,
        "properties": {name: references[model, "validation"] for name, model in models.items()},
    }
    words = {"title": "popframe configuration", "description": "The configuration file of popframe."}
    return {"$schema": JSON_SCHEMA_DIALECT, **schema, **words, **definitions}
