"""Virtual users from a password file."""

from __future__ import annotations

from popframe_auth_file.plugin import AuthFile, AuthFileSettings

__all__ = ["AuthFile", "AuthFileSettings"]
