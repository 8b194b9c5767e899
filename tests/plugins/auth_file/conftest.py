"""Users of a password file, and the plugin that reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from popframe import Account, PlainCredentials
from popframe_auth_file import AuthFile, AuthFileSettings

PASSWORD = b"correct horse"
QUICK_HASH = "$2b$05$mJ8QEK.Zxv2G5Nih7e6uwuKqhXfJ8Y3mdtBdR3FM2Xt.orIzRJ74K"

Authenticate = Callable[[str, bytes], Account | None]
StampOf = Callable[[Path], tuple[int, ...]]


@pytest.fixture
def stamp_of() -> StampOf:
    """Return a function that tells all that stat(2) has about a file, except when it was read."""

    def stamp_of(path: Path) -> tuple[int, ...]:
        status = path.stat()
        times = status.st_mtime_ns, status.st_ctime_ns
        return status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_size, *times

    return stamp_of


@pytest.fixture
def password() -> bytes:
    """Return the password that belongs to ``quick_hash``."""
    return PASSWORD


@pytest.fixture
def quick_hash() -> str:
    """Return a bcrypt hash of ``password`` that takes 2 ms."""
    return QUICK_HASH


@pytest.fixture
def users_path(tmp_path: Path) -> Path:
    """Return the path of a password file with alice, whose password is ``password``."""
    path = tmp_path / "users"
    path.write_text(f"alice:{QUICK_HASH}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def authenticate(users_path: Path) -> Authenticate:
    """Return the plugin's hook, started on ``users_path``."""
    plugin = AuthFile(AuthFileSettings(path=users_path))

    def authenticate(username: str, password: bytes) -> Account | None:
        return plugin.popframe_authenticate(PlainCredentials(username, password))

    return authenticate
