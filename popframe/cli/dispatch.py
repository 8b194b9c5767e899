"""Finds the subcommand and runs it."""

from __future__ import annotations

import argparse
import importlib
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from popframe._version import __version__
from popframe.cli import PROGRAM
from popframe.errors import ConfigError, PopframeError
from popframe.plugins.discovery import describe_error, origin_of
from popframe.suggestion import suggest

BUILT_IN = {
    "bans": "popframe.cli.bans",
    "check-config": "popframe.cli.check_config",
    "demo": "popframe.cli.demo",
    "import": "popframe.cli.import_configuration",
    "inetd": "popframe.cli.inetd",
    "list-plugins": "popframe.cli.list_plugins",
    "serve": "popframe.cli.serve",
}
"""Subcommands of the core: name and module."""

ENTRY_POINT_GROUP = "popframe.cli"
"""Where plugins name their subcommands."""

DESCRIPTION = "A POP3 server whose accounts, storage and commands are plugins."

EPILOG = """\
exit status:
  0    all is well
  1    something went wrong
  2    the command line or the configuration is wrong; each problem is a line on standard error
  130  interrupted from the keyboard

files:
  The configuration is one TOML file, named on the command line. 'popframe check-config --schema' prints its
  JSON Schema, in which every setting is described.

examples:
  popframe check-config /etc/popframe.toml
  popframe serve --config /etc/popframe.toml
  popframe serve --help
"""


def dispatch(arguments: list[str]) -> int:
    """Run what the command line asks for; return the exit status."""
    if not arguments or arguments[0].startswith("-"):
        return _run_without_command(arguments)
    name, *rest = arguments
    module = _find(name)
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} {name}",
        description=_summary(module),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    status = module.run(parser.parse_args(rest))
    if not isinstance(status, int):
        raise PopframeError(f"{name}: run() of {module.__name__} returned no exit status")
    return status


def _run_without_command(options: list[str]) -> int:
    """Take the options of ``popframe`` itself."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [--help] [--version] COMMAND [ARGUMENT ...]",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument(
        "-h", "--help", action="store_true", help="show this text; 'popframe COMMAND --help' shows that of a command"
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    if not parser.parse_args(options).help:
        parser.error(f"a command is missing{suggest('', _names(), 'commands')}")
    parser.epilog = f"{_command_list()}\n{EPILOG}"
    parser.print_help()
    return 0


def _names() -> list[str]:
    """Return the names of all subcommands; those of plugins are not imported."""
    return sorted({*BUILT_IN, *entry_points(group=ENTRY_POINT_GROUP).names})


def _command_list() -> str:
    """Return the part of the help that lists the subcommands; a broken one is told and hides no other."""
    names = _names()
    lines = ["commands:"]
    for name in names:
        try:
            summary = _summary(_find(name))
        except ConfigError as exc:
            summary = f"(cannot be used: {exc})"
        lines.append(f"  {name:<{max(map(len, names))}}  {summary}")
    return "\n".join([*lines, ""])


def _summary(module: ModuleType) -> str:
    return (module.__doc__ or "").strip().partition("\n")[0]


def _find(name: str) -> ModuleType:
    """Import the module of a subcommand.

    Raises:
        ConfigError: There is no such subcommand, or a plugin's cannot be used.
    """
    if name in BUILT_IN:
        return importlib.import_module(BUILT_IN[name])
    match tuple(entry_points(group=ENTRY_POINT_GROUP, name=name)):
        case []:
            raise ConfigError(f"{PROGRAM}: there is no command {name!r}{suggest(name, _names(), 'commands')}")
        case [entry_point]:
            return _from_plugin(entry_point)
        case several:
            raise ConfigError(f"command {name!r} is in several distributions: {', '.join(map(origin_of, several))}")


def _from_plugin(entry_point: EntryPoint) -> ModuleType:
    title = f"command {entry_point.name!r} ({origin_of(entry_point)})"
    try:
        module = entry_point.load()
    except (Exception, SystemExit) as exc:
        reason = describe_error(exc, entry_point.module, otherwise=entry_point.value)
        raise ConfigError(f"{title} cannot be imported: {reason}") from exc
    lacking = [name for name in ("add_arguments", "run") if not callable(getattr(module, name, None))]
    if not isinstance(module, ModuleType) or lacking:
        raise ConfigError(f"{title} is not a module with add_arguments and run")
    return module
