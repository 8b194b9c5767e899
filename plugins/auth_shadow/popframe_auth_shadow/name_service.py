"""Asks the C library for users: getpwnam_r(3) and getspnam_r(3), so that every source in nsswitch.conf(5) counts.

The module ``spwd`` is gone since Python 3.13, and ``pwd`` calls a source that failed a user who does not exist.

Rule of this file: "there is no such user" is said only when it is known. The C library is no help there: where another
source is listed behind the files (``files systemd``), a file that cannot be read is passed over without a word. So the
file itself is read before a user is called unknown, and must not have the user either.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from popframe import ConfigError
from popframe_auth_shadow.account_state import PasswdEntry, ShadowEntry, SystemUser

PASSWD_FILE = Path("/etc/passwd")
"""Where the C library's source ``files`` has it; the path is compiled in."""

SHADOW_FILE = Path("/etc/shadow")
"""The same for the hashes."""

HOW_TO_READ = "the server must run as a user who may read it (for shadow, on Debian: a member of the group shadow)"
"""What an operator can do about it."""

MAX_NAME_OCTETS = 255
"""LOGIN_NAME_MAX of Linux less the NUL at its end (limits.h)."""

FIRST_BUFFER_OCTETS = 1024
"""Room for the texts of an entry: what sysconf(3) has for _SC_GETPW_R_SIZE_MAX, and ample for most."""

MAX_BUFFER_OCTETS = 1_048_576
"""No entry is longer; without a bound, a source that always asks for more would have all memory."""


class NameServiceError(Exception):
    """A source of users cannot be asked now; the message says which, and why."""


class _Passwd(ctypes.Structure):
    """``struct passwd`` of Linux (pwd.h)."""

    _fields_: ClassVar[Any] = (
        ("name", ctypes.c_char_p),
        ("stored", ctypes.c_char_p),
        ("uid", ctypes.c_uint32),
        ("gid", ctypes.c_uint32),
        ("gecos", ctypes.c_char_p),
        ("home", ctypes.c_char_p),
        ("shell", ctypes.c_char_p),
    )


class _Shadow(ctypes.Structure):
    """``struct spwd`` of Linux (shadow.h)."""

    _fields_: ClassVar[Any] = (
        ("name", ctypes.c_char_p),
        ("stored", ctypes.c_char_p),
        ("last_change_day", ctypes.c_long),
        ("min_days", ctypes.c_long),
        ("max_days", ctypes.c_long),
        ("warn_days", ctypes.c_long),
        ("inactive_days", ctypes.c_long),
        ("expire_day", ctypes.c_long),
        ("flag", ctypes.c_ulong),
    )


class NameService:
    """The users of the machine, as they are when they are asked for; any number of threads may ask."""

    def __init__(self, first_buffer_octets: int = FIRST_BUFFER_OCTETS) -> None:
        """Find the functions.

        Args:
            first_buffer_octets: Room for the texts of an entry, to begin with.

        Raises:
            ConfigError: This machine's C library does not have them.
        """
        self._buffer_octets = first_buffer_octets
        library = ctypes.CDLL(None)  # a call through it lets other threads run
        try:
            self._getpwnam_r = library.getpwnam_r
            self._getspnam_r = library.getspnam_r
        except AttributeError as error:
            raise ConfigError(f"the C library of this machine knows no shadow passwords: {error}") from error
        for function in (self._getpwnam_r, self._getspnam_r):
            function.restype = ctypes.c_int
            function.argtypes = [
                ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
            ]  # fmt: skip

    def find(self, username: str) -> SystemUser | None:
        """Return what the machine says of a user; None when it has no such user.

        Raises:
            NameServiceError: A source cannot be asked. The same for every name: this does not tell who exists.
        """
        name = _octets(username)
        if name is None:
            return None
        passwd = self._passwd(name)
        shadow = self._shadow(name if passwd is None else passwd.name.encode("utf-8", "surrogateescape"))
        return None if passwd is None else SystemUser(passwd, shadow)

    def _passwd(self, name: bytes) -> PasswdEntry | None:
        entry = _Passwd()
        texts = self._ask(self._getpwnam_r, PASSWD_FILE, name, entry)
        if texts is None:
            return None
        return PasswdEntry(
            # A source may know the user under several names, or in any case; this is the one that is logged and locked.
            name=entry.name.decode("utf-8", "surrogateescape"),
            stored=_field(entry.stored),
            uid=entry.uid,
            gid=entry.gid,
            home=os.fsdecode(entry.home or b""),
            shell=os.fsdecode(entry.shell or b""),
        )

    def _shadow(self, name: bytes) -> ShadowEntry | None:
        entry = _Shadow()
        texts = self._ask(self._getspnam_r, SHADOW_FILE, name, entry)
        if texts is None:
            return None
        return ShadowEntry(
            stored=_field(entry.stored),
            last_change_day=_days(entry.last_change_day),
            max_days=_days(entry.max_days),
            inactive_days=_days(entry.inactive_days),
            expire_day=_days(entry.expire_day),
        )

    def _ask(self, function: Callable[..., int], path: Path, name: bytes, entry: ctypes.Structure) -> object:
        """Fill an entry.

        Returns:
            What holds the texts to which the entry points, to be kept as long as they are read; None when there is no
            entry of that name.

        Raises:
            NameServiceError: A source cannot be asked.
        """
        size = self._buffer_octets
        while True:
            texts = ctypes.create_string_buffer(size)
            found = ctypes.c_void_p()
            error = function(name, ctypes.byref(entry), texts, size, ctypes.byref(found))
            if error == errno.ERANGE and size < MAX_BUFFER_OCTETS:
                size *= 4
            elif found.value:
                return texts
            else:
                lines = read_lines(path)
                if error and not (error == errno.ENOENT and path == SHADOW_FILE and not path.exists()):
                    raise NameServiceError(f"{path.name} cannot be asked: {os.strerror(error)}")
                if any(line.startswith(name + b":") for line in lines):
                    raise NameServiceError(f"{path} has a line of this user, and the C library did not find it")
                return None


def read_lines(path: Path) -> list[bytes]:
    """Read a file of the name service. There need not be a shadow file: all hashes may be in passwd.

    Raises:
        NameServiceError: It cannot be read.
    """
    try:
        return path.read_bytes().splitlines()
    except OSError as error:
        if isinstance(error, FileNotFoundError) and path == SHADOW_FILE:
            return []
        advice = f"; {HOW_TO_READ}" if isinstance(error, PermissionError) else ""
        raise NameServiceError(f"{path} cannot be read: {error.strerror}{advice}") from error


def local_hashes() -> list[str]:
    """Return the password fields of the users in the machine's own files, locks included.

    Raises:
        NameServiceError: A file cannot be read.
    """
    lines = [line for path in (PASSWD_FILE, SHADOW_FILE) for line in read_lines(path)]
    return [_field(fields[1]) for fields in (line.split(b":") for line in lines) if len(fields) > 1]


def _octets(username: str) -> bytes | None:
    """Return a name as the C library may have it; None for one that no user can have.

    A NUL would end the name early. A line of passwd has colons between its fields, and one that begins with ``+`` or
    ``-`` stands for other sources (nsswitch.conf(5)). A slash would make a path of a name.
    """
    if not username or not username.isprintable() or not {":", "/"}.isdisjoint(username) or username[0] in "+-":
        return None
    name = username.encode()  # what is printable can be encoded
    return name if len(name) <= MAX_NAME_OCTETS else None


def _field(octets: bytes | None) -> str:
    """Return a password field; octets that no hash can have become a character that none has either."""
    return (octets or b"").decode("ascii", "replace")


def _days(number: int) -> int | None:
    """Return a number of days; the C library gives -1 for an empty field."""
    return None if number < 0 else number
