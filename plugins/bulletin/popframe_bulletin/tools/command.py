"""Post bulletins, list them, and see who has them."""

from __future__ import annotations

import argparse
import re
import sys
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from pathlib import Path

from popframe import PluginConfiguration, read_plugin_configuration
from popframe_bulletin.audience import Audience
from popframe_bulletin.catalogue import Catalogue, Entry, NotSettled
from popframe_bulletin.message import BadBulletin, parse_moment
from popframe_bulletin.settings import Settings
from popframe_bulletin.tools.posting import Draft, post
from popframe_bulletin.tools.receivers import Receiver, receivers

EXIT_GOOD = 0
EXIT_FAILED = 1

PLUGIN = "bulletin"

SHOWN_CHARACTERS = 60
"""How much of a subject is shown."""

_NOT_IN_GROUPS = re.compile(r"[./\s]|[^\x21-\x7e]")

DESCRIPTION = "Post bulletins, list them, and see who has them (plugin bulletin)."

POST_DESCRIPTION = """\
Put a bulletin into the folder, under the next number: each user finds it in the
mail at the next login. With --subject, FILE is the text, in UTF-8; without it a
whole message with its header, perhaps with a From_ line. Without FILE, or with
-, standard input is read. The file is there as a whole or not at all, and the
server needs no signal.
"""

POST_EPILOG = """\
dates:
  2026-12-24, or 2026-12-24T18:00; local time unless it ends in a zone (+01:00).
  --expires with a date alone means the end of that day.

templates:
  With --template, {user}, {address}, {domain} and {number} are filled in for
  each user; a brace itself is written twice.

exit status:
  0  done
  1  failed; a message on standard error says why, and nothing was posted
  2  the command line or the configuration is wrong

examples:
  popframe bulletin post --config /etc/popframe.toml --subject 'No mail on Sunday' notice.txt
  popframe bulletin post --config /etc/popframe.toml --group staff --expires 2026-12-24 message.eml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``popframe bulletin`` and their options."""
    parser.description = DESCRIPTION
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    posting = actions.add_parser(
        "post",
        help="put a bulletin into the folder",
        description=POST_DESCRIPTION,
        epilog=POST_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    posting.add_argument("--subject", default="", help="the subject; FILE is the text alone then")
    posting.add_argument("--from", dest="sender", default="", help="who it is from (default: postmaster)")
    posting.add_argument("--group", default="", help="for the members of this group alone (needs group_bulletins)")
    posting.add_argument("--begins", metavar="DATE", type=_beginning, help="from when on it is delivered")
    posting.add_argument("--expires", metavar="DATE", type=_end, help="until when it is delivered")
    posting.add_argument("--template", action="store_true", help="fill in {user} and other variables for each user")
    posting.add_argument("file", metavar="FILE", nargs="?", default="-", help="what to post")
    listing = actions.add_parser(
        "list", help="list the bulletins of the folder", description="List the bulletins of the folder, a line each."
    )
    status = actions.add_parser(
        "status",
        help="tell who has which bulletins",
        description="Tell up to which number each user has the bulletins; or, with NUMBER, who has that one. One "
        "that is not for a user's group, or has expired, counts as had. Without state_dir it reads all home "
        "directories, which needs root.",
    )
    status.add_argument("number", metavar="NUMBER", nargs="?", type=int, help="a bulletin")
    for action in (posting, listing, status):
        action.add_argument("--config", metavar="FILE", type=Path, required=True, help="the configuration file")


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked for; return the exit status."""
    configuration = read_plugin_configuration(arguments.config, PLUGIN, Settings)
    try:
        match arguments.action:
            case "post":
                _post(arguments, configuration)
            case "list":
                _list(configuration)
            case _:
                _status(arguments.number, configuration)
    except BadBulletin as error:
        sys.stderr.write(f"popframe bulletin: {_shown(str(error))}\n")
        return EXIT_FAILED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"popframe bulletin: {_shown(f'{where}{error.strerror}')}\n")
        return EXIT_FAILED
    return EXIT_GOOD


def _post(arguments: argparse.Namespace, configuration: PluginConfiguration[Settings]) -> None:
    settings = configuration.settings
    group: str = arguments.group
    if group and not settings.group_bulletins:
        raise BadBulletin(
            "--group: set plugin.bulletin.group_bulletins = true first; until then everybody would get it"
        )
    if group and (_NOT_IN_GROUPS.search(group) or not _audience(configuration).is_known(group)):
        raise BadBulletin(f"--group: there is no group {group!r}, so nobody would get it")
    text = sys.stdin.buffer.read() if arguments.file == "-" else Path(arguments.file).read_bytes()
    draft = Draft(
        text=text,
        subject=arguments.subject,
        sender=arguments.sender,
        group=group,
        begins=arguments.begins,
        expires=arguments.expires,
        is_template=arguments.template,
    )
    path = post(draft, settings, datetime.now(UTC))
    sys.stdout.write(f"{path}\n")


def _list(configuration: PluginConfiguration[Settings]) -> None:
    catalogue = Catalogue(configuration.settings.folder, configuration.settings.max_octets)
    audience, now = _audience(configuration), datetime.now(UTC)
    for entry in catalogue.entries():
        state, subject = _state(catalogue, entry, now)
        words = [str(entry.number), audience.description(entry.group), state, entry.name, subject]
        _write("\t".join(words))
    for name in catalogue.passed_over():
        _write("\t".join(["-", "nobody", "passed over: not a plain file with a number", name, ""]))


def _state(catalogue: Catalogue, entry: Entry, now: datetime) -> tuple[str, str]:
    """Return what becomes of a bulletin, and its subject."""
    try:
        message = catalogue.message(entry)
    except NotSettled:
        return "being written", ""
    except BadBulletin as error:
        return f"bad: {error}", ""
    subject = _decoded(message.value_of(b"subject"))[:SHOWN_CHARACTERS]
    if message.expires is not None and message.expires <= now:
        return f"expired {message.expires:%Y-%m-%d %H:%M}", subject
    if message.begins is not None and message.begins > now:
        return f"begins {message.begins:%Y-%m-%d %H:%M}", subject
    return "current", subject


def _decoded(value: str) -> str:
    """Return the value of a field with its encoded words as text (RFC 2047)."""
    try:
        return str(make_header(decode_header(value)))
    except (ValueError, LookupError, HeaderParseError):  # an unknown character set, or what is no encoded word
        return value


def _status(number: int | None, configuration: PluginConfiguration[Settings]) -> None:
    for receiver in receivers(configuration):
        _write(f"{receiver.username}\t{_told(receiver, number)}")


def _told(receiver: Receiver, number: int | None) -> str:
    """Say what a user has."""
    received = receiver.received
    if receiver.problem:
        return f"not known: {receiver.problem}"
    if number is not None:
        text = "lacks it" if received is None or received.lacks(number) else "has it"
    elif received is None:
        text = "new: gets the newest at the next login"
    else:
        later = f", but for {', '.join(map(str, sorted(received.later)))}" if received.later else ""
        text = f"up to {received.last}{later}"
    return f"{text} (a delivery is under way, or ends at the next login)" if receiver.is_delivering else text


def _audience(configuration: PluginConfiguration[Settings]) -> Audience:
    settings = configuration.settings
    return Audience(settings.groups, is_restricted=settings.group_bulletins)


def _beginning(text: str) -> datetime:
    return parse_moment(text, is_end=False)


def _end(text: str) -> datetime:
    return parse_moment(text, is_end=True)


def _write(line: str) -> None:
    """Write a line that no terminal takes for an instruction."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(_shown(line).encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _shown(text: str) -> str:
    """Return text without what a terminal would obey; what is not UTF-8 in a file's name is shown by its number."""
    return "".join(
        char if char.isprintable() or char == "\t" else char.encode("unicode_escape").decode() for char in text
    )
