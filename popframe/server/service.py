"""What every session of a generation of processes shares."""

from __future__ import annotations

import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from popframe.authorization import LoginRules
from popframe.config import AbuseSettings, Configuration
from popframe.engine import AsciiMode, ClearText, CommandTable, ImplementationShown, Policy, Utf8Support
from popframe.engine.verbs import Table
from popframe.extension import Mechanism
from popframe.plugins import Hooks
from popframe.server.client_name import ClientNames
from popframe.server.connection import Timers
from popframe.server.observation.observers import Observation
from popframe.server.sasl.mechanisms import by_name, offered_mechanisms, offers_apop

if TYPE_CHECKING:
    from popframe.server.proxy_protocol import Proxies
    from popframe.server.tls import Certificates

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
        abuse: What may be tried, and how often.
        shutdown_seconds: What running sessions get to finish.
        mechanisms: What SASL exchanges, and APOP, are begun with, by name.
        door: The way to the gate; None where one process serves all users.
        proxies: Who may say whose connections they bring; None where nobody may.
        client_names: Looks up the names of clients; None where nobody wants to know.
        observation: What is written of sessions command by command; None where that is nothing.
        certificates: What TLS needs; None where there is none, and in processes that make no handshake.
    """

    hooks: Hooks
    rules: LoginRules
    policy: Policy
    table: Table
    timers: Timers
    limits: Limits
    abuse: AbuseSettings
    shutdown_seconds: float
    mechanisms: Mapping[str, Mechanism] = field(default_factory=dict)
    door: GateDoor | None = None
    proxies: Proxies | None = None
    client_names: ClientNames | None = None
    observation: Observation | None = None
    certificates: Certificates | None = None


def service_of(configuration: Configuration, hooks: Hooks, door: GateDoor | None) -> Service:
    """Put together what a configuration and its plugins make.

    Raises:
        ConfigError: The plugins' commands, or all the mechanisms, cannot be announced.
    """
    server, pop3 = configuration.server, configuration.pop3
    mechanisms = offered_mechanisms(configuration.login, hooks)
    with_apop = offers_apop(configuration.login, hooks)
    policy = Policy(
        greeting=pop3.greeting,
        implementation=pop3.implementation,
        implementation_shown=ImplementationShown(pop3.show_implementation),
        max_bad_commands=pop3.max_bad_commands,
        max_failed_logins=pop3.max_failed_logins,
        replace_nul=pop3.replace_nul,
        update_on_abort=pop3.update_on_abort,
        language=pop3.language,
        utf8=Utf8Support(pop3.utf8),
        ascii_mode=AsciiMode(pop3.ascii_mode),
        clear_text=ClearText(configuration.login.clear_text),
        offers_tls=configuration.tls.is_on,
        login_delay_seconds=configuration.abuse.login_delay_seconds,
        offers_apop=with_apop,
    )
    return Service(
        hooks=hooks,
        rules=LoginRules(configuration.login),
        policy=policy,
        table=CommandTable(policy, hooks.commands, mechanisms),
        timers=Timers(login=server.login_timeout_seconds, idle=server.idle_timeout_seconds),
        limits=Limits(server.max_connections, server.max_connections_per_address, server.max_connections_per_user),
        abuse=configuration.abuse,
        shutdown_seconds=server.shutdown_timeout_seconds,
        proxies=_proxies(configuration),
        mechanisms=by_name(mechanisms, with_apop=with_apop),
        door=door,
        client_names=ClientNames() if server.look_up_client_names else None,
        observation=Observation.configured(configuration),
    )


def _proxies(configuration: Configuration) -> Proxies | None:
    if not configuration.proxy.networks:
        return None
    from popframe.server.proxy_protocol import Proxies  # most servers, and every session under inetd, have none

    return Proxies(configuration.proxy)
