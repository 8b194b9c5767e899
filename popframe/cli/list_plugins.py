"""List the plugins that are installed, and say which a configuration uses."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from popframe.config import ConfigFile
from popframe.plugins import PluginDescription, describe_plugins

EPILOG = """\
status:
  active      listed in the configuration, and sound as far as can be seen without starting it
  not listed  installed, and not used by the configuration
  installed   shown when no configuration is named
  broken      cannot be used; the last column says why

exit status:
  0  the list was printed, broken plugins or not
  2  the configuration file cannot be read

examples:
  popframe list-plugins
  popframe list-plugins --config /etc/popframe.toml
  popframe list-plugins --json
"""

HEADINGS = ("NAME", "VERSION", "FROM", "STATUS", "HOOKS")

HOOK_PREFIX = "popframe_"
"""Left out in the table, for every hook has it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``popframe list-plugins``."""
    parser.epilog = EPILOG
    parser.add_argument("--config", metavar="FILE", type=Path, help="say which plugins this configuration uses")
    parser.add_argument("--json", action="store_true", help="print a JSON list for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the list."""
    plugins = _described(arguments.config)
    if arguments.json:
        sys.stdout.write(json.dumps([dataclasses.asdict(plugin) for plugin in plugins], indent=2) + "\n")
    elif plugins:
        sys.stdout.writelines(f"{line}\n" for line in _table([HEADINGS, *chain.from_iterable(map(_rows, plugins))]))
    else:
        sys.stdout.write("no plugins are installed\n")
    return 0


def _described(path: Path | None) -> list[PluginDescription]:
    if path is None:
        return describe_plugins(None, Path())
    config_file = ConfigFile.read(path)
    return describe_plugins(list(config_file.plugin_entries.values()), config_file.directory)


def _rows(plugin: PluginDescription) -> Iterator[tuple[str, ...]]:
    """Yield a row, and one more for each further reason why the plugin is broken."""
    hooks = ", ".join(hook.removeprefix(HOOK_PREFIX) for hook in plugin.hooks)
    first, *others = plugin.reasons or (hooks,)
    source = plugin.distribution or plugin.path or "-"
    yield plugin.name, plugin.version or "-", source, plugin.status, first
    for reason in others:
        yield "", "", "", "", reason


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
