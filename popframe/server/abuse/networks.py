"""Whose an address is: what is counted as one client."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

IPV6_PREFIX = 64
"""Bits of an IPv6 network that one site owns as a whole (RFC 6177)."""


class Networks:
    """What addresses are counted as, and which are not counted."""

    def __init__(self, exempt: Sequence[str] = ()) -> None:
        """Take networks in a form that :func:`ipaddress.ip_network` knows."""
        self._exempt = tuple(ipaddress.ip_network(text) for text in exempt)

    def counted_as(self, address: str) -> str:
        """Return the IPv4 address, or the IPv6 network, that an address is counted as; empty for none."""
        if ":" not in address and not self._exempt:
            return address  # numeric, from the kernel: there is only one way to write it
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return ""
        if isinstance(parsed, ipaddress.IPv6Address):
            parsed = parsed.ipv4_mapped or parsed
        if any(parsed in network for network in self._exempt):
            return ""
        if isinstance(parsed, ipaddress.IPv4Address):
            return str(parsed)
        return str(ipaddress.ip_network((int(parsed), IPV6_PREFIX), strict=False))
