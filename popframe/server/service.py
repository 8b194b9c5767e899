"""What every session of a generation of processes shares."""

from __future__ import annotations

import signal
import socket
from dataclasses import dataclass

from popframe.authorization import LoginRules
from popframe.engine import CommandTable, Policy
from popframe.plugins import Hooks
from popframe.server.connection import Timers

PARENT_WATCH_SECONDS = 1.0
"""How often a process looks whether its master is still there; without one nobody could stop it."""


RETIRE = signal.SIGUSR1
"""Tells a process to take nothing new, and to end with the last session that it has."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Connections at once; see the table ``[server]`` of the configuration."""

    total: int
    per_address: int
    per_user: int


@dataclass(frozen=True, slots=True)
class GateDoor:
    """The way of all fronts, and all their threads, to the gate.

    Attributes:
        requests: Where logins are asked for.
        patience_seconds: How long an answer is waited for.
    """

    requests: socket.socket
    patience_seconds: float


@dataclass(frozen=True, slots=True)
class Service:
    """What every session of a generation of processes shares.

    Attributes:
        hooks: The plugins.
        rules: Who may log in, whatever the plugins say.
        policy: What the site chose of POP3.
        table: The commands.
        timers: How long a client may take.
        limits: Connections at once.
        shutdown_seconds: What running sessions get to finish.
        door: The way to the gate; None where one process serves all users.
    """

    hooks: Hooks
    rules: LoginRules
    policy: Policy
    table: CommandTable
    timers: Timers
    limits: Limits
    shutdown_seconds: float
    door: GateDoor | None = None
