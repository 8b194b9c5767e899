"""The parts of a configuration file that decide about a spool, and the files that follow from them.

Rule of this file: it reads what concerns this plugin; whether the file as a whole can be used is for ``popframe
check-config`` to say.
"""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from popframe import Account, ConfigError
from popframe_store_mbox.place import Place, find_place
from popframe_store_mbox.settings import Settings
from popframe_store_mbox.tools.text import printable_path

PLUGIN = "store_mbox"


@dataclass(frozen=True, slots=True)
class Configured:
    """What a configuration says.

    Attributes:
        settings: Table ``[plugin.store_mbox]``.
        run_as: The user that the server becomes; empty when it does not say.
    """

    settings: Settings
    run_as: str = ""


def read_configuration(path: Path) -> Configured:
    """Read a configuration file.

    Raises:
        ConfigError: It cannot be read, does not use this plugin, or has mistakes in its table.
    """
    shown = printable_path(path)
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as exc:
        raise ConfigError(f"{shown}: {exc.strerror}") from exc
    except ValueError as exc:  # not TOML, or not UTF-8
        raise ConfigError(f"{shown}: {exc}") from exc
    plugins, table = tables.get("plugins"), _table(_table(tables, "plugin"), PLUGIN)
    if not isinstance(plugins, list) or PLUGIN not in plugins:
        raise ConfigError(f"{shown}: {PLUGIN} is not in its list 'plugins'")
    try:
        settings = Settings.model_validate_json(json.dumps(table, default=str), context={"directory": path.parent})
    except ValidationError as exc:
        keys = ", ".join(dict.fromkeys(str(error["loc"][0]) for error in exc.errors() if error["loc"]))
        raise ConfigError(f"{shown}: mistakes in plugin.{PLUGIN} ({keys}): see 'popframe check-config'") from exc
    run_as = _table(tables, "server").get("run_as")
    return Configured(settings, run_as if isinstance(run_as, str) else "")


def place_of(path: Path, settings: Settings) -> Place:
    """Return the files of a spool.

    Raises:
        ConfigError: There is no such directory.
        PermanentFailure: No spool can have such a name.
    """
    place = find_place(Account("", maildrop=os.path.abspath(path)), Path("/"), settings.state_dir)
    if not os.path.isdir(os.path.dirname(place.spool)):
        raise ConfigError(f"{printable_path(os.path.dirname(place.spool))}: no such directory")
    return place


def _table(tables: dict[str, object], name: str) -> dict[str, object]:
    """Return a table within a table; an empty one when it is not there."""
    table = tables.get(name)
    return table if isinstance(table, dict) else {}
