"""Where logins are taken from."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import Account, Peer
from popframe.authorization.networks import NetworkLists
from popframe.config.network import normal_network

ALICE = Account("alice")

NEITHER = (None, ())
LOCAL = (("192.0.2.0/24", "2001:db8::/32"), ())
LOCAL_BUT_ONE = (("192.0.2.0/24",), ("192.0.2.7/32",))
NOT_THERE = (None, ("198.51.100.0/24", "fe80::/10"))


@pytest.mark.parametrize(
    ("lists", "address", "objection"),
    [
        (NEITHER, "203.0.113.1", None),
        (NEITHER, "", None),
        (NEITHER, "not an address", None),
        (LOCAL, "192.0.2.255", None),
        (LOCAL, "192.0.3.0", "address 192.0.3.0 is not in login.allow_networks"),
        (LOCAL, "2001:db8:ffff::1", None),
        (LOCAL, "2001:db9::1", "address 2001:db9::1 is not in login.allow_networks"),
        (LOCAL, "::ffff:192.0.2.1", None),
        (LOCAL, "::ffff:192.0.3.1", "address 192.0.3.1 is not in login.allow_networks"),
        (LOCAL, "", "the client has no address, and login.allow_networks is set"),
        (LOCAL, "192.0.2.1.example", "address '192.0.2.1.example' cannot be compared with networks"),
        (LOCAL_BUT_ONE, "192.0.2.7", "address 192.0.2.7 is in login.deny_networks"),
        (LOCAL_BUT_ONE, "::ffff:192.0.2.7", "address 192.0.2.7 is in login.deny_networks"),
        (LOCAL_BUT_ONE, "192.0.2.8", None),
        (NOT_THERE, "198.51.100.9", "address 198.51.100.9 is in login.deny_networks"),
        (NOT_THERE, "fe80::1%eth0", "address fe80::1%eth0 is in login.deny_networks"),
        (NOT_THERE, "203.0.113.1", None),
        (NOT_THERE, "", None),
        (NOT_THERE, "?", "address '?' cannot be compared with networks"),
    ],
)
def test_address_is_looked_for(
    lists: tuple[tuple[str, ...] | None, tuple[str, ...]], address: str, objection: str | None
) -> None:
    """Whoever is denied is refused, allowed or not; an IPv4-mapped address is the IPv4 address."""
    assert NetworkLists(*lists).objection(Peer(address), ALICE) == objection


@given(st.ip_addresses(v=4), st.integers(0, 32), st.integers(0, 2**32 - 1))
def test_networks_agree_with_the_bits(address: ipaddress.IPv4Address, prefix: int, other: int) -> None:
    """An address is in a network when the bits of the prefix are the same, mapped into IPv6 or not."""
    shift = 32 - prefix
    network = f"{ipaddress.IPv4Address((other >> shift) << shift)}/{prefix}"
    is_inside = int(address) >> shift == other >> shift
    rule = NetworkLists((normal_network(network),), ())

    assert (rule.objection(Peer(str(address)), ALICE) is None) is is_inside
    assert (rule.objection(Peer(f"::ffff:{address}"), ALICE) is None) is is_inside


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::/0", "::/0"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
    ],
)
def test_network_has_one_form(text: str, normal: str) -> None:
    """However it is spelt."""
    assert normal_network(text) == normal
