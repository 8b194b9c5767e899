"""Serve the one client on standard input, started by inetd, xinetd or systemd.

Rule of this file: most of the server is imported only when the client's connection is in safety, so that a broken
installation is told to the log and not to the client.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from popframe.errors import ConfigError, PermanentFailure, PopframeError, Refusal, TemporaryFailure
from popframe.server import log
from popframe.server.arrival import turn_away
from popframe.server.inetd.client import Client, ClientGone, take_client

PROGRAM = "popframe inetd"

DEFAULT_CONFIGURATION = Path("/etc/popframe.toml")
"""What an old line of inetd.conf, which names no configuration, gets."""

EXIT_FAILED = 1
EXIT_USAGE = 2

EPILOG = """\
popper's switches stand for settings, and come before what the configuration says:
  -d          log.level = "debug", and a line 'command' for each command with the first line of its reply;
              passwords are masked, messages are not shown
  -t FILE     the same, and the log is appended to FILE instead of going to log.target
  -s          log.level at least "info": the line 'session-ended' has the statistics
  -b DIR      plugin.bulletin.folder, when the plugin bulletin is listed
  -T SECONDS  server.idle_timeout_seconds, with allow_short_idle_timeout = true; 0: the longest, a day

The command popframe-inetd is the same as 'popframe inetd': a line of inetd.conf for popper works with its path alone
changed, when the configuration is in /etc/popframe.toml.

exit status:
  0  the session is over, however it ended
  1  something went wrong before it began; the client was told, the log says what
  2  the command line or the configuration is wrong, or standard input is not a client's connection

examples:
  pop3 stream tcp nowait root /opt/popframe/bin/popframe popframe inetd --config /etc/popframe.toml
  pop3 stream tcp nowait root /opt/popframe/bin/popframe-inetd popper -s -T 600
  systemd-socket-activate --inetd --accept --listen=127.0.0.1:1110 popframe inetd --config popframe.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``popframe inetd``."""
    parser.epilog = EPILOG
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=DEFAULT_CONFIGURATION,
        help="the configuration, a TOML file (default: %(default)s)",
    )
    parser.add_argument("--tls", action="store_true", help="the client speaks TLS from the first octet, as on port 995")
    parser.add_argument("-d", dest="debug", action="store_true", help="trace the commands in the log")
    parser.add_argument("-t", dest="trace_file", metavar="FILE", type=Path, help="trace, and write the log to FILE")
    parser.add_argument("-s", dest="statistics", action="store_true", help="log what the session did")
    parser.add_argument(
        "-b", dest="bulletins", metavar="DIR", type=Path, help="folder of bulletins, for the plugin bulletin"
    )
    parser.add_argument(
        "-T", dest="idle_seconds", metavar="SECONDS", type=_seconds, help="seconds without a command; 0: a day"
    )


def _seconds(text: str) -> int:
    from popframe.config.settings import MAX_TIMEOUT_SECONDS

    seconds = int(text) if text.isascii() and text.isdecimal() else -1
    if not 0 <= seconds <= MAX_TIMEOUT_SECONDS:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to {MAX_TIMEOUT_SECONDS}")
    return seconds


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints can go to a log: nobody reads standard error under inetd."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError with the message."""
        raise ConfigError(f"{PROGRAM}: {message}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the client and return the exit status.

    Unlike that of other subcommands, the command line is read here: a mistake in it is nothing for the client's eyes.

    Args:
        arguments: What stands behind the program's name; None for this process's own.

    Raises:
        SystemExit: From argparse, after help.
    """
    gc.disable()  # until the session begins: what is imported stays, and looking through it again and again takes time
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        client = take_client()
    except ClientGone as gone:
        _complain(gone)
        return 0
    except ConfigError as error:
        _complain(_usage_error(words) or error)
        return EXIT_USAGE
    return _serve(client, words)


def _serve(client: Client, words: list[str]) -> int:
    try:
        from popframe.server.inetd.process import serve_client
        from popframe.server.inetd.switches import Switches

        options = _options(words)
        switches = Switches(
            is_traced=options.debug or options.trace_file is not None,
            trace_file=options.trace_file,
            has_statistics=options.statistics,
            bulletin_directory=options.bulletins,
            idle_seconds=options.idle_seconds,
            speaks_tls=options.tls,
        )
        serve_client(client, options.config, switches)
    except ConfigError as error:
        _refuse(client, PermanentFailure(), [{"reason": line} for line in str(error).splitlines()])
        _complain(error)
        return EXIT_USAGE
    except Exception as error:
        trace = traceback.format_exc()
        _refuse(client, TemporaryFailure(), [{"reason": f"{type(error).__name__}: {error}", "trace": trace}])
        sys.stderr.write(trace)
        return EXIT_FAILED
    return 0


def _usage_error(words: list[str]) -> ConfigError | None:
    """Return what is wrong with the command line; somebody at a terminal may also want help."""
    try:
        _options(words)
    except ConfigError as error:
        return error
    return None


def _options(words: list[str]) -> argparse.Namespace:
    parser = _Parser(
        prog=PROGRAM,
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(parser)
    return parser.parse_args(words)


def _refuse(client: Client, refusal: Refusal, reasons: list[dict[str, object]]) -> None:
    """Tell the client that it cannot be served, and the log why."""
    turn_away(client.transport, refusal)
    if not log.is_set_up():  # the configuration could not say where
        log.set_up_syslog_or_none()
    for reason in reasons:
        log.log_event("start-refused", {"address": client.peer.address or "-", **reason}, logging.ERROR)


def _complain(error: PopframeError) -> None:
    sys.stderr.write(f"{error}\n")
