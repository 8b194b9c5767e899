"""popper's switches, as settings of today."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel

from popframe.config.settings import MAX_TIMEOUT_SECONDS
from popframe.server.startup import CheckedConfiguration

QUIET_LEVELS = frozenset({"warning", "error"})
"""Levels of the log at which the line of an ended session is not written."""


BULLETIN_PLUGIN = "bulletin"
"""The plugin whose setting ``folder`` is ``-b``."""


@dataclass(frozen=True, slots=True)
class Switches:
    """What the command line asks for; it comes before what the configuration says.

    Attributes:
        is_traced: ``-d``: the log gets each command and its reply.
        trace_file: ``-t``: the same, and the whole log goes to this file.
        has_statistics: ``-s``: the log says what the session did, whatever its level.
        bulletin_directory: ``-b``: where the plugin ``bulletin`` finds the bulletins; without effect when it is not
            listed.
        idle_seconds: ``-T``: seconds without a command; 0 for the longest there are, None for what is configured.
        speaks_tls: ``--tls``: the client speaks TLS from the first octet.
    """

    is_traced: bool = False
    trace_file: Path | None = None
    has_statistics: bool = False
    bulletin_directory: Path | None = None
    idle_seconds: int | None = None
    speaks_tls: bool = False

    def applied_to(self, configuration: CheckedConfiguration) -> CheckedConfiguration:
        """Return the configuration with the settings that these stand for."""
        server, log, trace = configuration.server, configuration.log, configuration.trace
        if self.idle_seconds is not None:
            timeout = {"idle_timeout_seconds": self.idle_seconds or MAX_TIMEOUT_SECONDS}
            server = server.model_copy(update={"allow_short_idle_timeout": True, **timeout})
        if self.is_traced:
            log = log.model_copy(update={"level": "debug"})
            trace = trace.model_copy(update={"all_sessions": True, "file": None, "bodies": False})
        elif self.has_statistics and log.level in QUIET_LEVELS:
            log = log.model_copy(update={"level": "info"})
        settings = dict(configuration.plugin_settings)
        bulletins = bulletin_settings(configuration)
        if self.bulletin_directory is not None and bulletins is not None:
            settings[BULLETIN_PLUGIN] = bulletins.model_copy(update={"folder": self.bulletin_directory})
        return replace(configuration, server=server, log=log, trace=trace, plugin_settings=settings)


def bulletin_settings(configuration: CheckedConfiguration) -> BaseModel | None:
    """Return the settings of the plugin that ``-b`` is for; None when it is not listed."""
    settings = configuration.plugin_settings.get(BULLETIN_PLUGIN)
    return settings if settings is not None and "folder" in type(settings).model_fields else None
