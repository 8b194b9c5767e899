"""What is kept, and where: five tables in one file, which is on disk or in memory alone."""

from __future__ import annotations

import errno
import logging
import os
import pwd
import secrets
import stat
import struct
import zlib
from pathlib import Path

from popframe.errors import ConfigError
from popframe.server.abuse.ledger import LEDGER_OCTETS
from popframe.server.abuse.storage import Section, SharedFile, keyed_hash
from popframe.server.abuse.trouble import Troubles
from popframe.server.log import log_event

_MAGIC = b"popframe attempts 1\n".ljust(28, b"\0")
_SALT_OCTETS = 16
_HEADER_OCTETS = 64

MARK = struct.Struct("<dI")
"""A time, in seconds since 1970, and a number."""

LEDGER_BUCKETS = 1024
"""Room for 8,192 networks that have tried wrong passwords lately; 8 MiB at most."""

USER_BUCKETS = 512
"""Room for 4,096 user names with which that was done."""

KNOWN_BUCKETS = 8192
"""Room for 65,536 pairs of a user and a network from which the user has logged in; 2 MiB."""

LOGIN_BUCKETS = 8192
"""Room for the last login of 65,536 users; 2 MiB."""

CONNECTION_BUCKETS = 2048
"""Room for 16,384 networks that have connected within a minute."""

UNUSABLE_PLACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})
"""Troubles of a disk that are no reason not to serve mail."""


class ForeignFile(Exception):
    """There is a file of something else where the tables should be."""


class AttemptMemory:
    """The tables of a server, and the keys to them.

    Attributes:
        file: Where they are; whoever uses a table holds its lock.
        troubles: What to do when they cannot be used.
        ledgers: Wrong passwords by network; for a user at home there, by network and user.
        users: Wrong passwords by user name.
        known: When a user has last logged in from a network.
        logins: When a user has last logged in.
        connections: How often a network has connected within a minute that began at some time.
    """

    def __init__(self, file: SharedFile, salt: bytes, password_key: bytes) -> None:
        """Lay the tables out.

        Args:
            file: Where they are.
            salt: Makes sure that nobody can choose names which fall into the same place.
            password_key: Made when the server starts, and written nowhere: without it, nobody can try passwords on
                what the file holds.
        """
        self.file = file
        self.troubles = Troubles()
        self._salt = salt
        self._password_key = password_key
        self.ledgers = Section(file, _HEADER_OCTETS, LEDGER_OCTETS, LEDGER_BUCKETS)
        self.users = Section(file, self.ledgers.end, LEDGER_OCTETS, USER_BUCKETS)
        self.known = Section(file, self.users.end, MARK.size, KNOWN_BUCKETS)
        self.logins = Section(file, self.known.end, MARK.size, LOGIN_BUCKETS)
        self.connections = Section(file, self.logins.end, MARK.size, CONNECTION_BUCKETS)

    def reopened(self) -> AttemptMemory:
        """Return the same for another process, behind a fork.

        Raises:
            OSError: It cannot be opened any more.
        """
        return AttemptMemory(self.file.reopened(), self._salt, self._password_key)

    def key(self, *parts: str) -> bytes:
        """Return under which key something is kept."""
        return keyed_hash(self._salt, *(part.encode("utf-8", "surrogateescape") for part in parts))

    def password_hash(self, username: str, password: bytes, octets: int) -> bytes:
        """Return what stands for a password of a user as long as the server runs."""
        return keyed_hash(self._password_key, username.encode("utf-8", "surrogateescape"), password, octets=octets)


def mark_time(payload: bytes) -> float:
    """Return what a mark weighs: the oldest gives way."""
    when: float = MARK.unpack(payload)[0]
    return when


def memory_alone() -> AttemptMemory:
    """Return tables that end with the processes that use them."""
    file = SharedFile(os.memfd_create("popframe-attempts", os.MFD_CLOEXEC))
    salt = secrets.token_bytes(_SALT_OCTETS)
    _make(file, salt, is_on_disk=False)
    return AttemptMemory(file, salt, secrets.token_bytes(32))


def memory_for(state_file: Path | None, run_as: str | None) -> AttemptMemory:
    """Return the tables of a server; what a file held before is still known.

    A file that is damaged is begun anew. When there is another file in its place, or the disk is full or broken, the
    tables are in memory alone. The log says so in either case.

    Args:
        state_file: Where they are kept; None for in memory alone.
        run_as: The user whom the file is for, if whoever calls this is root.

    Raises:
        ConfigError: The file cannot be opened, or somebody else could change it.
    """
    if state_file is None:
        return memory_alone()
    try:
        return _server_memory(state_file, run_as)
    except ForeignFile as error:
        reason = str(error)
    except OSError as error:
        if error.errno not in UNUSABLE_PLACE:
            raise _unusable(state_file, error) from error
        reason = error.strerror or str(error)
    log_event("attempts-not-kept", {"file": str(state_file), "reason": reason}, logging.ERROR)
    return memory_alone()


def check_state_file(state_file: Path | None, run_as: str | None) -> None:
    """See whether a server could keep its tables there; nothing is made, changed or locked.

    Args:
        state_file: Where they are to be; None for in memory alone.
        run_as: The user whom the file is for, if whoever calls this is root.

    Raises:
        ConfigError: It could not: it would not start, or count in memory alone.
    """
    if state_file is None:
        return
    try:
        file = _opened(state_file, run_as, os.O_RDWR)
    except FileNotFoundError:
        _check_folder(state_file)
        return
    except OSError as error:
        raise _unusable(state_file, error) from error
    try:
        if _salt(file) is None:
            _refuse_foreign(file)
    except ForeignFile as error:
        raise ConfigError(f"abuse.state_file: {state_file}: {error}, and what is counted would not be kept") from error
    except OSError as error:
        raise _unusable(state_file, error) from error
    finally:
        file.close()


def existing_memory(state_file: Path, run_as: str | None) -> AttemptMemory:
    """Open the tables that a server has made, whether it runs or not.

    Raises:
        ConfigError: It is no such file, or others could change it.
        OSError: It cannot be opened.
    """
    file = _opened(state_file, run_as, os.O_RDWR)
    salt = _salt(file)
    if salt is None:
        file.close()
        raise ConfigError(f"abuse.state_file: {state_file} is not whole; the server mends it when it starts")
    return AttemptMemory(file, salt, secrets.token_bytes(32))


def _server_memory(path: Path, run_as: str | None) -> AttemptMemory:
    file = _opened(path, run_as, os.O_RDWR | os.O_CREAT)
    try:
        with file.locked():
            salt = _salt(file) or _begun_anew(file, path)
            owner = _owner(run_as)
            file.give_to(*((-1, -1) if owner is None else (owner.pw_uid, owner.pw_gid)))
    except BaseException:
        file.close()
        raise
    return AttemptMemory(file, salt, secrets.token_bytes(32))


def _begun_anew(file: SharedFile, path: Path) -> bytes:
    """Make a file that is new or damaged one without records; return its salt.

    Raises:
        ForeignFile: It is one of something else, and must not be overwritten.
    """
    _refuse_foreign(file)
    if file.size():
        log_event("attempts-damaged", {"file": str(path)}, logging.WARNING)
    salt = secrets.token_bytes(_SALT_OCTETS)
    _make(file, salt, is_on_disk=True)
    return salt


def _refuse_foreign(file: SharedFile) -> None:
    """Leave alone what is neither new nor damaged.

    Raises:
        ForeignFile: It is one of something else, and must not be overwritten.
    """
    if file.size() not in (0, _file_octets(file)) and not file.read(0, len(_MAGIC)).startswith(_MAGIC):
        raise ForeignFile("this file is not one of popframe's: it is left alone")


def _check_folder(path: Path) -> None:
    """See that a file could be made there.

    Raises:
        ConfigError: It could not.
    """
    try:
        is_read_only = os.statvfs(path.parent).f_flag & os.ST_RDONLY
    except OSError as error:
        raise _unusable(path, error) from error
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
        number = errno.EROFS if is_read_only else errno.EACCES
        raise _unusable(path, OSError(number, os.strerror(number)))


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"abuse.state_file: cannot use {path}: {error.strerror}")


def _opened(path: Path, run_as: str | None, flags: int) -> SharedFile:
    """Open a file; refuse what is none, and what somebody else could change, or has put there."""
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    status = os.fstat(descriptor)
    owner = _owner(run_as)
    wrong = ""
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        wrong = "is not a regular file with one name"
    elif status.st_uid not in {0, os.geteuid(), *([] if owner is None else [owner.pw_uid])}:
        wrong = "belongs to another user than the server's, who could change it"
    if wrong:
        os.close(descriptor)
        raise ConfigError(f"abuse.state_file: {path} {wrong}")
    return SharedFile(descriptor)


def _owner(run_as: str | None) -> pwd.struct_passwd | None:
    """Return whom the file is for; None for whoever runs this."""
    return pwd.getpwnam(run_as) if run_as and os.geteuid() == 0 else None


def _salt(file: SharedFile) -> bytes | None:
    """Return the salt of a file whose beginning is right; None for any other."""
    header = file.read(0, _HEADER_OCTETS)
    body, checksum = header[:-4], header[-4:]
    is_right = header.startswith(_MAGIC) and zlib.crc32(body).to_bytes(4, "little") == checksum
    return header[len(_MAGIC) : len(_MAGIC) + _SALT_OCTETS] if is_right else None


def _make(file: SharedFile, salt: bytes, *, is_on_disk: bool) -> None:
    """Make a file without records; on a disk the room for all is taken now. The beginning is written last."""
    file.make_empty(_file_octets(file), takes_room=is_on_disk)
    body = (_MAGIC + salt).ljust(_HEADER_OCTETS - 4, b"\0")
    file.write(0, body + zlib.crc32(body).to_bytes(4, "little"))


def _file_octets(file: SharedFile) -> int:
    return AttemptMemory(file, b"", b"").connections.end
