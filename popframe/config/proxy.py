"""The settings of the core: table ``[proxy]``, connections that come through a proxy which says whose they are."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from popframe.config.address import ListenAddress
from popframe.config.network import Network
from popframe.config.settings import CoreSettings

LEAST_HEADER_SECONDS = 3
"""A lost segment is sent again after a second, or after three (proxy-protocol.txt, section 2)."""

MOST_HEADER_SECONDS = 60
"""A proxy sends its header with its first segment; whoever needs longer is none."""


def _not_everybody(network: str) -> str:
    """Refuse the network of all addresses: then every client could claim any address."""
    if not ipaddress.ip_network(network).prefixlen:
        raise ValueError(f"{network!r} are all addresses there are; name those of the proxies")
    return network


ProxyNetwork = Annotated[Network, AfterValidator(_not_everybody)]
"""One entry of ``networks``."""


class ProxySettings(CoreSettings):
    """Table ``[proxy]``: addresses on which every connection begins with a header of the PROXY protocol."""

    listen: tuple[ListenAddress, ...] = Field(
        default=(),
        description="Where to listen for proxies that send a header of the PROXY protocol, version 1 or 2, and then "
        "what the client sends. No connection is served here without a header.",
    )
    listen_tls: tuple[ListenAddress, ...] = Field(
        default=(),
        description="The same for clients that speak TLS from the first octet, through the proxy: header, then TLS; "
        "needs tls.certificate.",
    )
    networks: tuple[ProxyNetwork, ...] = Field(
        default=(),
        validate_default=True,
        description="Where the proxies are, such as '192.0.2.10' or '192.0.2.0/28'. From anywhere else connections to "
        "these addresses are closed at once. Needed where something listens.",
    )
    header_timeout_seconds: int = Field(
        default=5,
        ge=LEAST_HEADER_SECONDS,
        le=MOST_HEADER_SECONDS,
        description="Seconds that a proxy gets for the whole header.",
    )
    trust_tls: bool = Field(
        default=False,
        description="Take a client for protected by TLS when a header of version 2 says that it speaks TLS with the "
        "proxy (PP2_TYPE_SSL). The way from the proxy must then be safe from listeners.",
    )

    @field_validator("listen", "listen_tls")
    @classmethod
    def _listen_once(cls, addresses: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Refuse an address that is listed twice: the second bind would fail."""
        fixed = [address for address in (*info.data.get("listen", ()), *addresses) if not address.endswith(":0")]
        for address in fixed:
            if fixed.count(address) > 1:
                raise ValueError(f"{address} is listed twice")
        return addresses

    @field_validator("networks")
    @classmethod
    def _proxies_are_named(cls, networks: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Refuse to believe everybody."""
        if not networks and (info.data.get("listen") or info.data.get("listen_tls")):
            raise ValueError("networks must name the proxies: from anybody else no header is believed")
        return networks

    @property
    def is_on(self) -> bool:
        """Something is to listen."""
        return bool(self.listen or self.listen_tls)
