"""Waiting in a session's thread: no longer than there is somebody to wait for."""

from __future__ import annotations

import select
import socket


class Patience:
    """Waits before an attempt to log in.

    A wait ends when the connection does, by the client or because the server is being stopped. A client that has only
    said that it will send nothing more is still waited for.
    """

    def __init__(self, transport: socket.socket) -> None:
        """Watch a connection."""
        self._transport = transport

    def wait(self, seconds: float) -> bool:
        """Wait so many seconds; return False, at once, when the connection is gone."""
        poll = select.poll()
        try:
            poll.register(self._transport, 0)  # what is always told: an error, and the end of both directions
        except ValueError:
            return False  # closed already
        return not poll.poll(seconds * 1000.0)
