"""The proxies that are believed, and the clients that come through them."""

from __future__ import annotations

import ipaddress
import logging
import socket
from dataclasses import replace

from popframe.config import ProxySettings
from popframe.model import Peer, Tls
from popframe.server.log import log_event
from popframe.server.proxy_protocol.header import InvalidHeader, NothingSent, ProxyHeader
from popframe.server.proxy_protocol.reception import receive_header


class Proxies:
    """Who may say whose connection it brings."""

    def __init__(self, settings: ProxySettings) -> None:
        """Take the table ``[proxy]`` of the configuration."""
        self._networks = tuple(ipaddress.ip_network(network) for network in settings.networks)
        self._header_seconds = settings.header_timeout_seconds
        self._trusts_tls = settings.trust_tls

    def are_trusted(self, proxy: Peer) -> bool:
        """Tell whether a connection may have a header; log it when not. Without an address none may."""
        if proxy.address:
            address = ipaddress.ip_address(proxy.address)
            if any(address in network for network in self._networks):
                return True
        _log_refusal(proxy, "not in proxy.networks")
        return False

    def client_of(self, transport: socket.socket, proxy: Peer, *, speaks_tls: bool = False) -> Peer | None:
        """Take the header off a connection.

        Args:
            transport: The connection; nothing was read of it, and nothing behind the header is.
            proxy: Its two ends.
            speaks_tls: TLS is to come behind the header.

        Returns:
            Whose connection it is; None, and a line in the log, when there is no valid header in time.
        """
        try:
            header = self._header_on(transport, speaks_tls=speaks_tls)
        except NothingSent:
            return None
        except InvalidHeader as error:
            _log_refusal(proxy, str(error))
            return None
        client = self._named(header, proxy)
        fields = {
            "address": client.address,
            "port": client.port,
            "proxy": proxy.address,
            "tls": "no" if header.tls is None else f"{header.tls.version}/{header.tls.cipher}",
            "authority": header.authority or "-",
        }
        log_event("proxied", fields, logging.DEBUG)
        return client

    def _header_on(self, transport: socket.socket, *, speaks_tls: bool) -> ProxyHeader:
        header = receive_header(transport, self._header_seconds)
        if speaks_tls and header.tls is not None and not self._trusts_tls:
            # What comes is TLS with the proxy. Taken for the client's, it would protect, and show a certificate.
            raise InvalidHeader("the client's TLS ends at the proxy, and proxy.trust_tls is not set")
        return header

    def _named(self, header: ProxyHeader, proxy: Peer) -> Peer:
        tls = None
        if header.tls is not None and self._trusts_tls:
            tls = Tls(header.tls.version, header.tls.cipher, server_name=header.authority, by_proxy=True)
        ends = header.endpoints
        if ends is None:
            return replace(proxy, tls=tls, proxy=proxy.address)
        return Peer(ends.source, ends.source_port, ends.destination, ends.destination_port, tls, proxy.address)


def _log_refusal(proxy: Peer, reason: str) -> None:
    log_event("proxy-refused", {"address": proxy.address or "-", "reason": reason}, logging.WARNING)
