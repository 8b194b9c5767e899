"""Add or change a user of a password file."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import getpass
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from popframe import ConfigError, hash_password
from popframe_auth_file.user_file import parse, parse_line

SCHEMES = ("yescrypt", "bcrypt", "sha512crypt")

EPILOG = """\
The password is asked for twice and not shown. When standard input is not a terminal, its first line is the password.
The file is replaced as a whole, so a running server sees the old or the new one; comments, the order of lines and a
user's other fields stay. A new file gets mode 0600.

exit status:
  0  done
  1  nothing was changed; the message says why

examples:
  popframe passwd /etc/popframe.users alice
  popframe passwd --delete /etc/popframe.users bob
  pwgen 20 1 | popframe passwd /etc/popframe.users alice
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``popframe passwd``."""
    parser.epilog = EPILOG
    parser.add_argument("--scheme", choices=SCHEMES, default=SCHEMES[0], help="how to hash (default: %(default)s)")
    parser.add_argument("--delete", action="store_true", help="remove the user instead")
    parser.add_argument("file", metavar="FILE", type=Path, help="the password file of auth_file")
    parser.add_argument("user", metavar="USER", help="the user's name")


def run(arguments: argparse.Namespace) -> int:
    """Change the file; return the exit status."""
    try:
        stored = None if arguments.delete else hash_password(_ask(), arguments.scheme)
        path = Path(os.path.realpath(arguments.file))
        with _locked(path):
            word = _change(path, arguments.user, stored)
    except (OSError, ValueError, ConfigError) as error:
        sys.stderr.write(f"popframe passwd: {error}\n")
        return 1
    sys.stdout.write(f"{arguments.file}: user {arguments.user!r} {word}\n")
    return 0


def _ask() -> bytes:
    """Return the new password.

    Raises:
        ValueError: It is empty, or was not typed twice the same way.
    """
    if not sys.stdin.isatty():
        password = sys.stdin.buffer.readline().rstrip(b"\r\n")
    else:
        first = getpass.getpass("New password: ")
        if first != getpass.getpass("The same again: "):
            raise ValueError("these were two different passwords; nothing was changed")
        password = first.encode("utf-8", "surrogateescape")
    if not password:
        raise ValueError("an empty password is not allowed; nothing was changed")
    return password


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep another ``popframe passwd`` out: its change must start from ours."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _change(path: Path, username: str, stored: str | None) -> str:
    """Write the file with one user added, changed or removed; say which."""
    text, status = _read(path)
    lines = text.splitlines(keepends=True)
    parse(lines, str(path))  # do not touch a file that is not understood
    at = next((place for place, line in enumerate(lines) if line.startswith(f"{username}:")), None)
    if stored is None:
        if at is None:
            raise ValueError(f"{path} has no user {username!r}; nothing was changed")
        del lines[at]
        word = "removed"
    elif at is None:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        lines.append(f"{username}:{stored}\n")
        word = "added"
    else:
        fields = lines[at].rstrip("\r\n").split(":", 2)[2:]
        lines[at] = ":".join([username, stored, *fields]) + "\n"
        word = "changed"
    if stored is not None:
        parse_line(f"{username}:{stored}")
    _replace(path, "".join(lines).encode("utf-8"), status)
    return word


def _read(path: Path) -> tuple[str, os.stat_result | None]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ValueError(f"{path} is not a regular file")
            return file.read(), status
    except FileNotFoundError:
        return "", None


def _replace(path: Path, content: bytes, status: os.stat_result | None) -> None:
    """Put the new content in place of the old at one instant, and see to it that it is on disk."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with open(descriptor, "wb") as file:
            if status is not None and (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, status.st_uid, status.st_gid)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
