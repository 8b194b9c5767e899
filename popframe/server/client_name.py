"""The name of a client's address, for the log: found by the address, and confirmed by the addresses of the name.

Rule of this file: no client waits for it, and nothing is decided by it. Whoever owns an address may give it any name,
so one that is not confirmed is told as such.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable

from popframe.model import Peer
from popframe.server.session_log import SessionLog

MAX_LOOKUPS = 32
"""At once in one process. A name server that does not answer holds each for some seconds; beyond these, clients are not
looked up at all."""


class ClientNames:
    """Looks names up beside the sessions."""

    def __init__(
        self, name_of: Callable[[str], str] | None = None, addresses_of: Callable[[str], set[str]] | None = None
    ) -> None:
        """Ask the system, or whoever else knows.

        Args:
            name_of: Gives the name of an address; raises ``OSError`` when there is none.
            addresses_of: Gives the addresses of a name; the same.
        """
        self._name_of = name_of or _name_of
        self._addresses_of = addresses_of or _addresses_of
        self._free = threading.BoundedSemaphore(MAX_LOOKUPS)

    def look_up(self, session_id: str, peer: Peer) -> None:
        """Find the name of a client, and write it into the log when it comes; returns at once."""
        if not peer.address or not self._free.acquire(blocking=False):
            return
        arguments = (SessionLog(session_id, peer), peer.address)
        threading.Thread(target=self._tell, args=arguments, daemon=True).start()

    def _tell(self, log: SessionLog, address: str) -> None:
        try:
            name = self._name_of(address)
        except OSError as error:
            log.tell("client-name-missing", {"reason": str(error)}, logging.WARNING)
        else:
            self._confirm(log, address, name)
        finally:
            self._free.release()

    def _confirm(self, log: SessionLog, address: str, name: str) -> None:
        try:
            addresses = self._addresses_of(name)
        except OSError as error:
            log.tell("client-name-unknown", {"name": name, "reason": str(error)}, logging.WARNING)
            return
        if address in addresses:
            log.tell("client-name", {"name": name})
        else:
            log.tell("client-name-mismatch", {"name": name, "reason": "the name has other addresses"}, logging.WARNING)


def _name_of(address: str) -> str:
    return socket.gethostbyaddr(address)[0]


def _addresses_of(name: str) -> set[str]:
    return {str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
