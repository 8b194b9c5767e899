"""The command ``popframe``: runs a subcommand, and turns what comes of it into an exit status.

Rule of this folder: one module for each subcommand, thin, and imported only when it is asked for. Its docstring's first
line is the summary; ``add_arguments(parser)`` adds options and may set ``parser.description`` and ``parser.epilog``;
``run(arguments)`` returns the exit status. A plugin brings one by an entry point of group ``popframe.cli`` that names
such a module. ``inetd`` alone reads its arguments itself, in ``main(arguments)``.

Rule of this file: it imports next to nothing, since ``popframe inetd`` is started for every client.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from popframe.errors import ConfigError, PopframeError

PROGRAM = "popframe"

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
"""128 and SIGINT, as a shell has it."""
EXIT_BROKEN_PIPE = 141
"""128 and SIGPIPE: whoever read the output has seen enough."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        arguments: What stands behind the program's name; None for this process's own.

    Raises:
        SystemExit: From argparse, after help or a wrong option.
    """
    _open_standard_streams()
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["inetd"]:
        from popframe.cli import inetd

        _leave(inetd.main(words[1:]))
    try:
        from popframe.cli.dispatch import dispatch

        try:
            return dispatch(words)
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


def _leave(status: int) -> NoReturn:
    """End the process at once: nobody gains by an interpreter that first takes itself apart."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _discard_output() -> None:
    """Let what is still buffered go nowhere, or the interpreter would try it again and complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
