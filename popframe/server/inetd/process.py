"""The process of one client: from the configuration to the end of the session.

With ``isolation = "per-user"`` there are two more for as long as it takes: the gate, which stays root, and the session,
which becomes the user. This one talks to the client as ``run_as`` in either case.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from popframe.engine import NEEDED_BEYOND_ASCII
from popframe.errors import ConfigError
from popframe.plugins import Preparation, close_preparations
from popframe.server import log, privilege, startup
from popframe.server.abuse.memory import memory_alone
from popframe.server.connection import Connection
from popframe.server.hosting import HostedSession, Post
from popframe.server.inetd.client import Client
from popframe.server.inetd.switches import Switches, bulletin_settings
from popframe.server.listener import set_connection_options
from popframe.server.log import log_event
from popframe.server.sasl.mechanisms import may_offer_scram
from popframe.server.scoreboard import FrontBoard, Scoreboard
from popframe.server.service import GateDoor, Service, service_of
from popframe.server.signals import SignalQueue
from popframe.server.startup import CheckedConfiguration

if TYPE_CHECKING:
    from popframe.server.isolation.process import GateProcess

WATCHED = (signal.SIGTERM, signal.SIGINT)

WATCH_SECONDS = 3600.0
"""How long a wait for a signal is; any number would do."""


def serve_client(client: Client, path: Path, switches: Switches) -> None:
    """Serve one client; the connection is closed afterwards, however the session ended.

    Raises:
        ConfigError: It cannot be served with this configuration, and has been told nothing yet.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # whoever has started this may have blocked some
    configuration = switches.applied_to(startup.check(path))
    if switches.speaks_tls and not configuration.tls.is_on:
        raise ConfigError(f"--tls: needs a certificate: tls.certificate in {path}")
    _set_up_log(configuration, switches, client)
    if switches.bulletin_directory is not None and bulletin_settings(configuration) is None:
        log_event("switch-without-effect", {"switch": f"-b {switches.bulletin_directory}"}, logging.WARNING)
    prepared = startup.prepare(configuration, is_server=False)
    try:
        _serve(client, configuration, prepared, switches)
    finally:
        close_preparations(prepared.values())


def _serve(
    client: Client, configuration: CheckedConfiguration, prepared: Mapping[str, Preparation], switches: Switches
) -> None:
    set_connection_options(client.transport, configuration.server.write_timeout_seconds)
    session_id = f"{secrets.token_hex(4)}-1"
    if configuration.server.look_up_client_names:
        importlib.import_module("encodings.idna")  # while it can still be read
    for module in NEEDED_BEYOND_ASCII:
        importlib.import_module(module)
    if may_offer_scram(configuration.login, configuration.found):
        importlib.import_module("scramp")  # the same
    with _gate(configuration) as gate:
        run_as = configuration.server.run_as
        certificates = startup.load_certificates(configuration.tls) if gate is None else None
        if gate is None:
            privilege.become(run_as)
        service = _service(configuration, prepared, None if gate is None else gate.door)
        gc.freeze()  # what the start has made stays; before the fork, so that it holds for the process of the user too
        gc.enable()
        if gate is not None:
            gate.start(service, client.transport.close)
            gate.leave_to_master()
            certificates = startup.load_certificates(configuration.tls)  # after the fork: the gate has no keys
            privilege.become(run_as)
        # A board and a memory of its own: nobody sees what other processes do, so limits over all of them are not kept.
        post = Post.of_process(FrontBoard(Scoreboard(), 0), memory_alone(), service.abuse)
        session = HostedSession(
            client.transport,
            client.peer,
            session_id,
            replace(service, certificates=certificates),
            post,
            speaks_tls=switches.speaks_tls,
        )
        _let_signals_stop(session.connection, service.shutdown_seconds)
        session.run()


@contextlib.contextmanager
def _gate(configuration: CheckedConfiguration) -> Iterator[GateProcess | None]:
    """Give the gate, not started yet, if there is to be one; it ends behind this."""
    if configuration.server.isolation == "shared":
        yield None
        return
    from popframe.server.isolation.process import GateProcess

    privilege.checked_user(configuration.server.run_as)
    gate = GateProcess(WATCHED, configuration.server.login_timeout_seconds)
    try:
        yield gate
    finally:
        gate.release()


def _service(
    configuration: CheckedConfiguration, prepared: Mapping[str, Preparation], door: GateDoor | None
) -> Service:
    """Return what the session needs; a delay between logins, which nothing could keep here, is not announced."""
    alone = replace(configuration, abuse=configuration.abuse.model_copy(update={"login_delay_seconds": 0}))
    return service_of(alone, startup.build(configuration, prepared), door)


def _let_signals_stop(connection: Connection, shutdown_seconds: float) -> None:
    """Let SIGTERM and SIGINT end the session without update; an update that has begun gets some time to finish."""
    signals = SignalQueue(WATCHED)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def watch() -> None:
        while not signals.wait(WATCH_SECONDS):
            pass
        connection.stop()
        time.sleep(shutdown_seconds)
        log_event("sessions-abandoned", {"count": 1})
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def _set_up_log(configuration: CheckedConfiguration, switches: Switches, client: Client) -> None:
    """Send the log where switches and configuration say, but never to the client.

    Raises:
        ConfigError: It cannot be written there.
    """
    settings = configuration.log
    if switches.trace_file is not None:
        try:
            log.set_up_file(switches.trace_file, settings.format, settings.level)
        except OSError as error:
            raise ConfigError(f"-t: cannot write to {switches.trace_file}: {error.strerror}") from error
    elif settings.target == "syslog" or client.had_errors:  # no reason to keep anybody from the mail, if it is down
        log.set_up_syslog_or_none(
            settings.format,
            settings.level,
            settings.syslog_address,
            settings.syslog_facility,
            settings.syslog_priority,
        )
    else:
        startup.set_up_log(configuration)
