"""Mailers that keep what they get, and whatever else a test wants of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from popframe import Account, Command, CommandContext
from popframe.engine import Login
from popframe.testing import EngineServer, Transcript
from popframe.testing.engine_server import EngineTransport
from popframe.testing.transcript import User
from popframe_xtnd import Settings, Xtnd

FROM_LINE = b"From sender@example.org Mon Jan  5 09:00:00 2026\n"
PLAIN = b"".join(FROM_LINE + b"Subject: %d\n\ntext %d\n\n" % (number, number) for number in range(1, 4))

Mailer = Callable[[str], Path]
Connect = Callable[..., EngineTransport]


class AccountServer(EngineServer):
    """A server on which everybody is one account."""

    def __init__(self, scene: Transcript, rows: list[Command[CommandContext]], account: Account) -> None:
        super().__init__(scene, rows)
        self._account = account

    def opened(self, account: Account, authorization: str = "") -> Login:
        """Open the maildrop of the one account."""
        return super().opened(self._account, authorization)


@pytest.fixture
def mailer(tmp_path: Path) -> Mailer:
    """Return a function that makes a mailer: a shell script; the message it keeps is the file ``sent``."""

    def make(script: str = "") -> Path:
        path = tmp_path / "sendmail"
        path.write_text(f"#!/bin/sh\ncat > {tmp_path}/sent\n{script}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def connect(tmp_path: Path) -> Connect:
    """Return a function that connects alice, logged in, to a server with these settings."""

    def connect(sendmail: Path, account: Account | None = None, **settings: object) -> EngineTransport:
        values = {"xmit": True, "sendmail": (str(sendmail), "-i", "-t"), "spool_dir": tmp_path}
        values |= {"as_server_user": True, "trace_header": False, **settings}
        rows: list[Command[CommandContext]] = list(Xtnd(Settings.model_validate(values)).popframe_register_commands())
        scene = Transcript(name="test", users=(User("alice", b"secret", (b"Subject: a\n\nhi\n",)),), steps=())
        client = AccountServer(scene, rows, account or Account("alice")).connect()
        client.log_in("alice", "secret")
        client.ask()
        return client

    return connect


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """Return a folder with three groups, one of them not for everybody."""
    path = tmp_path / "groups"
    path.mkdir()
    (path / "system").write_bytes(PLAIN)
    (path / "system.archive").write_bytes(PLAIN[: len(PLAIN) // 3])
    (path / "system.toml").write_text('aliases = ["sys"]\naddress = "system@example.org"\nremoved = 7\n')
    (path / "mh-users").write_bytes(b"")
    (path / "secret").write_bytes(PLAIN)
    for file in path.iterdir():
        file.chmod(0o644)
    (path / "secret").chmod(0o640)
    return path
