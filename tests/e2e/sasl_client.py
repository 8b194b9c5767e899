"""A client's side of SASL, for tests that say exactly what they want."""

from __future__ import annotations

import base64
import ssl

from scramp import ScramClient

from popframe import ScramKeys
from popframe.testing.client import RawClient

PASSWORD = "secret"


def keys(password: str = PASSWORD) -> str:
    """Return what a line of a password file needs for SCRAM; the salt is another one each time."""
    schemes = ("scram-sha-256", "scram-sha-1")
    return " ".join(f"{scheme}={ScramKeys.made(password.encode(), scheme, 4096).text}" for scheme in schemes)


def coded(message: str | bytes) -> str:
    """Return a message in base64."""
    return base64.b64encode(message.encode() if isinstance(message, str) else message).decode()


def plain(username: str, password: str = PASSWORD, authorization: str = "") -> str:
    """Return the message of PLAIN."""
    return coded(f"{authorization}\0{username}\0{password}")


def capabilities(client: RawClient) -> dict[str, list[str]]:
    """Return the lines of CAPA by their tags."""
    client.ask("CAPA")
    lines = [line.split() for line in client.body().decode().splitlines()]
    return {tag: arguments for tag, *arguments in lines}


def scram(
    client: RawClient, username: str, password: str = PASSWORD, *, name: str = "SCRAM-SHA-256", binding: bytes = b""
) -> bytes:
    """Log in by SCRAM, verify the server, and return its last reply.

    Args:
        client: A client that has not logged in.
        username: Who.
        password: With what.
        name: The mechanism.
        binding: With -PLUS, the hash of the server's certificate.
    """
    other = ScramClient([name], username, password, ("tls-server-end-point", binding) if binding else None)
    reply = client.ask(f"AUTH {name} {coded(other.get_client_first())}")
    other.set_server_first(base64.b64decode(reply.removeprefix(b"+ ")).decode())
    reply = client.ask(coded(other.get_client_final()))
    if not reply.startswith(b"+ "):
        return reply
    other.set_server_final(base64.b64decode(reply.removeprefix(b"+ ")).decode())
    return client.ask("")


def trusting(context: ssl.SSLContext, certificate: str, key: str) -> ssl.SSLContext:
    """Return a context that shows a certificate."""
    context.load_cert_chain(certificate, key)
    return context
