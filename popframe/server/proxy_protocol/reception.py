"""Taking a header off a connection: exactly its octets, in bounded time.

Rule of this file: no octet behind the header is taken from the kernel. What follows is TLS or POP3, and whoever reads
that must find it whole.
"""

from __future__ import annotations

import socket
import time

from popframe.server.listener import set_timeout
from popframe.server.proxy_protocol import version1, version2
from popframe.server.proxy_protocol.header import InvalidHeader, NothingSent, ProxyHeader
from popframe.server.transport import SHORTEST_WAIT_SECONDS


def receive_header(transport: socket.socket, seconds: float) -> ProxyHeader:
    """Take one header from a blocking socket, whose receive timeout is another one afterwards.

    Args:
        transport: A connection of which nothing was read yet.
        seconds: How long the whole header may take.

    Raises:
        InvalidHeader: What comes is no header, or not all of it comes; the connection is of no use then.
        NothingSent: The connection ended before anything came.
    """
    deadline = time.monotonic() + seconds
    header = b""
    length: int | None = None
    while length is None or len(header) < length:
        left = deadline - time.monotonic()
        if left <= 0:
            raise InvalidHeader(f"no whole header within {seconds:g} seconds")
        set_timeout(transport, socket.SO_RCVTIMEO, max(left, SHORTEST_WAIT_SECONDS))
        try:
            waiting = transport.recv(version2.MAX_HEADER_OCTETS - len(header), socket.MSG_PEEK)
            if not waiting:
                raise _ended(header)
            length = header_length(header + waiting)
            # What does not end the header belongs to it.
            header += transport.recv(len(waiting) if length is None else min(len(waiting), length - len(header)))
        except BlockingIOError as error:
            raise InvalidHeader(f"no whole header within {seconds:g} seconds") from error
        except OSError as error:
            raise _ended(header) from error
    return parse_header(header)


def header_length(octets: bytes) -> int | None:
    """Return how many octets the header has that begins here, None if that is not known yet.

    Raises:
        InvalidHeader: No header begins like this.
    """
    for start, length in ((version1.START, version1.line_length), (version2.SIGNATURE, version2.header_length)):
        if octets[: len(start)] == start[: len(octets)]:
            return length(octets)
    raise InvalidHeader("something that is no PROXY header")


def parse_header(octets: bytes) -> ProxyHeader:
    """Read one whole header.

    Raises:
        InvalidHeader: It is none.
    """
    if octets.startswith(version1.START):
        return version1.parse_line(octets)
    return version2.parse_header(octets)


def _ended(header: bytes) -> InvalidHeader:
    return InvalidHeader("the connection ended within the header") if header else NothingSent("nothing was sent")
