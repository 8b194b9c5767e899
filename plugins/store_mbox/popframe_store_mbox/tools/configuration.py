"""What a configuration file says about spools, and the files that follow from it."""

from __future__ import annotations

import os
from pathlib import Path

from popframe import Account, ConfigError, PluginConfiguration, read_plugin_configuration
from popframe_store_mbox.place import Place, find_place
from popframe_store_mbox.settings import Settings
from popframe_store_mbox.tools.text import printable_path

PLUGIN = "store_mbox"


def read_configuration(path: Path | None) -> PluginConfiguration[Settings]:
    """Read a configuration file; without one, what the plugin does by itself.

    Raises:
        ConfigError: It cannot be read, does not use this plugin, or has mistakes in what is read.
    """
    return PluginConfiguration(Settings()) if path is None else read_plugin_configuration(path, PLUGIN, Settings)


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
