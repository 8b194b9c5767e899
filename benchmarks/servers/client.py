"""A client that does not let itself be the bottleneck, and takes nothing but +OK for an answer."""

from __future__ import annotations

import itertools
import socket
from types import TracebackType
from typing import Self

PATIENCE_SECONDS = 300.0
"""Longest wait for some octets: the slowest servers read a large spool for a minute."""

RECEIVE_OCTETS = 1 << 18

END = b"\r\n.\r\n"

_SOURCES = itertools.cycle(f"127.0.0.{number}" for number in range(1, 255))
"""popa3d takes 50 connections from one address in ten seconds."""


class Failure(Exception):
    """A server did not do the work, so its time says nothing."""


class Client:
    """A session; without pipelining, as most clients are.

    Acknowledgements are sent at once: a server that sends a reply in two parts without TCP_NODELAY waits for 40 ms
    otherwise, and what would be measured is the kernel's timer.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        """Connect and read the greeting."""
        self._socket = socket.create_connection(address, PATIENCE_SECONDS, (next(_SOURCES), 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._reply("the connection")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def log_in(self, user: str, password: str) -> None:
        """Send USER and PASS."""
        self.ask(f"USER {user}")
        self.ask(f"PASS {password}")

    def ask(self, command: str) -> bytes:
        """Send a command and return the line of the reply.

        Raises:
            Failure: It is not ``+OK``.
        """
        self._socket.sendall(command.encode() + b"\r\n")
        return self._reply(command)

    def read(self, command: str) -> bytes:
        """Send a command and return its multi-line response: status line, text, the line with the dot.

        Raises:
            Failure: It does not begin with ``+OK``, or does not end.
        """
        self._socket.sendall(command.encode() + b"\r\n")
        pieces = [self._piece(command)]
        tail = pieces[0][-len(END) :]
        while tail != END and not pieces[0].startswith(b"-"):
            pieces.append(self._piece(command))
            tail = (tail + pieces[-1][-len(END) :])[-len(END) :]
        reply = b"".join(pieces)
        if not reply.startswith(b"+OK"):
            raise Failure(f"{command}: {reply[:80]!r}")
        return reply

    def quit(self) -> None:
        """Send QUIT and wait until the server closes the connection: it has done the work then."""
        self.ask("QUIT")
        while self._socket.recv(RECEIVE_OCTETS):
            pass

    def _reply(self, command: str) -> bytes:
        """Return one line."""
        line = self._piece(command)
        while not line.endswith(b"\n"):
            line += self._piece(command)
        if not line.startswith(b"+OK"):
            raise Failure(f"{command}: {line[:80]!r}")
        return line

    def _piece(self, command: str) -> bytes:
        """Return some octets."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        piece = self._socket.recv(RECEIVE_OCTETS)
        if not piece:
            raise Failure(f"{command}: the server closed the connection")
        return piece
