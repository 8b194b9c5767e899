"""A front: one process that serves sessions, a thread for each.

Threads wait in accept, so that a connection costs no hand-over. There are always a few waiting; more are started as
they are taken, and those too many end.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections import Counter
from dataclasses import replace
from itertools import count
from typing import NoReturn

from popframe.model import Outcome, Peer
from popframe.server.arrival import peer_of, turn_away
from popframe.server.hosting import HostedSession, Post
from popframe.server.listener import Listener
from popframe.server.log import log_event
from popframe.server.scoreboard import TooManyConnections, network_of
from popframe.server.service import PARENT_WATCH_SECONDS, RETIRE, Service
from popframe.server.signals import SignalQueue

FEWEST_WAITING = 2
"""Threads that wait for each listener at least: while one starts another, a third connection is not kept waiting."""

MOST_WAITING = 16
"""Threads that go on waiting for each listener after a rush; a parked thread costs some 20 KiB."""

THREAD_STACK_OCTETS = 1 << 20
"""Address space for a thread's stack; only what is touched becomes memory."""

NO_DESCRIPTOR_PAUSE_SECONDS = 0.1
"""How long a thread rests when no descriptor or memory is left for another connection."""

ROOM_SECONDS = 1.0
"""How long a new connection waits for the place of one that is ended for it; it takes no more than a thread's turn."""

MOST_UNNAMED = 64
"""Connections beyond all limits from which a proxy has not said yet whose they are; it says so at once.

Only then is it known whether somebody else is to make room for that client.
"""

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Front:
    """The one front of this process."""

    def __init__(self, listeners: list[Listener], service: Service, post: Post, master_pid: int) -> None:
        self._listeners = listeners
        self._service = service
        self._post = replace(post, make_room=self._make_room)
        self._master_pid = master_pid
        self._lock = threading.Lock()
        self._has_ended = threading.Condition(self._lock)
        self._thread_count = 0
        self._waiting = dict.fromkeys(listeners, 0)
        self._sessions: dict[str, HostedSession] = {}
        self._is_ending = False
        self._id_prefix = secrets.token_hex(4)
        self._id_numbers = count(1)

    def run(self) -> NoReturn:
        """Serve until a signal or the end of the master; the process ends here."""
        signals = SignalQueue([signal.SIGTERM, signal.SIGINT, RETIRE])
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        threading.stack_size(THREAD_STACK_OCTETS)
        if self._service.observation is not None:
            self._service.observation.check()
        for listener in self._listeners:
            self._start_thread(listener)
        is_retired = False
        while True:
            arrived = signals.wait(PARENT_WATCH_SECONDS)
            if signal.SIGTERM in arrived or signal.SIGINT in arrived or os.getppid() != self._master_pid:
                self._stop_sessions()
                break
            is_retired = is_retired or RETIRE in arrived
            if is_retired and self._is_idle():
                break
        os._exit(0)  # threads that still wait for a connection have nothing to clean up

    def _is_idle(self) -> bool:
        """Stop accepting, and tell whether the last thread has ended, with its session."""
        self._is_ending = True
        with self._lock:
            return not self._thread_count

    def _stop_sessions(self) -> None:
        """End every session without update; wait for updates that have begun, but not for ever."""
        self._is_ending = True
        deadline = time.monotonic() + self._service.shutdown_seconds
        while time.monotonic() < deadline:
            with self._lock:
                sessions = list(self._sessions.values())
            for session in sessions:
                session.connection.stop()
            if not sessions:
                return
            time.sleep(0.01)
        log_event("sessions-abandoned", {"count": len(sessions)})

    # --- threads

    def _start_thread(self, listener: Listener) -> None:
        with self._lock:
            self._thread_count += 1
            self._waiting[listener] += 1
        threading.Thread(target=self._thread, args=(listener,), daemon=True).start()

    def _thread(self, listener: Listener) -> None:
        try:
            self._take_connections(listener)
        finally:
            with self._lock:
                self._thread_count -= 1

    def _take_connections(self, listener: Listener) -> None:
        """Serve one connection after the other; the caller has counted this thread as waiting."""
        while True:
            accepted = self._accept(listener)
            with self._lock:
                self._waiting[listener] -= 1
                is_short = self._waiting[listener] < FEWEST_WAITING and not self._is_ending
            if accepted is None:
                return
            if is_short:
                self._start_thread(listener)
            self._serve(listener, *accepted)
            with self._lock:
                if self._waiting[listener] >= MOST_WAITING or self._is_ending:
                    return
                self._waiting[listener] += 1

    def _accept(self, listener: Listener) -> tuple[socket.socket, object] | None:
        """Wait for a connection; None when the front is to end."""
        while not self._is_ending:
            try:
                return listener.socket.accept()
            except BlockingIOError:
                continue  # nothing came within ACCEPT_WAKE_SECONDS
            except OSError as error:
                if error.errno in EXHAUSTED:
                    log_event("no-descriptors", {"error": error.strerror})
                    time.sleep(NO_DESCRIPTOR_PAUSE_SECONDS)
        return None

    # --- one connection

    def _serve(self, listener: Listener, transport: socket.socket, address: object) -> None:
        peer = peer_of(transport, address)
        if listener.behind_proxy:
            self._serve_proxy(listener, transport, peer)
        else:
            self._host(listener, transport, peer)

    def _serve_proxy(self, listener: Listener, transport: socket.socket, proxy: Peer) -> None:
        """Learn whose connection a proxy brings, and serve that client; it counts among all connections meanwhile."""
        proxies, board, slot, client = self._service.proxies, self._post.board, None, None
        if proxies is None or not proxies.are_trusted(proxy):
            transport.close()
            return
        try:
            slot = board.enter()
            board.check_total(self._service.limits.total, MOST_UNNAMED)
            client = proxies.client_of(transport, proxy, speaks_tls=listener.speaks_tls)
        except TooManyConnections as refusal:
            _log_refused_connection(proxy, refusal)
        finally:
            if client is None:
                if slot is not None:
                    board.leave(slot)
                transport.close()  # without a word: nothing is said before the header
        if client is not None:
            self._host(listener, transport, client, slot)

    def _host(self, listener: Listener, transport: socket.socket, peer: Peer, slot: int | None = None) -> None:
        session_id = f"{self._id_prefix}-{next(self._id_numbers):x}"
        try:
            session = HostedSession(
                transport, peer, session_id, self._service, self._post, speaks_tls=listener.speaks_tls, slot=slot
            )
        except TooManyConnections as refusal:
            _log_refused_connection(peer, refusal)
            if listener.speaks_tls:
                transport.close()  # not a word in clear text where TLS comes first
            else:
                turn_away(transport, refusal)
            return
        with self._lock:
            self._sessions[session_id] = session
        try:
            session.run()
        finally:  # last, because a server that stops waits for these and for nothing else
            with self._lock:
                del self._sessions[session_id]
                self._has_ended.notify_all()

    def _make_room(self) -> bool:
        """End a connection whose client has not logged in, for one that may; tell whether there was one.

        Of the network that has most of them, the oldest: whoever keeps connections to keep others out ends his own.
        """
        with self._lock:
            waiting = {key: session for key, session in self._sessions.items() if session.connection.awaits_login}
            if not waiting:
                return False
            networks = {key: network_of(session.peer.address) for key, session in waiting.items()}
            crowds = Counter(networks.values())
            key = max(waiting, key=lambda key: crowds[networks[key]])
            waiting[key].connection.stop(Outcome.TIMED_OUT)
            is_gone = self._has_ended.wait_for(lambda: key not in self._sessions, ROOM_SECONDS)
        reason = "its client has not logged in, and others want its place (max_connections)"
        log_event("connection-dropped", {"session": key, "address": waiting[key].peer.address or "-", "reason": reason})
        return is_gone


def _log_refused_connection(peer: Peer, refusal: TooManyConnections) -> None:
    level = logging.INFO if refusal.is_news else logging.DEBUG
    log_event("connection-refused", {"address": peer.address or "-", "reason": str(refusal)}, level)
