"""Where Prometheus asks: HTTP, a thread for each question.

Rule of this file: however many ask, and however slowly they read, what is held for them is bounded, and events are
taken meanwhile.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from http.server import HTTPServer
from socketserver import ThreadingMixIn

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import MetricsHandler

MAX_AT_ONCE = 8
"""Questions that are answered at once; one beyond is closed. There is one scraper, or a few."""

ANSWER_SECONDS = 10.0
"""How long a question and its answer may take in all; Prometheus itself gives up after ten seconds."""


class ScrapeServer(ThreadingMixIn, HTTPServer):
    """Answers every GET with the metrics."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, registry: CollectorRegistry) -> None:
        """Serve a socket that listens already; a thread does it, once it is started."""
        super().__init__(("", 0), MetricsHandler.factory(registry), bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self._places = threading.Semaphore(MAX_AT_ONCE)
        self._lock = threading.Lock()
        self._deadlines: dict[socket.socket, float] = {}

    def start(self) -> None:
        """Let a thread take the questions."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def end_overdue(self) -> None:
        """Cut off those that have taken too long; called now and then."""
        now = time.monotonic()
        with self._lock:
            for connection, deadline in self._deadlines.items():
                if now > deadline:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Start a thread for a question, if there is room for one."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        with self._lock:
            self._deadlines[request] = time.monotonic() + ANSWER_SECONDS
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the system has no thread to spare
            self._end(request)

    def process_request_thread(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Answer, and make room for another."""
        try:
            self.finish_request(request, client_address)
        except Exception:  # whatever a client sends, or a scraper that has gone away, is no news
            return
        finally:
            self._end(request)

    def _end(self, request: socket.socket) -> None:
        with self._lock:
            del self._deadlines[request]
        self.shutdown_request(request)
        self._places.release()
