"""Show who has tried wrong passwords, and have it forgotten."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from popframe.config import AbuseSettings
from popframe.errors import ConfigError
from popframe.server import startup
from popframe.server.abuse import listing
from popframe.server.abuse.listing import Entry
from popframe.server.abuse.memory import AttemptMemory, existing_memory

DESCRIPTION = """\
Look into the file abuse.state_file, in which the server counts different wrong passwords: of each IPv4 address or IPv6
/64 network, and for each user name. The server need not run; if it does, what is cleared counts for it at once.
"""

EPILOG = """\
columns:
  ADDRESS          IPv4 address or IPv6 network; '-' for a user name, wherever it was tried
  USER             user name; '-' for an address, whatever was tried there. With both: what was tried for this user in
                   a network from which the user has logged in lately
  WRONG PASSWORDS  how many different ones are remembered
  SINCE            when the oldest of them was last tried (UTC)
  REFUSED UNTIL    until when no password from there is looked at; '-' while it is. A user name alone is never refused:
                   attempts from networks where the user is a stranger are delayed

exit status:
  0  the list was printed, or cleared
  1  the file cannot be read
  2  the configuration cannot be used, or names no file

examples:
  popframe bans list --config /etc/popframe.toml
  popframe bans list --config /etc/popframe.toml --json
  popframe bans clear --config /etc/popframe.toml 192.0.2.7
  popframe bans clear --config /etc/popframe.toml --all
"""

HEADINGS = ("ADDRESS", "USER", "WRONG PASSWORDS", "SINCE", "REFUSED UNTIL")

LONGEST_SHOWN_NAME = 40
"""Characters of a user name in the table; what a stranger sends must not push the other columns out of sight."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``popframe bans``."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    actions = parser.add_subparsers(dest="action", metavar="list|clear", required=True)
    show = actions.add_parser("list", help="show what is remembered", allow_abbrev=False)
    clear = actions.add_parser("clear", help="have it forgotten", allow_abbrev=False)
    for action in (show, clear):
        action.add_argument("--config", metavar="FILE", type=Path, required=True, help="the configuration")
    show.add_argument("--json", action="store_true", help="print a JSON list for programs")
    subject = clear.add_mutually_exclusive_group(required=True)
    subject.add_argument("subject", metavar="ADDRESS|USER", nargs="?", help="whose wrong passwords to forget")
    subject.add_argument("--all", action="store_true", help="forget all of them")


def run(arguments: argparse.Namespace) -> int:
    """Print or clear."""
    settings, memory = _opened(arguments.config)
    try:
        if arguments.action == "clear":
            sys.stdout.write(f"{listing.clear(memory, settings, arguments.subject)} cleared\n")
        else:
            _print(listing.entries(memory, settings), as_json=arguments.json)
    finally:
        memory.file.close()
    return 0


def _opened(path: Path) -> tuple[AbuseSettings, AttemptMemory]:
    """Return the settings and the file.

    Raises:
        ConfigError: The configuration cannot be used, or names no file.
        OSError: The file cannot be opened.
    """
    configuration = startup.check(path)
    settings = configuration.abuse
    if settings.state_file is None:
        raise ConfigError(
            f"{path}: abuse.state_file is not set: the list is in the server's memory alone, where nobody can see it"
        )
    return settings, existing_memory(settings.state_file, configuration.server.run_as)


def _print(entries: Sequence[Entry], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps([_for_programs(entry) for entry in entries], indent=2) + "\n")
    elif entries:
        sys.stdout.writelines(f"{line}\n" for line in _table([HEADINGS, *map(_row, entries)]))
    else:
        sys.stdout.write("no wrong passwords are remembered\n")


def _for_programs(entry: Entry) -> dict[str, object]:
    times = {"since": _time(entry.since), "until": None if entry.until is None else _time(entry.until)}
    return {**asdict(entry), "network": entry.network or None, "username": entry.username or None, **times}


def _row(entry: Entry) -> tuple[str, ...]:
    name = entry.username if len(entry.username) <= LONGEST_SHOWN_NAME else entry.username[:LONGEST_SHOWN_NAME] + "…"
    until = "-" if entry.until is None else _time(entry.until)
    return entry.network or "-", _shown(name) or "-", str(entry.wrong_passwords), _time(entry.since), until


def _shown(name: str) -> str:
    """Return a name that changes nothing in a terminal, and is one word."""
    return name if name.isprintable() and " " not in name else json.dumps(name)


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
