"""What a plugin's own command line tool needs of a configuration file.

Rule of this file: it reads what concerns such a tool; whether the file as a whole can be used is for ``popframe
check-config`` to say. So a tool runs as a user who cannot read the server's certificates, and no plugin is imported.
A server does without it: the package does not import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from popframe.config.file import ConfigFile
from popframe.config.login import FIRST_USER_UID, LoginSettings
from popframe.config.problem import InvalidConfiguration, Problem
from popframe.config.settings import PluginSettings, ServerSettings
from popframe.config.validation import validate_table

SettingsT = TypeVar("SettingsT", bound=PluginSettings)


@dataclass(frozen=True, slots=True)
class PluginConfiguration(Generic[SettingsT]):
    """What a configuration says to a plugin's tool.

    Attributes:
        settings: The plugin's own table, ``[plugin.NAME]``.
        run_as: ``server.run_as``, the user that the server becomes; None when it does not say.
        isolation: ``server.isolation``: with ``"per-user"``, mail is touched only by processes that are its user.
        min_uid: ``login.min_uid``, the smallest user id of those who log in.
    """

    settings: SettingsT
    run_as: str | None = None
    isolation: Literal["shared", "per-user"] = "shared"
    min_uid: int = FIRST_USER_UID


class _Tables(BaseModel):
    """The file as far as it is read here."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    plugins: tuple[str, ...]
    server: ServerSettings = Field(default_factory=ServerSettings)
    login: LoginSettings = Field(default_factory=LoginSettings)
    plugin: Mapping[str, dict[str, object]] = Field(default_factory=dict)


def read_plugin_configuration(path: Path, name: str, model: type[SettingsT]) -> PluginConfiguration[SettingsT]:
    """Read what a configuration file says to one plugin, for a command line tool of that plugin.

    Args:
        path: The file.
        name: The plugin's name, as in the list ``plugins``.
        model: Its ``Settings``.

    Raises:
        ConfigError: The file cannot be read, does not list the plugin, or has mistakes in the plugin's table or in
            ``[server]`` or ``[login]``; ``str()`` gives one line for each, with file and line.
    """
    config_file = ConfigFile.read(path)
    problems: list[Problem] = []
    tables = validate_table(config_file, (), _Tables, problems)
    settings = None
    if config_file.plugin_index(name) is not None:
        settings = validate_table(config_file, ("plugin", name), model, problems)
    elif tables is not None:
        problems.append(Problem(path, config_file.line_of("plugins"), "plugins", f"{name!r} is not in this list"))
    if problems or tables is None or settings is None:
        raise InvalidConfiguration(problems)
    return PluginConfiguration(settings, tables.server.run_as, tables.server.isolation, tables.login.min_uid)
