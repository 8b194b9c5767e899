"""The command ``popframe``: finds the subcommand and runs it.

Rule of this folder: one module for each subcommand, thin, and imported only when it is asked for. Its docstring's first
line is the summary; ``add_arguments(parser)`` adds options and may set ``parser.description`` and ``parser.epilog``;
``run(arguments)`` returns the exit status. A plugin brings one by an entry point of group ``popframe.cli`` that names
such a module. ``inetd`` alone reads its arguments itself, in ``main(arguments)``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from popframe._version import __version__
from popframe.errors import ConfigError, PopframeError
from popframe.plugins.discovery import describe_error, origin_of
from popframe.suggestion import suggest

PROGRAM = "popframe"

BUILT_IN = {
    "check-config": "popframe.cli.check_config",
    "demo": "popframe.cli.demo",
    "inetd": "popframe.cli.inetd",
    "list-plugins": "popframe.cli.list_plugins",
    "serve": "popframe.cli.serve",
}
"""Subcommands of the core: name and module."""

ENTRY_POINT_GROUP = "popframe.cli"
"""Where plugins name their subcommands."""

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
"""128 and SIGINT, as a shell has it."""
EXIT_BROKEN_PIPE = 141
"""128 and SIGPIPE: whoever read the output has seen enough."""

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        arguments: What stands behind the program's name; None for this process's own.

    Raises:
        SystemExit: From argparse, after help or a wrong option.
    """
    _open_standard_streams()
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["inetd"]:  # nothing but what it needs is imported, and standard error may be a client
        from popframe.cli import inetd

        return inetd.main(words[1:])
    try:
        try:
            return _dispatch(words)
        finally:
            sys.stdout.flush()  # here, where a failure can still be told
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return EXIT_BROKEN_PIPE
    except ConfigError as exc:
        sys.stderr.write(f"{exc}\n")
        return EXIT_USAGE
    except (PopframeError, OSError) as exc:
        _discard_output()
        sys.stderr.write(f"{PROGRAM}: {exc}\n")
        return EXIT_FAILED


def main_inetd() -> int:
    """Run ``popframe inetd``: a command of one word, for lines of inetd.conf that name popper as the first argument."""
    return main(["inetd", *sys.argv[1:]])


def _open_standard_streams() -> None:
    """Let closed standard descriptors lead nowhere, or the next socket or file would become standard output."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest free number: this descriptor
            setattr(sys, name, os.fdopen(null, mode, closefd=null != descriptor))


def _discard_output() -> None:
    """Let what is still buffered go nowhere, or the interpreter would try it again and complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _dispatch(arguments: list[str]) -> int:
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
