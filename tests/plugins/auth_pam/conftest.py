"""Real accounts of this machine, real PAM services, and the plugin that asks them; all of it is removed again.

The accounts are made once for each test process, under a prefix of its own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from popframe import Account, AuthenticationFailed, Peer, PlainCredentials, TemporaryFailure
from popframe.testing import SystemUsers
from popframe_auth_pam import AuthPam, AuthPamSettings

SERVICE_DIRECTORY = Path("/etc/pam.d")

PAM_UNIX = "auth required pam_unix.so nodelay\naccount required pam_unix.so\n"
"""The rules of most services here; the delay after a wrong password is left out."""


PASSWORD = b"correct horse"

STATES: dict[str, list[list[str]]] = {
    "alice": [],
    "changing": [],
    "locked": [["passwd", "--lock", "--quiet"]],
    "expired": [["chage", "--expiredate", "2020-01-01"]],
    "mustchange": [["chage", "--lastday", "0"]],
    "inactive": [["chage", "--lastday", "2020-01-01", "--maxdays", "30", "--inactive", "1"]],
    "empty": [["passwd", "--delete", "--quiet"]],
    "nologin": [["usermod", "--shell", "/usr/sbin/nologin"]],
}
"""What is done to each user, the name being added at the end."""


def run(*command: str, text: bytes = b"") -> None:
    """Run a program that changes the account files; nobody else does meanwhile."""
    SystemUsers().run(*command, stdin=text.decode("utf-8", "surrogateescape"))


@pytest.fixture(scope="session")
def users() -> Iterator[Mapping[str, str]]:
    """Yield the names of users in every state that an account can have, and under "nobody" a name that is not there."""
    if os.geteuid() != 0:
        pytest.skip("only root can make accounts and check their passwords: run as root")
    prefix = f"pop{secrets.token_hex(4)}"
    names = {state: prefix + state for state in STATES}
    with contextlib.ExitStack() as cleaning:
        for state, user in names.items():
            run("useradd", "--no-create-home", "--home-dir", f"/nonexistent/{user}", "--shell", "/bin/sh", user)
            cleaning.callback(run, "userdel", user)
            run("chpasswd", text=f"{user}:".encode() + PASSWORD + b"\n")
            for command in STATES[state]:
                run(*command, user)
        yield {**names, "nobody": f"{prefix}nobody"}


@pytest.fixture
def set_password(users: Mapping[str, str]) -> Callable[[str, bytes], None]:
    """Return a function that gives one of the users another password."""

    def set_password(user: str, password: bytes) -> None:
        assert user in users.values()
        run("chpasswd", text=user.encode() + b":" + password + b"\n")

    return set_password


MakeService = Callable[[str], str]


@pytest.fixture
def make_service(users: Mapping[str, str]) -> Iterator[MakeService]:
    """Return a function that writes a PAM service and returns its name."""
    assert users  # whoever could make them can write there as well
    written: list[Path] = []

    def make_service(rules: str) -> str:
        path = SERVICE_DIRECTORY / f"popframe-test-{secrets.token_hex(6)}"
        written.append(path)
        path.write_text(rules)
        return path.name

    yield make_service
    for path in written:
        path.unlink(missing_ok=True)


StartPlugin = Callable[..., AuthPam]


@pytest.fixture
def start_plugin(make_service: MakeService) -> Iterator[StartPlugin]:
    """Return a function that starts the plugin as a server does, on a service with these rules."""
    with contextlib.ExitStack() as open_verifiers:

        def start_plugin(rules: str, *, timeout_seconds: int = 60, open_session: bool = False) -> AuthPam:
            service = make_service(rules)
            settings = AuthPamSettings(service=service, timeout_seconds=timeout_seconds, open_session=open_session)
            verifier = AuthPam.before_run_as(settings)
            open_verifiers.callback(verifier.close)
            return AuthPam(settings, verifier)

        yield start_plugin


@pytest.fixture
def plugin(start_plugin: StartPlugin) -> AuthPam:
    """Return the plugin on the usual service."""
    return start_plugin(PAM_UNIX)


Attempt = Callable[..., Account | str]


@pytest.fixture
def attempt() -> Attempt:
    """Return a function that logs in, and returns the account or the reason of the refusal for the log.

    A reason begins with ``wrong: `` or ``later: ``, for what the client is told.
    """

    def attempt(plugin: AuthPam, username: str, password: bytes, address: str = "127.0.0.1") -> Account | str:
        try:
            return plugin.popframe_authenticate(Peer(address), PlainCredentials(username, password))
        except AuthenticationFailed as error:
            return f"wrong: {error}"
        except TemporaryFailure as error:
            return f"later: {error}"

    return attempt
