"""The promises of every authenticator, kept by auth_shadow."""

from __future__ import annotations

import pytest

from popframe import hash_password
from popframe.testing import AuthenticatorContract, SystemUsers
from popframe_auth_shadow import AuthShadow, AuthShadowSettings


@pytest.fixture(scope="class")
def known_users(users: SystemUsers, request: pytest.FixtureRequest) -> None:
    """Make the users of a contract: one who can log in, and one who is locked."""
    contract = request.cls
    assert contract is not None
    users.add(name=contract.closed_username)
    users.run("chpasswd", "--encrypted", stdin=f"{contract.closed_username}:!{hash_password(contract.password)}\n")
    users.add(name=contract.username)
    users.run("chpasswd", "--encrypted", stdin=f"{contract.username}:{hash_password(contract.password)}\n")


@pytest.mark.usefixtures("known_users", "typical_users")
class TestAuthShadow(AuthenticatorContract):
    """With the settings that most sites have."""

    username = SystemUsers.new_name()
    closed_username = SystemUsers.new_name()

    @pytest.fixture
    def plugin(self) -> AuthShadow:
        """Return the plugin."""
        return AuthShadow(AuthShadowSettings())


@pytest.mark.usefixtures("known_users", "typical_users")
class TestAuthShadowWithoutCache(AuthenticatorContract):
    """Computing every hash."""

    username = SystemUsers.new_name()
    closed_username = SystemUsers.new_name()

    @pytest.fixture
    def plugin(self) -> AuthShadow:
        """Return the plugin."""
        return AuthShadow(AuthShadowSettings(cache_verified_passwords=False))
