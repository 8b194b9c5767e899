"""A way for every test to a session of the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest

from popframe import Account, Command, CommandContext, IncomingMessage, Maildrop
from popframe.engine import Policy
from popframe.testing import EngineServer, Transcript
from popframe.testing.engine_server import EngineTransport
from popframe.testing.transcript import User


class OneMaildrop:
    """A store with nothing but the maildrop that a test has made."""

    def __init__(self, maildrop: Maildrop) -> None:
        self._maildrop = maildrop

    def popframe_open_maildrop(self, account: Account) -> Maildrop:
        """Return the maildrop, whoever asks."""
        return self._maildrop

    def popframe_deliver_message(self, account: Account, message: IncomingMessage) -> bool:
        """Refuse: the test has put in what there is."""
        raise AssertionError(f"nothing is delivered to {account.username}")


@pytest.fixture
def connect() -> Callable[..., EngineTransport]:
    """Return what connects a client to a server of its own; alice's password is ``secret``."""

    def connect(
        messages: Sequence[bytes] = (),
        *,
        maildrop: Maildrop | None = None,
        commands: Iterable[Command[CommandContext]] = (),
        policy: Policy | None = None,
    ) -> EngineTransport:
        """Connect.

        Args:
            messages: What is in alice's maildrop.
            maildrop: Her maildrop itself, instead.
            commands: Command extensions.
            policy: The choices of the site.
        """
        scene = Transcript(
            name="test",
            users=(User("alice", b"secret", tuple(messages)),),
            steps=(),
            policy=policy or Policy(),
        )
        client = EngineServer(scene, commands, OneMaildrop(maildrop) if maildrop is not None else None).connect()
        client.ask()
        return client

    return connect


@pytest.fixture
def log_in(connect: Callable[..., EngineTransport]) -> Callable[..., EngineTransport]:
    """Return what connects like ``connect`` and logs alice in."""

    def log_in(
        messages: Sequence[bytes] = (),
        *,
        maildrop: Maildrop | None = None,
        commands: Iterable[Command[CommandContext]] = (),
        policy: Policy | None = None,
    ) -> EngineTransport:
        client = connect(messages, maildrop=maildrop, commands=commands, policy=policy)
        assert client.log_in("alice", "secret").startswith(b"+OK")
        return client

    return log_in
