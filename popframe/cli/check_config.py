"""Check a configuration file and report every mistake in it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from popframe.config import ConfigFile, dump, json_schema
from popframe.errors import ConfigError
from popframe.plugins import find_plugins
from popframe.plugins.discovery import installed_plugins
from popframe.server import startup

DESCRIPTION = """\
Read a configuration file as the server would, import its plugins, check every value, and start the plugins, so that a
mistake in the files that they read is found too; so are mistakes in certificates, and in abuse.state_file. Nothing is
listened on, no mail is read. All mistakes are told at once, each as 'file:line: table.key: what is wrong'.

Run it as the user that the server runs as: plugins may read files that only this user, or only root, can read.
"""

EPILOG = """\
exit status:
  0  no mistake was found
  2  the configuration cannot be used; each problem is a line on standard error

examples:
  popframe check-config /etc/popframe.toml
  popframe check-config --dump /etc/popframe.toml         what is in effect, defaults filled in
  popframe check-config --schema > popframe.schema.json   then begin the file with
                                                          #:schema ./popframe.schema.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``popframe check-config``."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", help="the configuration, a TOML file")
    parser.add_argument(
        "--settings-only",
        action="store_true",
        help="do not start the plugins: check this file alone, not the files that plugins and the server read",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument(
        "--dump", action="store_true", help="print the configuration in effect as TOML; secrets are masked"
    )
    output.add_argument(
        "--schema",
        action="store_true",
        help="print the JSON Schema of the file and its plugins, without FILE of all installed plugins",
    )
    parser.set_defaults(usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Check, and print what was asked for."""
    if arguments.schema:
        sys.stdout.write(_schema(arguments.file))
        return 0
    if arguments.file is None:
        arguments.usage_error("FILE is missing")
    configuration = startup.check(arguments.file) if arguments.settings_only else startup.load(arguments.file)
    sys.stdout.write(dump(configuration) if arguments.dump else f"{arguments.file}: no problems found\n")
    return 0


def _schema(path: Path | None) -> str:
    """Return the JSON Schema; mistakes in the file's values do not matter for it."""
    if path is None:
        plugins, _ = find_plugins(sorted(installed_plugins()), Path())  # a broken one has no table to describe
    else:
        config_file = ConfigFile.read(path)
        plugins, problems = find_plugins(list(config_file.plugin_entries.values()), config_file.directory)
        if problems:
            raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    models = {name: plugin.settings_model for name, plugin in plugins.items()}
    return json.dumps(json_schema(models), indent=2) + "\n"
