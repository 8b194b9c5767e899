"""From a parsed file to a configuration that can be used, or to everything that is wrong with it.

Rule of this file: no mistake hides another. Each table is validated by itself, and all that was found is raised
together.
"""

from __future__ import annotations

import datetime
import json
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from popframe.config.abuse import AbuseSettings
from popframe.config.explanation import dotted_key, explain
from popframe.config.file import ConfigFile
from popframe.config.login import LoginSettings
from popframe.config.problem import InvalidConfiguration, Problem
from popframe.config.proxy import ProxySettings
from popframe.config.settings import CoreSettings, Filled, LogSettings, Pop3Settings, ServerSettings
from popframe.config.tls import TlsSettings
from popframe.config.trace import TraceSettings
from popframe.suggestion import suggest

ModelT = TypeVar("ModelT", bound=BaseModel)


class RootTable(CoreSettings):
    """The file as a whole; what stands in a plugin's table is for that plugin's own model to judge."""

    plugins: Filled[Annotated[str, Field(min_length=1)]] = Field(
        description="Which plugins to load, in the order in which they are asked: names of installed plugins, or "
        "paths of single Python files.",
    )
    server: ServerSettings = Field(default_factory=ServerSettings, description="Sockets, processes, limits.")
    log: LogSettings = Field(default_factory=LogSettings, description="Where log lines go and how they look.")
    pop3: Pop3Settings = Field(default_factory=Pop3Settings, description="What the server says.")
    login: LoginSettings = Field(default_factory=LoginSettings, description="Who may log in.")
    tls: TlsSettings = Field(default_factory=TlsSettings, description="What protects connections.")
    proxy: ProxySettings = Field(
        default_factory=ProxySettings, description="Connections that come through a proxy which says whose they are."
    )
    abuse: AbuseSettings = Field(
        default_factory=AbuseSettings, description="Wrong passwords, and too many of anything."
    )
    trace: TraceSettings = Field(
        default_factory=TraceSettings, description="Whose sessions are written down command by command."
    )
    plugin: dict[str, dict[str, object]] = Field(
        default_factory=dict, description="One table for each plugin that has settings: [plugin.NAME]."
    )


class NoSettings(CoreSettings):
    """Stands in for the model of a plugin that has no settings."""


class UnknownSettings(BaseModel):
    """Stands in for the model of a plugin that could not be loaded; that is told by itself, its table is left alone."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration without mistakes.

    Attributes:
        path: The file that it comes from.
        plugins: The entries of ``plugins``, in order, as written.
        server: Table ``[server]``.
        log: Table ``[log]``.
        pop3: Table ``[pop3]``.
        login: Table ``[login]``.
        tls: Table ``[tls]``.
        proxy: Table ``[proxy]``.
        abuse: Table ``[abuse]``.
        trace: Table ``[trace]``.
        plugin_settings: By name of the plugin, the validated ``[plugin.NAME]``; None for a plugin without settings.
    """

    path: Path
    plugins: tuple[str, ...]
    server: ServerSettings
    log: LogSettings
    pop3: Pop3Settings
    login: LoginSettings
    tls: TlsSettings
    proxy: ProxySettings
    abuse: AbuseSettings
    trace: TraceSettings
    plugin_settings: Mapping[str, BaseModel | None]


def validate(
    config_file: ConfigFile,
    plugin_models: Mapping[str, type[BaseModel] | None],
    extra: Iterable[Problem] = (),
) -> Configuration:
    """Check every value of a file.

    Args:
        config_file: What was read.
        plugin_models: By name of each listed plugin its ``Settings``; None for a plugin without settings,
            :class:`UnknownSettings` for one that could not be loaded.
        extra: What was found wrong already, to be told together with the rest.

    Raises:
        InvalidConfiguration: With everything that is wrong, sorted by line.
    """
    problems = list(extra)
    root = validate_table(config_file, (), RootTable, problems)
    if root is not None:
        problems += _contradictions(config_file, root)
    if config_file.plugin_entries:
        problems += _unlisted_tables(config_file, plugin_models)
    plugin_settings: dict[str, BaseModel | None] = {}
    for name, model in plugin_models.items():
        settings = validate_table(config_file, ("plugin", name), model or NoSettings, problems)
        plugin_settings[name] = settings if model else None
    if problems or root is None:
        raise InvalidConfiguration(problems)
    return Configuration(
        path=config_file.path,
        plugins=root.plugins,
        server=root.server,
        log=root.log,
        pop3=root.pop3,
        login=root.login,
        tls=root.tls,
        proxy=root.proxy,
        abuse=root.abuse,
        trace=root.trace,
        plugin_settings=MappingProxyType(plugin_settings),
    )


def _contradictions(config_file: ConfigFile, root: RootTable) -> Iterator[Problem]:
    """Find what is wrong only with two tables together."""
    server, proxy = root.server, root.proxy
    lists = {
        ("server", "listen"): server.listen,
        ("server", "listen_tls"): server.listen_tls,
        ("proxy", "listen"): proxy.listen,
        ("proxy", "listen_tls"): proxy.listen_tls,
    }
    if not any(lists.values()):
        line = config_file.line_of("server", "listen")
        text = "must not be empty, unless listen_tls is not, or one of those in [proxy]"
        yield Problem(config_file.path, line, "server.listen", text)
    for path, addresses in lists.items():
        if path[1] == "listen_tls" and addresses and not root.tls.is_on:
            text = "needs a certificate: tls.certificate"
            yield Problem(config_file.path, config_file.line_of(*path), dotted_key(path), text)
        for address in addresses if path[0] == "proxy" else ():
            if address in (*server.listen, *server.listen_tls) and not address.endswith(":0"):
                text = f"{address} is listed in [server] as well: a client either comes through a proxy or does not"
                yield Problem(config_file.path, config_file.line_of(*path), dotted_key(path), text)


def validate_table(
    config_file: ConfigFile, path: tuple[str, ...], model: type[ModelT], problems: list[Problem]
) -> ModelT | None:
    """Validate one table.

    Args:
        config_file: What was read.
        path: Nothing for the file as a whole; or ``plugin`` and the name of one.
        model: What the table is to be.
        problems: Where to add what is wrong with it.

    Returns:
        The table; None where something is wrong with it, or it is no table, which the file as a whole is blamed for.
    """
    table = config_file.plugin_table(path[-1]) if path else config_file.tables
    if not isinstance(table, Mapping):
        return None  # the root table's own validation says so
    try:
        # As JSON, where a strict model takes a list for a tuple and a string for a Path: TOML has no more types.
        return model.model_validate_json(
            json.dumps(table, default=_date_as_text), context={"directory": config_file.directory}
        )
    except ValidationError as exc:
        problems += _problems_of(exc, config_file, path, model)
    except Exception as exc:  # a plugin's own validator may raise anything
        frame = traceback.extract_tb(exc.__traceback__)[-1]  # the text of the error may hold a secret value
        text = f"its settings cannot be checked: {type(exc).__name__} ({frame.filename}:{frame.lineno})"
        problems.append(Problem(config_file.path, _line_of(config_file, path), dotted_key(path), text))
    return None


def _date_as_text(value: object) -> str:
    """Give JSON the one type of TOML that it lacks."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise TypeError(f"TOML has no {type(value).__name__}")


def _problems_of(
    exc: ValidationError, config_file: ConfigFile, table: tuple[str, ...], model: type[BaseModel]
) -> Iterator[Problem]:
    """Translate what pydantic found in one table."""
    for error in exc.errors(include_url=False, include_input=False):
        path = (*table, *error["loc"])
        known, value = config_file.find(path)
        text = explain(error, model, value)
        shown = path if error["type"] == "missing" else max(known, table, key=len)
        yield Problem(config_file.path, _line_of(config_file, path), dotted_key(shown), text)


def _line_of(config_file: ConfigFile, path: tuple[str | int, ...]) -> int:
    """Return the line for a path; for a plugin that has no table, the line where the plugin is listed."""
    if path[:1] == ("plugin",) and len(path) > 1 and len(config_file.find(path)[0]) < 2:
        index = config_file.plugin_index(path[1])
        if index is not None:
            return config_file.line_of("plugins", index)
    return config_file.line_of(*path)


def _unlisted_tables(config_file: ConfigFile, listed: Iterable[str]) -> Iterator[Problem]:
    """Find tables of plugins that are not loaded: a table without effect is a mistake that nobody would see."""
    tables = config_file.tables.get("plugin")
    names = list(listed)
    for name in tables if isinstance(tables, Mapping) else ():
        if name not in names:
            path = ("plugin", name)
            text = "this plugin is not in the list 'plugins'" + suggest(name, names, "listed")
            yield Problem(config_file.path, config_file.line_of(*path), dotted_key(path), text)
