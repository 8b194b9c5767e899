"""Real users, and the plugin that asks the machine for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from popframe import Account, PlainCredentials, is_password_hash
from popframe.testing import SystemUsers
from popframe_auth_shadow import AuthShadow, AuthShadowSettings
from popframe_auth_shadow.name_service import local_hashes

PASSWORD = b"correct horse"
YESCRYPT = "$y$j9T$8gWRjdqa6jchZteBd4G3a1$gMxdfl541Nghov/1ydrjcV9Xu8TklP5fwfvtG1H4eU6"

SPARE_USERS = 4
"""Tests that run at the same time make users with other hashes, each one or two."""

Authenticate = Callable[[str, bytes], Account | None]


@pytest.fixture
def password() -> bytes:
    """Return the password that belongs to ``stored``."""
    return PASSWORD


@pytest.fixture(scope="session")
def yescrypt() -> str:
    """Return a hash of ``password``, of the scheme and cost that are usual on Debian."""
    return YESCRYPT


@pytest.fixture(scope="class")
def users() -> Iterator[SystemUsers]:
    """Return what makes users of the machine; they are removed at the end."""
    if not SystemUsers.is_possible():
        pytest.skip("only root can make users of the machine, with useradd (Debian: passwd): run as root")
    with SystemUsers() as users:
        yield users


@pytest.fixture
def user(users: SystemUsers) -> str:
    """Return the name of a user whose password is ``password``."""
    name = users.add()
    users.run("chpasswd", "--encrypted", stdin=f"{name}:{YESCRYPT}\n")
    return name


@pytest.fixture(scope="class")
def typical_users(users: SystemUsers, yescrypt: str) -> None:
    """Make so many users with yescrypt hashes that this is what most users of the machine have."""
    cost = yescrypt[:7]
    others = [stored for stored in local_hashes() if is_password_hash(stored) and not stored.startswith(cost)]
    for _ in range(len(others) + SPARE_USERS):
        users.run("chpasswd", "--encrypted", stdin=f"{users.add()}:{yescrypt}\n")


@pytest.fixture
def authenticate(users: SystemUsers) -> Authenticate:
    """Return the plugin's hook; root has started it."""
    plugin = AuthShadow(AuthShadowSettings())

    def authenticate(username: str, password: bytes) -> Account | None:
        return plugin.popframe_authenticate(PlainCredentials(username, password))

    return authenticate
