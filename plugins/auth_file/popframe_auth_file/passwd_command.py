"""Add, change or remove a user of a password file."""

from __future__ import annotations

import argparse
import getpass
import os
import stat
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import quote_from_bytes

from popframe import ConfigError, ScramKeys, hash_password
from popframe_auth_file.rewriting import KEPT_MODE, rewrite
from popframe_auth_file.user_file import PLAIN, SCRAM_SCHEMES, User, check_username, parse

SCHEMES = ("yescrypt", "bcrypt", "sha512crypt")
"""Those that :func:`popframe.hash_password` makes."""

NO_HASH, READABLE = "none", "plain"
"""What may stand in place of a hash: nothing, beside keys of SCRAM; or the password itself."""

LETTERS_OF_PASSWORD = "!#$&'()*+,/;<=>?@[]^`{|}\"\\"  # noqa: S105
"""Besides letters, digits and ``_.-~``, what is not percent-encoded behind ``{PLAIN}``."""

MAX_LINE_OCTETS = 4096
"""Read of standard input: more than any password may have, so that a longer one is refused and not cut short."""

DESCRIPTION = """\
Give a user of a password file (plugin auth_file) a new password; a user who is not there yet is added.

With --scram the line also gets what SCRAM needs, so that the password never has to be sent. A user who has that
already gets it anew in any case: the old password is good for nothing any more.

The password is asked for twice and not shown. When standard input is not a terminal, its first line is the password.
The file is replaced as a whole, so that a running server, which needs no signal, sees the old or the new one. Comments,
the order of lines, other users, and this user's other fields stay. Two of these commands at once wait for each other.
"""

EPILOG = """\
files:
  A file that is not there is made, with mode 0600. One that is there keeps its owner, group, and mode as far as 0640
  goes. The user that the server runs as must be able to read it: give it the file once with chown.

exit status:
  0  done
  1  failed; a message on standard error says why
  2  the command line is wrong

examples:
  popframe passwd /etc/popframe.users alice
  popframe passwd --scram /etc/popframe.users alice
  popframe passwd --delete /etc/popframe.users bob
  pwgen 20 1 | popframe passwd /etc/popframe.users alice
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``popframe passwd``."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--scheme",
        choices=(*SCHEMES, NO_HASH, READABLE),
        default=SCHEMES[0],
        help="how to hash (default: %(default)s); none: no hash, only what --scram makes; "
        "plain: the password itself, for all to read who can read the file, for APOP and CRAM-MD5",
    )
    action.add_argument("--delete", action="store_true", help="remove the user; no password is asked for")
    parser.add_argument(
        "--scram", dest="scram", action="append_const", const="scram-sha-256", help="add what SCRAM-SHA-256 needs"
    )
    parser.add_argument(
        "--scram-sha-1", dest="scram", action="append_const", const="scram-sha-1", help="the same for SCRAM-SHA-1"
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the password file")
    parser.add_argument("user", metavar="USER", type=_username, help="the user's name, as the client will send it")


def run(arguments: argparse.Namespace) -> int:
    """Change the file, unless something in it is not understood; return the exit status."""
    path: Path = arguments.file
    username: str = arguments.user
    done = "removed"

    def edit(content: bytes) -> bytes:
        nonlocal done
        user = parse(content, str(path)).get(username)
        if password is None:
            return _without(content, username, user, path)
        done = "added" if user is None else "changed"
        schemes = {*(arguments.scram or ()), *(user.scram if user is not None else ())}
        if arguments.scheme == NO_HASH and not schemes:
            raise ValueError("--scheme none leaves nothing to log in with; use --scram besides; nothing was changed")
        return _with(content, username, user, stored, _scram_words(password, schemes, made))

    made: dict[str, str] = {}
    try:
        password = None if arguments.delete else _ask(username)
        stored = "" if password is None else _hash_field(password, arguments.scheme)
        before = rewrite(path, edit)
    except ConfigError as error:
        sys.stderr.write(f"{error}\npopframe passwd: nothing was changed\n")
        return 1
    except (OSError, ValueError) as error:
        reason = f"{path}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
        sys.stderr.write(f"popframe passwd: {reason}\n")
        return 1
    _tell_mode(path, before)
    sys.stdout.write(f"{path}: user {username!r} {done}\n")
    return 0


def _tell_mode(path: Path, before: os.stat_result | None) -> None:
    """Say on standard error who may read the file now, where that is new."""
    if before is None:
        sys.stderr.write(
            f"{path} is new, mode 0600: the user that the server runs as must be able to read it (chown)\n"
        )
    elif stat.S_IMODE(before.st_mode) & ~KEPT_MODE:
        mode = stat.S_IMODE(before.st_mode)
        sys.stderr.write(f"{path} had mode {mode:04o}, now {mode & KEPT_MODE:04o}: see that the server can read it\n")


def _username(text: str) -> str:
    try:
        check_username(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _ask(username: str) -> bytes:
    """Return the new password.

    Raises:
        ValueError: It is empty, or was not typed twice the same way.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        password = _first_line()
    else:
        password = _typed(f"New password for {username}: ")
        if password and password != _typed("The same again: "):
            raise ValueError("these were two different passwords; nothing was changed")
    if not password:
        raise ValueError("an empty password is not allowed; nothing was changed")
    return password


def _first_line() -> bytes:
    line = b"" if sys.stdin is None else sys.stdin.buffer.readline(MAX_LINE_OCTETS)
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _typed(prompt: str) -> bytes:
    try:
        return getpass.getpass(prompt).encode()
    except EOFError as error:
        raise ValueError("no password was typed; nothing was changed") from error
    except UnicodeError as error:
        raise ValueError("the terminal sent what is not text in its own encoding; nothing was changed") from error


def _hash_field(password: bytes, scheme: str) -> str:
    """Return what is to stand behind the name.

    Raises:
        ValueError: The password cannot be used.
    """
    if scheme == NO_HASH:
        return ""
    if scheme != READABLE:
        return hash_password(password, scheme)
    if b"\0" in password:
        raise ValueError("a password has no NUL; nothing was changed")
    return PLAIN + quote_from_bytes(password, safe=LETTERS_OF_PASSWORD)


def _scram_words(password: bytes, schemes: Collection[str], made: dict[str, str]) -> list[str]:
    """Return what SCRAM needs, as words of a line; what was made once is kept in ``made``.

    Raises:
        ValueError: The password cannot be used with SCRAM.
    """
    for scheme in schemes:
        if scheme not in made:
            made[scheme] = f"{scheme}={ScramKeys.made(password, scheme).text}"
    return [made[scheme] for scheme in SCRAM_SCHEMES if scheme in schemes]


def _with(content: bytes, username: str, user: User | None, stored: str, scram: Sequence[str] = ()) -> bytes:
    """Return the file with the user's hash, and what SCRAM needs, added or changed."""
    if user is None:
        end_of_last_line = b"" if not content or content.endswith(b"\n") else b"\n"
        fields = f":{' '.join(scram)}" if scram else ""
        return content + end_of_last_line + f"{username}:{stored}{fields}\n".encode()
    lines = content.split(b"\n")
    line = lines[user.line - 1]
    line_end = b"\r" if line.endswith(b"\r") else b""
    name, _, *fields_of_line = line.removesuffix(b"\r").split(b":", 2)
    if user.scram or scram:
        words = [word for word in b" ".join(fields_of_line).split() if not word.startswith(b"scram-")]
        fields_of_line = [b" ".join([*words, *(word.encode() for word in scram)])]
    lines[user.line - 1] = b":".join([name, stored.encode(), *fields_of_line]) + line_end
    return b"\n".join(lines)


def _without(content: bytes, username: str, user: User | None, path: Path) -> bytes:
    """Return the file without the user's line.

    Raises:
        ValueError: There is no such user.
    """
    if user is None:
        raise ValueError(f"{path} has no user {username!r}; nothing was changed")
    lines = content.split(b"\n")
    del lines[user.line - 1]
    return b"\n".join(lines)
