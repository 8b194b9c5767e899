"""The promises of every authenticator, kept by auth_file."""

from __future__ import annotations

from pathlib import Path

import pytest

from popframe import hash_password
from popframe.testing import AuthenticatorContract
from popframe_auth_file import AuthFile, AuthFileSettings

CLOSED_USERNAME = "bob"


@pytest.fixture
def users_path(users_path: Path) -> Path:
    """Return the path of the password file, with a user who is locked."""
    with users_path.open("a") as file:
        file.write(f"{CLOSED_USERNAME}:!\n")
    return users_path


class TestAuthFile(AuthenticatorContract):
    """With the settings that most sites have."""

    password = b"correct horse"
    closed_username = CLOSED_USERNAME

    @pytest.fixture
    def plugin(self, users_path: Path) -> AuthFile:
        """Return the plugin with one user, who has a quick hash, and one who is locked."""
        return AuthFile(AuthFileSettings(path=users_path))


class TestAuthFileWithoutCache(AuthenticatorContract):
    """Computing every hash."""

    password = b"correct horse"
    closed_username = CLOSED_USERNAME

    @pytest.fixture
    def plugin(self, users_path: Path) -> AuthFile:
        """Return the plugin with one user, who has a quick hash, and one who is locked."""
        return AuthFile(AuthFileSettings(path=users_path, cache_verified_passwords=False))


class TestAuthFileWithSlowHashes(AuthenticatorContract):
    """With hashes as ``popframe passwd`` makes them, slow enough to tell who exists by the time."""

    closed_username = CLOSED_USERNAME

    @pytest.fixture
    def plugin(self, tmp_path: Path) -> AuthFile:
        """Return the plugin with one user, and one who is locked."""
        path = tmp_path / "users"
        path.write_text(f"{self.username}:{hash_password(self.password)}\n{self.closed_username}:!\n")
        path.chmod(0o600)
        return AuthFile(AuthFileSettings(path=path))
