"""A network, as the configuration file spells it.

Rule of this file: an address with bits behind the prefix is a mistake, not a network: ``10.1.2.3/8`` may be meant as
one address or as sixteen million.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator

MAPPED_PREFIX = 96
"""Bits of an IPv4-mapped IPv6 address before the IPv4 address (RFC 4291 section 2.5.5.2)."""


def normal_network(text: str) -> str:
    """Check a network and return its one usual form.

    Args:
        text: ``192.0.2.0/24``, ``2001:db8::/32``; a single address stands for itself. A network of IPv4-mapped
            addresses becomes the IPv4 network.

    Raises:
        ValueError: It is none of these; the message says what is wrong.
    """
    if "%" in text:
        raise ValueError(f"{text!r} names an interface; a network does not")
    try:
        network = ipaddress.ip_network(text)
    except ValueError as exc:
        if "host bits set" in str(exc):
            whole = ipaddress.ip_network(text, strict=False)
            raise ValueError(f"{text!r} has bits behind its prefix; the network is {str(whole)!r}") from exc
        raise ValueError(f"{text!r} is not a network, as in '192.0.2.0/24' or '2001:db8::/32'") from exc
    if isinstance(network, ipaddress.IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= MAPPED_PREFIX:
            return str(ipaddress.IPv4Network((mapped, network.prefixlen - MAPPED_PREFIX)))
    return str(network)


Network = Annotated[str, AfterValidator(normal_network)]
"""One entry of ``allow_networks`` or ``deny_networks``."""
