"""The master: opens the sockets, becomes an ordinary user, starts the fronts, and watches over them.

It has one thread and reads no octet of any client. A front that dies is replaced; the others never notice. On SIGHUP
the configuration is read again: new fronts take over from old ones, which finish their sessions first.
"""

from __future__ import annotations

import importlib
import logging
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from popframe.config import Configuration
from popframe.engine import CODECS, NEEDED_BEYOND_ASCII
from popframe.errors import ConfigError
from popframe.plugins import Hooks, Preparation, close_preparations, look_after_preparations
from popframe.server import privilege, startup, systemd
from popframe.server.abuse.memory import AttemptMemory, memory_for
from popframe.server.certificate_keeper import CertificateKeeper, LoadedCertificates
from popframe.server.front import Front
from popframe.server.hosting import Post
from popframe.server.isolation.process import GateProcess
from popframe.server.listener import Endpoint, Listeners
from popframe.server.log import log_event
from popframe.server.scoreboard import FrontBoard, Scoreboard
from popframe.server.service import RETIRE, Service, service_of
from popframe.server.signals import SignalQueue
from popframe.server.startup import CheckedConfiguration

WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

IDLE_SECONDS = 3600.0
"""How long the master waits for a signal when it has nothing to do; any number would do."""

RESPAWN_PAUSE_SECONDS = 1.0
"""How long a place stays empty when its front did not live longer than this: a front that cannot even start would
otherwise be forked without end."""

KILL_PAUSE_SECONDS = 5.0
"""What fronts get beyond shutdown_timeout_seconds before they are killed."""

NEEDED_LATER = (
    *("popframe.config.explanation", "popframe.config.line", "tomlkit"),
    *NEEDED_BEYOND_ASCII,
    *CODECS,
    *("encodings.idna", "logging.handlers", "popframe.password", "popframe.proven_passwords"),
    *("popframe.server.proxy_protocol", "popframe.server.tls", "scramp"),
)
"""Imported only when a configuration has mistakes, names the system log, looks clients up, or has a plugin that wants
them, when a name or a header goes beyond ASCII, or a client uses SCRAM; then it may be too late, since ``run_as`` need
not be able to read the place where root has installed them."""

DESCRIPTORS_PER_SESSION = 4
"""Connection, spool, session lock, and one to spare."""

MARKS = {"listen": "", "listen_tls": " (TLS)", "proxy_listen": " (PROXY)", "proxy_listen_tls": " (PROXY+TLS)"}
"""What stands behind an address, for people, of those that are no plain ones."""


@dataclass(slots=True)
class Child:
    """A front process, seen from the master."""

    region: int
    started: float
    generation: int


class Master:
    """The one master of a server."""

    def __init__(self, path: Path, *, when_ready: Callable[[list[str]], None] | None = None) -> None:
        """Make a server from a configuration file; nothing is opened yet.

        Args:
            path: The configuration file; it is read again on SIGHUP.
            when_ready: Called once with the addresses that are listened on, when clients can connect.
        """
        self._path = path
        self._when_ready = when_ready
        self._listeners = Listeners()
        self._scoreboard = Scoreboard()
        self._children: dict[int, Child] = {}
        self._prepared: dict[str, Preparation] = {}
        self._generation = 0
        self._front_count = 0
        self._respawn_at = 0.0
        self._run_as: str | None = None
        self._gate: GateProcess | None = None
        self._certificates = CertificateKeeper()
        self._attempts: AttemptMemory

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; return the exit status.

        Raises:
            ConfigError: The server cannot be started with this configuration.
        """
        configuration = startup.check(self._path)
        self._listeners.inherit(os.environ)
        self._listen(configuration)
        startup.set_up_log(configuration)
        for module in NEEDED_LATER:
            importlib.import_module(module)
        self._certificates.use(LoadedCertificates.load(configuration.tls))
        self._attempts = memory_for(configuration.abuse.state_file, configuration.server.run_as)
        self._prepared = startup.prepare(configuration, is_server=True)
        try:
            self._serve(configuration)
        finally:  # a front never comes here: its process ends where it was forked
            close_preparations(self._prepared.values())
        return 0

    def _listen(self, configuration: Configuration) -> None:
        """Listen where a configuration says, unless systemd has said it.

        Raises:
            ConfigError: That cannot be; then everything stays as it was.
        """
        self._listeners.check_inherited(
            has_certificate=configuration.tls.is_on, names_proxies=bool(configuration.proxy.networks)
        )
        self._listeners.listen_on(_endpoints(configuration))

    def _serve(self, configuration: CheckedConfiguration) -> None:
        """Give up root, unless the fronts alone do; start them, and watch over them until the server is stopped."""
        if configuration.server.isolation == "per-user":
            self._run_as = privilege.checked_user(configuration.server.run_as)
            self._gate = GateProcess(WATCHED, configuration.server.login_timeout_seconds)
        else:
            privilege.become(configuration.server.run_as)
        self._take_over(configuration, self._service_of(configuration, startup.build(configuration, self._prepared)))
        self._signals = SignalQueue(WATCHED)
        self._start_fronts()
        log_event("started", {**self._listening_fields(), "fronts": self._front_count, "user": os.geteuid()})
        systemd.notify("READY=1")
        if self._when_ready is not None:
            self._when_ready([name + MARKS[kind] for kind, names in self._listening().items() for name in names])
        self._watch()

    def _listening(self) -> dict[str, list[str]]:
        """Return where clients can come, by what the settings are called, those of [proxy] with that before it."""
        names = {
            f"{'proxy_' if behind_proxy else ''}listen{'_tls' if speaks_tls else ''}": self._listeners.names(
                speaks_tls=speaks_tls, behind_proxy=behind_proxy
            )
            for behind_proxy in (False, True)
            for speaks_tls in (False, True)
        }
        return {key: addresses for key, addresses in names.items() if addresses}

    def _listening_fields(self) -> dict[str, object]:
        """Return the same for the log."""
        return {key: ",".join(addresses) for key, addresses in self._listening().items()}

    def _service_of(self, configuration: Configuration, hooks: Hooks) -> Service:
        """Put together what new fronts would get.

        Raises:
            ConfigError: The plugins' commands cannot be announced.
        """
        return service_of(configuration, hooks, None if self._gate is None else self._gate.door)

    def _take_over(self, configuration: Configuration, service: Service) -> None:
        """Make a configuration the one that new fronts get."""
        self._configuration = configuration
        self._service = service
        self._listeners.prepare(configuration.server.write_timeout_seconds)
        _raise_descriptor_limit(configuration.server.max_connections)
        self._front_count = configuration.server.fronts or len(os.sched_getaffinity(0))
        self._generation += 1

    # --- the main loop

    def _watch(self) -> None:
        while True:
            patience = look_after_preparations(self._prepared.values())
            pause = self._respawn_at - time.monotonic() if self._respawn_at else IDLE_SECONDS
            pause = pause if patience is None else min(pause, patience)
            pause = min(pause, self._certificates.patience_seconds)
            if self._gate is not None and (missing := self._gate.missing_for_seconds) is not None:
                pause = min(pause, missing)
            arrived = self._signals.wait(max(pause, 0.0))
            if signal.SIGTERM in arrived or signal.SIGINT in arrived:
                systemd.notify("STOPPING=1")
                self._stop()
                return
            self._bury()
            if signal.SIGHUP in arrived:
                self._reload()
            elif self._certificates.look():
                self._generation += 1
                self._retire_fronts()
            self._start_fronts()

    def _reload(self) -> None:
        """Read the configuration again; a bad one changes nothing."""
        systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            configuration = startup.check(self._path)
            hooks = startup.build(configuration, self._prepared)
            certificates = LoadedCertificates.load(configuration.tls)
            service = self._service_of(configuration, hooks)
            self._set_up_log_and_listen(configuration)
        except ConfigError as error:
            for line in str(error).splitlines():
                log_event("reload-refused", {"reason": line}, logging.ERROR)
        except Exception:  # a defect in a plugin or in us is no reason to stop serving
            log_event("reload-refused", {"reason": "unforeseen", "trace": traceback.format_exc()}, logging.CRITICAL)
        else:
            self._take_over(configuration, service)
            self._certificates.use(certificates)
            if self._gate is not None:
                self._gate.retire()
            self._retire_fronts()
            log_event("reloaded", {**self._listening_fields(), "fronts": self._front_count})
        systemd.notify("READY=1")

    def _set_up_log_and_listen(self, configuration: Configuration) -> None:
        """Do what a reload changes for this process too; all of it or nothing.

        Raises:
            ConfigError: There is no such log, or an address cannot be had.
        """
        startup.set_up_log(configuration)
        try:
            self._listen(configuration)
        except ConfigError:
            startup.set_up_log(self._configuration)
            raise

    def _retire_fronts(self) -> None:
        """Let the fronts take no new clients, and end with their last session."""
        for pid in self._children:
            os.kill(pid, RETIRE)

    def _stop(self) -> None:
        """End all fronts; those that do not end in time are killed."""
        log_event("stopping", {"sessions": self._scoreboard.session_count()})
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)
        if self._gate is not None:
            self._gate.stop()  # a front would wait for logins that are under way
        deadline = time.monotonic() + self._service.shutdown_seconds + KILL_PAUSE_SECONDS
        while self._children and (left := deadline - time.monotonic()) > 0:
            self._signals.wait(left)
            self._bury(is_expected=True)
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        log_event("stopped", {})

    # --- fronts

    def _start_fronts(self) -> None:
        """Fork as many fronts of the present generation as are missing, and the gate before them."""
        if self._gate is not None and self._gate.missing_for_seconds == 0:
            self._gate.start(self._service, self._let_go)
        if time.monotonic() < self._respawn_at:
            return
        self._respawn_at = 0.0
        present = sum(child.generation == self._generation for child in self._children.values())
        for _ in range(self._front_count - present):
            region = self._scoreboard.take_region()
            if region is None:  # old fronts hold all regions with their last sessions: try again when one ends
                self._respawn_at = time.monotonic() + RESPAWN_PAUSE_SECONDS
                return
            self._fork(region)

    def _let_go(self) -> None:
        """Drop, in the gate, what is not for it: the sockets where clients come, and the keys of certificates.

        Its children become users.
        """
        for listener in self._listeners.all:
            listener.socket.close()
        self._certificates.let_go()

    def _fork(self, region: int) -> None:
        """Start one front; signals wait meanwhile, since the child shares the master's queue until it has its own."""
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        master_pid = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_front(region, master_pid)
        self._children[pid] = Child(region, time.monotonic(), self._generation)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)

    def _become_front(self, region: int, master_pid: int) -> NoReturn:
        try:
            attempts = self._attempts.reopened()
            if self._gate is not None:
                self._gate.leave_to_master()
                privilege.become(self._run_as)
            board = FrontBoard(self._scoreboard, region)
            service = replace(self._service, certificates=self._certificates.certificates)
            post = Post.of_process(board, attempts, service.abuse)
            Front(self._listeners.all, service, post, master_pid).run()
        except BaseException:  # never back into the master's code in a child
            log_event("front-failed", {"trace": traceback.format_exc()}, logging.CRITICAL)
        os._exit(1)

    def _bury(self, *, is_expected: bool = False) -> None:
        """Take note of the processes that have ended."""
        if self._gate is not None and self._gate.has_died():
            log_event("gate-died", {}, logging.ERROR)
        for pid in list(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            child = self._children.pop(pid)
            self._scoreboard.wipe_region(child.region)
            if is_expected or status == 0:
                continue
            log_event("front-died", {"pid": pid, "status": _cause_of_death(status)}, logging.ERROR)
            if time.monotonic() - child.started < RESPAWN_PAUSE_SECONDS:
                self._respawn_at = time.monotonic() + RESPAWN_PAUSE_SECONDS


def _endpoints(configuration: Configuration) -> list[Endpoint]:
    server, proxy = configuration.server, configuration.proxy
    lists = [
        (server.listen, False, False),
        (server.listen_tls, True, False),
        (proxy.listen, False, True),
        (proxy.listen_tls, True, True),
    ]
    return [
        Endpoint(address, speaks_tls=speaks_tls, behind_proxy=behind_proxy)
        for addresses, speaks_tls, behind_proxy in lists
        for address in addresses
    ]


def _cause_of_death(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return signal.Signals(-code).name if code < 0 else f"exit {code}"


def _raise_descriptor_limit(max_connections: int) -> None:
    """Let one front hold all connections, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max_connections * DESCRIPTORS_PER_SESSION + 64
    if soft != resource.RLIM_INFINITY and soft < wanted:
        granted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
        if granted < wanted:
            fields = {"limit": granted, "wanted": wanted, "hint": "raise LimitNOFILE= or lower max_connections"}
            log_event("few-descriptors", fields, logging.WARNING)
