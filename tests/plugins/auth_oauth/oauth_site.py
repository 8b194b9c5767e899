"""A real server that takes tokens, under TLS, with either isolation; and clients for it."""

from __future__ import annotations

import base64
import os
import ssl
from itertools import count

import trustme

from popframe.testing import MailSite, RawClient, ServerProcess

from .issuer import AUDIENCE, ISSUER, USERNAME, Website

HOST = "localhost"
OTHER_USERNAME = "bob@example.org"
MESSAGE = b"Subject: hello\n\nHow are you?\n"
REFUSAL = b"-ERR [AUTH] user name or password not accepted\r\n"

HASH = "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1"
"""Of a password that no test uses."""

PLUGINS = ("auth_oauth", "auth_file", "store_mbox")

UIDS = count(90_000 + 1_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")))
"""Numbers that no account of the machine has, and no other process of these tests, each used once."""


class OauthSite:
    """A site with a certificate, whose users do not use their passwords.

    Attributes:
        site: Its folder.
        authority_path: Certificate of who vouches for it, for clients.
        isolation: "shared" or "per-user".
        uids: With "per-user", the user ids by name.
    """

    def __init__(self, site: MailSite, isolation: str = "shared") -> None:
        self.site = site
        self.authority_path = site.directory / "ca.pem"
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(str(self.authority_path))
        issued = self._authority.issue_cert(HOST, "127.0.0.1", common_name=HOST)
        self._certificate = site.directory / "server.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(str(self._certificate))
        self.isolation = isolation
        self.uids = {name: next(UIDS) for name in (USERNAME, OTHER_USERNAME)} if isolation == "per-user" else {}

    def configure(
        self, website: Website, settings: str = "", more: str = "", plugins: tuple[str, ...] = PLUGINS
    ) -> None:
        """Write the configuration, the users, and a message for alice."""
        table = f'[plugin.auth_oauth]\nissuer = "{ISSUER}"\naudiences = ["{AUDIENCE}"]\njwks_url = "{website.url}"\n'
        self.site.configure(
            f'listen_tls = ["127.0.0.1:0"]\nfronts = 2\nisolation = "{self.isolation}"\n',
            f'[tls]\ncertificate = "{self._certificate}"\n{table}{settings}\n{more}',
            plugins=plugins,
        )
        fields = {name: f":uid={uid} gid={uid}" for name, uid in self.uids.items()}
        users = self.site.directory / "users"
        users.write_text("".join(f"{name}:{HASH}{fields.get(name, '')}\n" for name in (USERNAME, OTHER_USERNAME)))
        self.site.put(USERNAME, [MESSAGE])
        if self.uids:
            os.chown(users, 0, 0)
            (self.site.directory / "mail").chmod(0o1777)
            os.chown(self.site.spool(USERNAME), self.uids[USERNAME], self.uids[USERNAME])

    def connect(self, server: ServerProcess) -> RawClient:
        """Return a client that has been greeted under TLS; the caller closes it."""
        context = ssl.create_default_context(cafile=self.authority_path)
        return RawClient(server.tls_addresses[0], tls=context, server_name=HOST)


def bearer(octets: bytes, username: str = USERNAME, more: str = "") -> str:
    """Return the message of OAUTHBEARER in base64."""
    return base64.b64encode(f"n,a={username},\x01{more}auth=Bearer ".encode() + octets + b"\x01\x01").decode()


def xoauth2(octets: bytes, username: str = USERNAME) -> str:
    """Return the message of XOAUTH2 in base64."""
    return base64.b64encode(f"user={username}\x01auth=Bearer ".encode() + octets + b"\x01\x01").decode()


def challenge(line: bytes) -> bytes:
    """Return what a challenge says."""
    assert line.startswith(b"+ "), line
    return base64.b64decode(line[2:].strip(), validate=True)


def log_in(client: RawClient, octets: bytes, username: str = USERNAME) -> bytes:
    """Return the reply to a login by OAUTHBEARER, the end of a refused one included."""
    line = client.ask(f"AUTH OAUTHBEARER {bearer(octets, username)}")
    return client.ask("AQ==") if line.startswith(b"+ ") else line
