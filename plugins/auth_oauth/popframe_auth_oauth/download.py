"""One document from the web, within bounds of time and size.

Rule of this file: it goes to the address that the operator has written, and nowhere else: no redirects, no proxies from
the environment.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from types import TracebackType
from urllib.parse import urlsplit

from popframe import __version__

DEFAULT_PORTS = {"http": 80, "https": 443}


class DownloadError(Exception):
    """There is no document; the message says why."""


def download(url: str, timeout_seconds: float, max_octets: int, context: ssl.SSLContext) -> bytes:
    """Fetch a document by GET (RFC 9110).

    Args:
        url: http or https.
        timeout_seconds: For connecting to each address of the host, and for everything after that together. How long
            the host's name may take to look up is a matter of resolv.conf(5).
        max_octets: More than this is refused.
        context: Who is believed to be that host.

    Raises:
        DownloadError: There was no answer, not in time, not with status 200, or too long a one.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        transport = socket.create_connection((host, port), timeout_seconds)
        with transport, _Deadline(transport, timeout_seconds):
            if parts.scheme == "http":
                return _get(transport, parts.netloc, target, max_octets)
            with context.wrap_socket(transport, server_hostname=host) as protected:
                return _get(protected, parts.netloc, target, max_octets)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DownloadError(f"{url}: {str(error) or type(error).__name__}") from error


class _Deadline:
    """Ends a connection when its time is over: the time-out of a socket begins anew with every octet."""

    def __init__(self, transport: socket.socket, seconds: float) -> None:
        # TLS takes over the descriptor, and SSLSocket.shutdown would let what follows be read as clear text.
        self._handle = transport.dup()
        self._seconds = seconds
        self._is_over = False
        self._timer = threading.Timer(seconds, self._end)

    def _end(self) -> None:
        self._is_over = True
        with contextlib.suppress(OSError):  # it has ended by itself
            self._handle.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave no thread behind: the process may be about to become another user.

        Raises:
            TimeoutError: Time was over, which is why the block has failed, however that looked there.
        """
        self._timer.cancel()
        self._timer.join()
        self._handle.close()
        if self._is_over and exc is not None:
            raise TimeoutError(f"no whole answer within {self._seconds:g} s") from exc


def _get(transport: socket.socket, host: str, target: str, max_octets: int) -> bytes:
    connection = http.client.HTTPConnection(host)
    connection.sock = transport
    headers = {"Accept": "application/jwk-set+json, application/json", "User-Agent": f"popframe/{__version__}"}
    connection.request("GET", target, headers=headers)
    with connection.getresponse() as response:
        if response.status != http.client.OK:
            raise ValueError(f"the answer is {response.status} {response.reason}, not 200")
        document = response.read(max_octets + 1)
        if len(document) > max_octets:
            raise ValueError(f"the answer has more than {max_octets} octets")
        if response.length:
            raise ValueError("the answer was cut short")
    return document
