"""Add, change or remove a user of a password file."""

from __future__ import annotations

import argparse
import getpass
import os
import stat
import sys
from pathlib import Path

from popframe import ConfigError, hash_password
from popframe_auth_file.rewriting import KEPT_MODE, rewrite
from popframe_auth_file.user_file import User, check_username, parse

SCHEMES = ("yescrypt", "bcrypt", "sha512crypt")
"""Those that :func:`popframe.hash_password` makes."""

MAX_LINE_OCTETS = 4096
"""Read of standard input: more than any password may have, so that a longer one is refused and not cut short."""

DESCRIPTION = """\
Give a user of a password file (plugin auth_file) a new password; a user who is not there yet is added.

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
  popframe passwd --delete /etc/popframe.users bob
  pwgen 20 1 | popframe passwd /etc/popframe.users alice
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``popframe passwd``."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--scheme", choices=SCHEMES, default=SCHEMES[0], help="how to hash (default: %(default)s)")
    action.add_argument("--delete", action="store_true", help="remove the user; no password is asked for")
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
        if stored is None:
            return _without(content, username, user, path)
        done = "added" if user is None else "changed"
        return _with(content, username, user, stored)

    try:
        stored = None if arguments.delete else hash_password(_ask(username), arguments.scheme)
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


def _with(content: bytes, username: str, user: User | None, stored: str) -> bytes:
    """Return the file with the user's hash added or changed."""
    if user is None:
        end_of_last_line = b"" if not content or content.endswith(b"\n") else b"\n"
        return content + end_of_last_line + f"{username}:{stored}\n".encode()
    lines = content.split(b"\n")
    line = lines[user.line - 1]
    name, _, *fields = line.split(b":", 2)
    line_end = b"\r" if not fields and line.endswith(b"\r") else b""
    lines[user.line - 1] = b":".join([name, stored.encode() + line_end, *fields])
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
