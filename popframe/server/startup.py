"""From a configuration file to a server's settings and hooks, the way every command takes.

Rule of this file: settings and plugins are judged together, so that an operator sees everything that is wrong at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from popframe.config import ConfigFile, Configuration, InvalidConfiguration, Problem, UnknownSettings, validate
from popframe.config.tls import TlsSettings
from popframe.engine import reserved_verbs
from popframe.errors import ConfigError
from popframe.plugins import (
    FoundPlugin,
    Hooks,
    Host,
    PluginProblem,
    Preparation,
    build_hooks,
    close_preparations,
    find_plugins,
    missing_roles,
    prepare_plugins,
)
from popframe.sasl import BUILT_IN, Apop
from popframe.server import log
from popframe.server.sasl.mechanisms import unknown_mechanisms

if TYPE_CHECKING:
    from popframe.server.tls import Certificates

RESERVED_MECHANISMS = frozenset({*BUILT_IN, Apop.name})
"""SASL mechanisms that no plugin can take."""


@dataclass(frozen=True, slots=True)
class CheckedConfiguration(Configuration):
    """A configuration without mistakes whose plugins are imported, and not constructed yet.

    Attributes:
        found: The plugins, in configuration order.
    """

    found: tuple[FoundPlugin, ...]


def load(path: Path) -> CheckedConfiguration:
    """Read and check everything, start the plugins as a server would, and let go of them again.

    Raises:
        InvalidConfiguration: The file has mistakes, or a plugin cannot be imported; all of it.
        ConfigError: A plugin does not start, or a file of the server's own cannot be used.
    """
    from popframe.server.abuse.memory import check_state_file  # a server that starts opens it itself

    configuration = check(path)
    prepared = prepare(configuration, is_server=False)
    try:
        build(configuration, prepared)
        load_certificates(configuration.tls)
        check_state_file(configuration.abuse.state_file, configuration.server.run_as)
    finally:
        close_preparations(prepared.values())
    return configuration


def check(path: Path) -> CheckedConfiguration:
    """Read a file, import its plugins, and validate all settings; no plugin is constructed.

    Raises:
        InvalidConfiguration: With everything that is wrong.
    """
    config_file = ConfigFile.read(path)
    entries = config_file.plugin_entries
    found, problems = find_plugins(list(entries.values()), config_file.directory)
    configuration = validate(
        config_file, _models(found, problems), _located(config_file, list(entries), found, problems)
    )
    return CheckedConfiguration(
        path=configuration.path,
        plugins=configuration.plugins,
        server=configuration.server,
        log=configuration.log,
        pop3=configuration.pop3,
        login=configuration.login,
        tls=configuration.tls,
        proxy=configuration.proxy,
        abuse=configuration.abuse,
        trace=configuration.trace,
        plugin_settings=configuration.plugin_settings,
        found=tuple(found.values()),
    )


def prepare(configuration: CheckedConfiguration, *, is_server: bool) -> dict[str, Preparation]:
    """Let the plugins of a checked configuration do what only root can; whoever calls this has not given it up yet.

    Args:
        configuration: What :func:`check` returned.
        is_server: It is for a server that serves many clients.

    Raises:
        ConfigError: A plugin does not start.
    """
    host = Host(is_server=is_server, run_as=configuration.server.run_as)
    return prepare_plugins(configuration.found, configuration.plugin_settings, host)


def load_certificates(settings: TlsSettings) -> Certificates | None:
    """Load the certificates of a server; None where there is to be no TLS.

    Raises:
        ConfigError: One cannot be read, or does not go with its key.
    """
    if not settings.is_on:
        return None
    from popframe.server.tls import Certificates  # with ssl, for which a server without TLS need not wait

    return Certificates(settings)


def build(configuration: CheckedConfiguration, prepared: Mapping[str, Preparation]) -> Hooks:
    """Construct the plugins of a checked configuration; whoever calls this is the user that they will run as.

    Args:
        configuration: What :func:`check` returned.
        prepared: What :func:`prepare` returned, for this configuration or for the one that the server started with.

    Raises:
        ConfigError: A plugin does not start, or a SASL mechanism is listed that neither they nor the server have.
    """
    hooks = build_hooks(
        configuration.found,
        configuration.plugin_settings,
        reserved_verbs=reserved_verbs(),
        reserved_mechanisms=RESERVED_MECHANISMS,
        prepared=prepared,
    )
    unknown = unknown_mechanisms(configuration.login, hooks)
    if unknown:
        line = ConfigFile.read(configuration.path).line_of("login", "mechanisms")
        raise InvalidConfiguration(Problem(configuration.path, line, "login.mechanisms", text) for text in unknown)
    return hooks


def set_up_log(configuration: Configuration) -> None:
    """Send the log where the configuration says.

    Raises:
        ConfigError: There is no system log at the configured address.
    """
    settings = configuration.log
    try:
        log.set_up(
            settings.target,
            settings.format,
            settings.level,
            settings.syslog_address,
            settings.syslog_facility,
            settings.syslog_priority,
        )
    except OSError as error:
        raise ConfigError(
            f"log.syslog_address: no system log at {settings.syslog_address}: {error.strerror}"
        ) from error


def _models(found: Mapping[str, FoundPlugin], problems: list[PluginProblem]) -> dict[str, type[BaseModel] | None]:
    """Return the settings model of each listed plugin; any settings are right for one that could not be imported."""
    broken: dict[str, type[BaseModel] | None] = {problem.name: UnknownSettings for problem in problems}
    return broken | {name: plugin.settings_model for name, plugin in found.items()}


def _located(
    config_file: ConfigFile, indexes: list[int], found: Mapping[str, FoundPlugin], problems: list[PluginProblem]
) -> Iterator[Problem]:
    """Say in which line of the file the plugins with problems are listed."""
    for problem in problems:
        index = indexes[problem.position]
        line = config_file.line_of("plugins", index)
        yield Problem(config_file.path, line, f"plugins[{index}]", str(problem))
    if indexes and not problems:
        for text in missing_roles(found.values()):
            yield Problem(config_file.path, config_file.line_of("plugins"), "plugins", text)
