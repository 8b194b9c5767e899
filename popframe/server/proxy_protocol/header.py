"""What a header says, and the errors of one."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from popframe.errors import PopframeError


class InvalidHeader(PopframeError):
    """What came is no header of this protocol; the connection is closed without a word."""


class NothingSent(InvalidHeader):
    """The connection ended before its first octet: a look whether somebody listens, and not worth a line in the log."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The two ends of the client's connection to the proxy; numeric addresses as :func:`address_text` writes them.

    Attributes:
        source: The client's address.
        source_port: The client's port.
        destination: The address that the client connected to.
        destination_port: The port that it connected to.
    """

    source: str
    source_port: int
    destination: str
    destination_port: int


@dataclass(frozen=True, slots=True)
class ProxiedTls:
    """The TLS connection that the proxy has ended (section 2.2.6, PP2_TYPE_SSL).

    Attributes:
        version: What the proxy calls the version, such as ``TLSv1.3``; empty when it does not say.
        cipher: What it calls the cipher; empty when it does not say.
    """

    version: str = ""
    cipher: str = ""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """One header.

    Attributes:
        endpoints: Whose connection this is; None for the proxy's own, a health check, and when the proxy does not know.
        tls: The client's TLS connection; None when it has none.
        authority: The host name that the client asked for (section 2.2.2), as the proxy passed it on; empty for none.
    """

    endpoints: Endpoints | None = None
    tls: ProxiedTls | None = None
    authority: str = ""


NO_CLIENT = ProxyHeader()
"""A header that says no more than that it is one."""


def address_text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Write an address in its usual form; an IPv4 client of the proxy's IPv6 socket has its IPv4 address."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
