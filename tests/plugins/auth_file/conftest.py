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
