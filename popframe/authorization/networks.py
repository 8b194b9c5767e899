"""Networks from which logins are taken, and from which they are not."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from popframe.model import Account, Peer


class NetworkLists:
    """``allow_networks`` and ``deny_networks``; an address that is in both is refused."""

    def __init__(self, allowed: Sequence[str] | None, denied: Sequence[str]) -> None:
        """Take the networks, in a form that :func:`ipaddress.ip_network` knows; None for every network."""
        self._allowed = None if allowed is None else tuple(ipaddress.ip_network(text) for text in allowed)
        self._denied = tuple(ipaddress.ip_network(text) for text in denied)

    def objection(self, peer: Peer, account: Account) -> str | None:
        """Look where the client connects from.

        A client without an address (a pipe, a socket pair) is in no network: not in one that is denied, and not in one
        that is allowed.
        """
        if self._allowed is None and not self._denied:
            return None
        if not peer.address:
            return None if self._allowed is None else "the client has no address, and login.allow_networks is set"
        try:
            address = ipaddress.ip_address(peer.address)
        except ValueError:
            return f"address {peer.address!r} cannot be compared with networks"
        if isinstance(address, ipaddress.IPv6Address):
            address = address.ipv4_mapped or address
        if any(address in network for network in self._denied):
            return f"address {address} is in login.deny_networks"
        if self._allowed is not None and not any(address in network for network in self._allowed):
            return f"address {address} is not in login.allow_networks"
        return None
