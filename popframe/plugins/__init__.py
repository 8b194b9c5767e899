"""Plugins: found, imported, checked, put in order, and called through the typed front :class:`Hooks`."""

from popframe.plugins.building import build_hooks, missing_roles
from popframe.plugins.description import PluginDescription, describe_plugins
from popframe.plugins.discovery import FoundPlugin, PluginProblem, find_plugins, plugin_name
from popframe.plugins.hooks import Hooks, release
from popframe.plugins.preparation import (
    Host,
    Preparation,
    close_preparations,
    look_after_preparations,
    prepare_plugins,
)

__all__ = [
    "FoundPlugin",
    "Hooks",
    "Host",
    "PluginDescription",
    "PluginProblem",
    "Preparation",
    "build_hooks",
    "close_preparations",
    "describe_plugins",
    "find_plugins",
    "look_after_preparations",
    "missing_roles",
    "plugin_name",
    "prepare_plugins",
    "release",
]
