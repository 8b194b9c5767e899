"""The parts of a configuration file that decide about bulletins.

Rule of this file: it reads what concerns this plugin; whether the file as a whole can be used is for ``popframe
check-config`` to say.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from popframe import ConfigError
from popframe_bulletin.settings import Settings

PLUGIN = "bulletin"

DEFAULT_MIN_UID = 1000
"""Smallest user id of people, unless ``login.min_uid`` says otherwise."""


@dataclass(frozen=True, slots=True)
class Configured:
    """What a configuration says.

    Attributes:
        settings: Table ``[plugin.bulletin]``.
        min_uid: Smallest user id of those who log in.
    """

    settings: Settings
    min_uid: int = DEFAULT_MIN_UID


def read_configuration(path: Path) -> Configured:
    """Read a configuration file.

    Raises:
        ConfigError: It cannot be read, does not use this plugin, or has mistakes in its table.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    except ValueError as exc:  # not TOML, or not UTF-8
        raise ConfigError(f"{path}: {exc}") from exc
    plugins, table = tables.get("plugins"), _table(_table(tables, "plugin"), PLUGIN)
    if not isinstance(plugins, list) or PLUGIN not in plugins:
        raise ConfigError(f"{path}: {PLUGIN} is not in its list 'plugins'")
    try:
        settings = Settings.model_validate_json(json.dumps(table, default=str), context={"directory": path.parent})
    except ValidationError as exc:
        keys = ", ".join(dict.fromkeys(str(error["loc"][0]) for error in exc.errors() if error["loc"]))
        raise ConfigError(f"{path}: mistakes in plugin.{PLUGIN} ({keys}): see 'popframe check-config'") from exc
    min_uid = _table(tables, "login").get("min_uid")
    return Configured(settings, min_uid if isinstance(min_uid, int) else DEFAULT_MIN_UID)


def _table(tables: dict[str, object], name: str) -> dict[str, object]:
    """Return a table within a table; an empty one when it is not there."""
    table = tables.get(name)
    return table if isinstance(table, dict) else {}
