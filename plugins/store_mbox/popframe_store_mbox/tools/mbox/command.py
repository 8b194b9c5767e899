"""Explain what the server makes of an mbox file, and make the index beside it anew."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from popframe import ConfigError, PermanentFailure, Refusal
from popframe_store_mbox.file import FileState
from popframe_store_mbox.tools.configuration import place_of, read_configuration
from popframe_store_mbox.tools.mbox.check import MboxCheck, MessageReport
from popframe_store_mbox.tools.mbox.finding import CHANGED, Finding
from popframe_store_mbox.tools.mbox.index import drop_index, rebuild_index
from popframe_store_mbox.tools.mbox.lines import FileChangedError
from popframe_store_mbox.tools.mbox.report import JsonOutput, Output, Summary, TextOutput
from popframe_store_mbox.tools.text import printable_path

EXIT_NOTHING_ODD = 0
EXIT_ODD = 1
EXIT_DONE = 0
EXIT_NOT_DONE = 1
EXIT_USAGE = 2

DESCRIPTION = "Look into mbox files as the server does."

CHECK_DESCRIPTION = """\
Go through an mbox file and tell, for each message, what the server makes of
it: its number, where in the file it begins, its size in octets as it is sent,
its unique-id and its From_ line; and whatever is odd about it.

Odd is what somebody may have to mend, or what another program may take for
something else:
  - octets before the first From_ line: such a file is no mbox file, and the
    server refuses it
  - no blank line before a From_ line
  - a header that does not begin with a field: often this is the rest of a
    message that was torn apart at a line which looks like a From_ line
  - a header without an end, an empty message
  - a Content-Length that is not believed, and what is found where it points
  - a From_ line in a text, which only a Content-Length protects
  - a line of text that begins with 'From ', and what it lacks
  - NUL octets, CR without LF, lines with LF and with CRLF in one message, lines
    over 998 octets, a last line without a line end
  - the From_ line and header of an earlier message: a copy, whose unique-id has
    a suffix
Notes are told beside that: a Content-Length that is believed, lines quoted as
'>From ', the hidden pseudo message of an IMAP server, blank lines at the
beginning.

No lock is taken and nothing is changed, not even the time of the last access
where the system allows that. If another program writes to the file meanwhile,
this is told, and what was found may be wrong: look again.
"""

CHECK_EPILOG = """\
output:
  Messages about which something is odd, then a summary of all that was found,
  notes included.

  With --json one object a line: first each message ("message", "offset",
  "line", "octets", "uid", "from_line", "findings"), then {"summary": ...}.
  A finding has "kind", "odd", "count", "offset" and "line" of the first place,
  and "text". Offsets count from 0, lines and messages from 1.

exit status:
  0  nothing is odd; notes do not count
  1  something is odd, or the file changed while it was read
  2  the command line is wrong, or the file cannot be read

examples:
  popframe mbox check /var/mail/alice
  popframe mbox check --messages ~/mbox | less
  popframe mbox check --json ~/mbox | jq -r '.findings[]?.kind' | sort | uniq -c
"""

INDEX_DESCRIPTION = """\
Make the index beside a spool anew: what the server keeps of its last scan, so
that the next login need not read the spool. It is only a cache. The server
finds damage by itself and needs nobody to run this; it is for a spool that was
restored or moved, so that the first login is as quick as the others, and for
whoever would rather be certain.

Run it as the user that the sessions are; an index of another user is not used.
No session may be open meanwhile. The spool is not changed.
"""

INDEX_EPILOG = """\
exit status:
  0  done
  1  not done: a session is open, or the spool cannot be opened
  2  the command line or the configuration is wrong, or there is no such
     directory

examples:
  runuser -u popframe -- popframe mbox index --config /etc/popframe.toml /srv/mail/alice
  popframe mbox index --drop ~/mbox
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``popframe mbox`` and their options."""
    parser.description = DESCRIPTION
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="explain a file message by message, and what is odd about it",
        description=CHECK_DESCRIPTION,
        epilog=CHECK_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    check.add_argument("path", metavar="PATH", type=Path, help="the mbox file")
    check.add_argument("--messages", action="store_true", help="tell of all messages, not only of the odd ones")
    check.add_argument("--json", action="store_true", help="write JSON, one object a line")
    check.set_defaults(act=_run_check)
    index = actions.add_parser(
        "index",
        help="make the index beside a spool anew, or remove it",
        description=INDEX_DESCRIPTION,
        epilog=INDEX_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    index.add_argument("path", metavar="PATH", type=Path, help="the spool")
    index.add_argument("--config", metavar="FILE", type=Path, help="the configuration; default: that of the plugin")
    index.add_argument("--drop", action="store_true", help="remove it, and make no new one")
    index.set_defaults(act=_run_index)


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says; return the exit status."""
    status: int = arguments.act(arguments)
    return status


def _run_index(arguments: argparse.Namespace) -> int:
    """Make the index, or remove it."""
    settings = read_configuration(arguments.config).settings
    try:
        place = place_of(arguments.path, settings)
    except (ConfigError, PermanentFailure) as error:
        sys.stderr.write(f"popframe mbox: {error}\n")
        return EXIT_USAGE
    try:
        done = drop_index(place) if arguments.drop else rebuild_index(place, settings)
    except Refusal as error:
        sys.stderr.write(f"popframe mbox: {error}\n")
        return EXIT_NOT_DONE
    except OSError as error:
        sys.stderr.write(f"popframe mbox: {printable_path(error.filename or arguments.path)}: {error.strerror}\n")
        return EXIT_NOT_DONE
    sys.stdout.write(f"{done}\n")
    return EXIT_DONE


def _run_check(arguments: argparse.Namespace) -> int:
    """Check the file; return the exit status."""
    path: Path = arguments.path
    try:
        fd = _open(path)
    except OSError as error:
        return _complain(path, error)
    try:
        return _check(fd, path, JsonOutput() if arguments.json else TextOutput(), tells_all=arguments.messages)
    except _UnreadableError as error:
        return _complain(path, error.reason)
    finally:
        os.close(fd)


def _complain(path: Path, error: OSError) -> int:
    sys.stderr.write(f"popframe mbox: {printable_path(path)}: {error.strerror or error}\n")
    return EXIT_USAGE


def _open(path: Path) -> int:
    """Open the file for reading, so that shells and mail checkers still take it for unread.

    Raises:
        OSError: It cannot be opened, or is not a regular file.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:  # only its owner may leave the time of the last access alone
        fd = os.open(path, flags)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError("is not a regular file")


class _UnreadableError(Exception):
    """The file cannot be read; not to be taken for an error in writing the output."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _check(fd: int, path: Path, output: Output, *, tells_all: bool) -> int:
    """Go through the file and write what was found; return the exit status."""
    state = FileState.of(fd)
    summary = Summary(printable_path(path), state.size)
    for report in _reports(fd, state.size, summary):
        summary.add_message(report)
        if report.is_odd or tells_all:
            output.write_message(report)
    if _has_changed(fd, path, state):
        text = "another program wrote to the file while it was read: what was found may be wrong, so look again"
        summary.add_findings([Finding(CHANGED, 1, 0, 1, text)])
    output.write_summary(summary)
    return EXIT_ODD if summary.is_odd else EXIT_NOTHING_ODD


def _reports(fd: int, size: int, summary: Summary) -> Iterator[MessageReport]:
    """Yield what was found about each message, and add what was found about the file; end where it was changed.

    Raises:
        _UnreadableError: It cannot be read on.
    """
    try:
        check = MboxCheck(fd, size)
        summary.add_findings(check.findings)
        yield from check.reports()
    except FileChangedError:
        return  # which its state tells too
    except OSError as exc:
        raise _UnreadableError(exc) from exc


def _has_changed(fd: int, path: Path, state: FileState) -> bool:
    """Tell whether the file, or what the path leads to, is not as it was."""
    try:
        return FileState.of(fd) != state or not os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return True
