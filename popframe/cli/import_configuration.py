"""Print the configuration that does what another server was told to do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from popframe.migration import qpopper
from popframe.plugins.discovery import installed_plugins

DESCRIPTION = """\
Read the configuration files and the command line of a Qpopper (up to 4.1), or of the Berkeley popper before it, and
print the configuration of popframe that does the same, with a comment for each setting. What needs no setting here, and
what has no equal, stands at its end; the latter on standard error too. Nothing is changed.
"""

EPILOG = """\
What Qpopper does by default is set too, where popframe does something else by default. What was compiled into it
cannot be known: look at the spool directory, at user ids, and at who checks passwords (auth_shadow; auth_pam for a
Qpopper with PAM). What is to be done for users of APOP and of XTND XMIT stands at the end of what is printed.

exit status:
  0  everything has an equal
  1  something was left out; each is a line on standard error
  2  what is to be imported cannot be understood; each mistake is a line on standard error, and nothing is printed

examples:
  popframe import qpopper --config /etc/qpopper.conf > popframe.toml
  popframe import qpopper -- popper -s -T 600 -f /etc/qpopper.conf > popframe.toml
  popframe import qpopper --inetd-conf /etc/inetd.conf > popframe.toml
  popframe import qpopper --xinetd /etc/xinetd.d/pop-3 > popframe.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``popframe import``."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    sources = parser.add_subparsers(dest="source", metavar="qpopper", required=True)
    source = sources.add_parser(
        "qpopper",
        help="the Berkeley or Qualcomm popper",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    source.add_argument("--config", metavar="FILE", type=Path, help="a configuration file of Qpopper (its switch -f)")
    started_by = source.add_mutually_exclusive_group()
    started_by.add_argument("--inetd-conf", metavar="FILE", type=Path, help="take the line that starts it from here")
    started_by.add_argument("--xinetd", metavar="FILE", type=Path, help="take the entry that starts it from here")
    source.add_argument("--service", metavar="NAME", help="which of several lines or entries: pop3, …")
    source.add_argument("words", metavar="WORD", nargs="*", help="behind --: its command line")
    source.set_defaults(usage_error=source.error)


def run(arguments: argparse.Namespace) -> int:
    """Print the configuration."""
    invocation = None
    if arguments.inetd_conf is not None:
        invocation = qpopper.read_inetd_conf(arguments.inetd_conf, arguments.service)
    elif arguments.xinetd is not None:
        invocation = qpopper.read_xinetd(arguments.xinetd, arguments.service)
    elif arguments.config is None and not arguments.words:
        arguments.usage_error("name a file (--config, --inetd-conf, --xinetd), or write a command line behind --")
    words = [*(invocation.words if invocation else ()), *arguments.words]
    given: list[qpopper.Given] = []
    mistakes: list[str] = []
    readings: tuple[Callable[[], list[qpopper.Given]], ...] = (
        lambda: qpopper.read_command_line(words),
        lambda: _from_file(arguments.config),
    )
    for read in readings:
        try:
            given += read()
        except qpopper.BadInput as error:
            mistakes += error.mistakes
    if mistakes:
        raise qpopper.BadInput(mistakes)
    plan = qpopper.translated(given, installed_plugins(), port=invocation.port if invocation else None)
    sys.stdout.write(qpopper.toml(plan))
    sys.stdout.flush()
    for remark in plan.left_out:
        sys.stderr.write(f"left out: {remark}\n")
    return 1 if plan.left_out else 0


def _from_file(path: Path | None) -> list[qpopper.Given]:
    return [] if path is None else qpopper.read_config_file(path)
