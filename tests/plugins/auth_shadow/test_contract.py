"""The promises of every authenticator, kept by auth_shadow."""

from __future__ import annotations

import pytest

from popframe.testing import AuthenticatorContract, SystemUsers
from popframe_auth_shadow import AuthShadow, AuthShadowSettings


@pytest.fixture(scope="class")
def known_users(users: SystemUsers, request: pytest.FixtureRequest) -> None:
    """Make the user of a contract, and some more, so that hashes of this cost are the commonest on the machine."""
    contract = request.cls
    assert contract is not None
    for name in [contract.username, *(users.new_name() for _ in range(3))]:
        users.add(name=name)
        users.run("chpasswd", "--crypt-method", "YESCRYPT", stdin=f"{name}:{contract.password.decode()}\n")


@pytest.mark.usefixtures("known_users")
class TestAuthShadow(AuthenticatorContract):
    """With the settings that most sites have."""

    username = SystemUsers.new_name()

    @pytest.fixture
    def plugin(self) -> AuthShadow:
        """Return the plugin."""
        return AuthShadow(AuthShadowSettings())


@pytest.mark.usefixtures("known_users")
class TestAuthShadowWithoutCache(AuthenticatorContract):
    """Computing every hash."""

    username = SystemUsers.new_name()

    @pytest.fixture
    def plugin(self) -> AuthShadow:
        """Return the plugin."""
        return AuthShadow(AuthShadowSettings(cache_verified_passwords=False))
