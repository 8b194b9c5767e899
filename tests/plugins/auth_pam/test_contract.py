"""The promises of every authenticator, kept by auth_pam on a real account."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from popframe.testing import AuthenticatorContract
from popframe_auth_pam import AuthPam


class TestAuthPam(AuthenticatorContract):
    """With pam_unix, without its delay."""

    password = b"correct horse"

    @pytest.fixture(autouse=True)
    def names(self, users: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Ask about users whom this test process has made."""
        monkeypatch.setattr(type(self), "username", users["alice"])
        monkeypatch.setattr(type(self), "unknown_username", users["nobody"])
        monkeypatch.setattr(type(self), "closed_username", users["expired"])

    @pytest.fixture
    def plugin(self, plugin: AuthPam) -> AuthPam:
        """Return the plugin with its verifier."""
        return plugin
