"""What plugins there are, for people: installed, listed, or broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

from popframe.plugins.discovery import find_plugins, installed_plugins, plugin_name

ACTIVE = "active"
BROKEN = "broken"
INSTALLED = "installed"
NOT_LISTED = "not listed"


@dataclass(frozen=True, slots=True)
class PluginDescription:
    """One plugin.

    Attributes:
        name: Its name.
        version: Version of its distribution; empty for a single file.
        distribution: What it was installed from; empty for a single file.
        path: The single file; empty for an installed plugin.
        hooks: The hooks that it implements; empty when it is broken.
        status: ``active`` (listed and sound), ``not listed``, ``broken``; ``installed`` when there is no list.
        reasons: Why it is broken.
    """

    name: str
    version: str
    distribution: str
    path: str
    hooks: tuple[str, ...]
    status: str
    reasons: tuple[str, ...]


def describe_plugins(entries: Sequence[str] | None, directory: Path) -> list[PluginDescription]:
    """Describe the listed plugins in their order, then the other installed ones by name.

    Args:
        entries: The list ``plugins``; None when there is no configuration.
        directory: What relative paths in it start from.
    """
    installed = installed_plugins()
    listed = list(dict.fromkeys(entries or ()))
    others = sorted(installed.keys() - {plugin_name(entry) for entry in listed})
    without_list = INSTALLED if entries is None else NOT_LISTED
    return [
        *_describe(listed, directory, ACTIVE, installed),
        *_describe(others, directory, without_list, installed),
    ]


def _describe(
    entries: Sequence[str], directory: Path, status: str, installed: Mapping[str, Sequence[EntryPoint]]
) -> list[PluginDescription]:
    found, problems = find_plugins(entries, directory)
    descriptions = []
    for position, entry in enumerate(entries):
        name = plugin_name(entry)
        distribution = next((point.dist for point in installed.get(name, ()) if entry == name), None)
        reasons = tuple(problem.text for problem in problems if problem.position == position)
        descriptions.append(
            PluginDescription(
                name=name,
                version=distribution.version if distribution else "",
                distribution=distribution.name if distribution else "",
                path="" if entry == name else str(directory / entry),
                hooks=found[name].hooks if not reasons else (),
                status=BROKEN if reasons else status,
                reasons=reasons,
            )
        )
    return descriptions
