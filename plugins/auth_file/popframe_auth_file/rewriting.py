"""Replacing the password file at one instant.

Rule of this file: whoever reads the password file, and whenever the machine stops, finds the old or the new content
whole. Writers take turns: each holds flock(2) on the file itself and makes sure that it is still the one of that name,
so that no lock file is left behind, and nobody who may not read the file can hold a writer up.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LOCK_SECONDS = 30.0
"""How long to wait for other writers; each holds the lock for milliseconds."""

LOCK_POLL_SECONDS = 0.02
"""How often to try meanwhile."""

KEPT_MODE = stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP
"""What may stay of a file's mode: its group may be how the server reads it; nobody else has any business with it."""


def rewrite(path: Path, edit: Callable[[bytes], bytes], lock_seconds: float = LOCK_SECONDS) -> os.stat_result | None:
    """Replace the content of a file.

    Owner and group stay, and the mode within 0640; a new file gets 0600.

    Args:
        path: The file; it need not exist.
        edit: Gets the content, empty for a file that does not exist, and returns the new one. It may be called again
            when another writer was faster, and it may raise to leave everything as it is.
        lock_seconds: How long to wait for other writers.

    Returns:
        What the file was before; None when it is new.

    Raises:
        ValueError: The path names something else than a regular file.
        OSError: It cannot be read or written; the old file stays.
        TimeoutError: Other writers hold the lock all the time.
    """
    if not path.name:
        raise ValueError(f"{path} is a folder")
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while True:
            with _locked(path, folder, lock_seconds) as descriptor:
                status = None if descriptor is None else os.fstat(descriptor)
                content = edit(b"" if descriptor is None else _read(descriptor))
                with _written_beside(path.name, folder, content, status) as temporary:
                    if _put_in_place(temporary, path.name, folder, is_new=status is None):
                        os.fsync(folder)
                        return status
    finally:
        os.close(folder)


@contextlib.contextmanager
def _locked(path: Path, folder: int, seconds: float) -> Iterator[int | None]:
    """Open the file and keep other writers out; None when there is no such file."""
    deadline = time.monotonic() + seconds
    while True:
        descriptor = _open(path, folder)
        try:
            if descriptor is not None:
                _lock(descriptor, deadline, path)
            if descriptor is None or _is_named(descriptor, path.name, folder):
                yield descriptor
                return
        finally:
            if descriptor is not None:
                os.close(descriptor)


def _open(path: Path, folder: int) -> int | None:
    # A symbolic link is not followed: in a folder of somebody else it could lead root anywhere.
    # O_RDWR, since NFS gives an exclusive lock for nothing less; O_NONBLOCK, lest a pipe hold us up.
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path.name, flags, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if path.is_symlink():
            raise ValueError(f"{path} is a symbolic link; name the file it leads to: {path.readlink()}") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{path} is not a regular file")
    return descriptor


def _lock(descriptor: int, deadline: float, path: Path) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"another process keeps {path} locked") from error
            time.sleep(LOCK_POLL_SECONDS)
        else:
            return


def _is_named(descriptor: int, name: str, folder: int) -> bool:
    """Tell whether the file is still the one of that name: the writer before us has put another in its place."""
    try:
        named = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(descriptor))


def _read(descriptor: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        return file.read()


@contextlib.contextmanager
def _written_beside(name: str, folder: int, content: bytes, status: os.stat_result | None) -> Iterator[str]:
    """Write a temporary file that is on disk and has the right owner and mode; what is left of it goes at the end."""
    temporary = f".{name}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with _explained("no file can be made beside it"):
        descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        with open(descriptor, "wb") as file:
            if status is not None:
                mine = os.fstat(descriptor)
                if (mine.st_uid, mine.st_gid) != (status.st_uid, status.st_gid):
                    with _explained("its owner and group cannot be kept"):
                        os.fchown(descriptor, status.st_uid, status.st_gid)
                os.fchmod(descriptor, status.st_mode & KEPT_MODE)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Say what the system refuses, where its own words would be taken for something about the file itself."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{what}: {error.strerror}") from error


def _put_in_place(temporary: str, name: str, folder: int, *, is_new: bool) -> bool:
    """Give the temporary file its name; False when another writer has just made the file that was not there."""
    if not is_new:
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        return True
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        return False
    return True
