"""A site with certificates, and clients that speak TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

from popframe.testing.client import RawClient
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite

HOST = "localhost"


class TlsSite:
    """What a site needs for TLS: an authority, and a certificate that it has issued.

    Attributes:
        site: The site.
        authority: Who has issued its certificate.
        client_authority: Who issues those of clients.
    """

    def __init__(self, site: MailSite) -> None:
        self.site = site
        self.authority = trustme.CA()
        self.client_authority = trustme.CA()
        self.renew()

    @property
    def certificate(self) -> Path:
        """Certificate and key, in one file."""
        return self.site.directory / "server.pem"

    def renew(self, *names: str, key_type: trustme.KeyType = trustme.KeyType.ECDSA) -> bytes:
        """Replace the certificate by a new one; return it in DER form."""
        issued = self.authority.issue_cert(*(names or (HOST, "127.0.0.1")), common_name=HOST, key_type=key_type)
        octets = issued.private_key_and_cert_chain_pem.bytes()
        beside = self.certificate.with_suffix(".new")
        beside.write_bytes(octets)
        beside.chmod(0o600)
        self.site.hand_over()
        beside.replace(self.certificate)
        return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())

    def configure(self, server: str = "", tls: str = "", more: str = "") -> None:
        """Write a configuration with TLS: one address for STLS, one for TLS from the first octet."""
        self.site.configure(
            f'listen_tls = ["127.0.0.1:0"]\n{server}', f'[tls]\ncertificate = "{self.certificate}"\n{tls}\n{more}'
        )

    def context(self) -> ssl.SSLContext:
        """Return what a client needs that trusts the authority."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def connect(
        self, server: ServerProcess, context: ssl.SSLContext | None = None, *, source: str | None = None
    ) -> RawClient:
        """Return a client that has been greeted under TLS; the caller closes it."""
        return RawClient(server.tls_addresses[0], tls=context or self.context(), server_name=HOST, source=source)
