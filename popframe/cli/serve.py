"""Serve mail over POP3 until stopped."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from popframe.server.master import Master

EPILOG = """\
signals:
  SIGTERM, SIGINT  stop: sessions end without removing mail, updates that have begun are finished
  SIGHUP           read the configuration again; a bad one is refused, the log says why, the old one stays.
                   New sessions get the new configuration, sessions that run keep the old one. What is read at start
                   only: server.run_as, sockets passed by systemd, the code of installed plugins, and what a plugin
                   prepares before root is given up.

exit status:
  0  stopped by a signal
  2  the configuration cannot be used; each problem is a line on standard error

examples:
  popframe serve --config /etc/popframe.toml
  popframe check-config /etc/popframe.toml && systemctl reload popframe
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``popframe serve``."""
    parser.epilog = EPILOG
    parser.add_argument("--config", metavar="FILE", type=Path, required=True, help="the configuration, a TOML file")


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    return Master(arguments.config, when_ready=_announce).run()


def _announce(addresses: list[str]) -> None:
    """Say on standard output where clients can connect; with port 0 only this tells the port."""
    sys.stdout.write(f"listening on {', '.join(addresses)}\n")
    sys.stdout.flush()
