"""Configuration: one TOML file, validated whole, every mistake reported at once with its line."""

from popframe.config.abuse import AbuseSettings
from popframe.config.file import ConfigFile
from popframe.config.login import LoginSettings
from popframe.config.output import dump, json_schema
from popframe.config.problem import InvalidConfiguration, Problem
from popframe.config.proxy import ProxySettings
from popframe.config.settings import ConfigPath, LogSettings, PluginSettings, Pop3Settings, ServerSettings
from popframe.config.trace import TraceSettings
from popframe.config.validation import Configuration, UnknownSettings, validate

__all__ = [
    "AbuseSettings",
    "ConfigFile",
    "ConfigPath",
    "Configuration",
    "InvalidConfiguration",
    "LogSettings",
    "LoginSettings",
    "PluginSettings",
    "Pop3Settings",
    "Problem",
    "ProxySettings",
    "ServerSettings",
    "TraceSettings",
    "UnknownSettings",
    "dump",
    "json_schema",
    "validate",
]
