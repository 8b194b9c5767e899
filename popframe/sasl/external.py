"""EXTERNAL: the client's certificate has said who it is already (RFC 4422 appendix A)."""

from __future__ import annotations

from typing import ClassVar

from popframe.errors import AuthenticationFailed
from popframe.extension import Challenge, MechanismContext
from popframe.model import Peer
from popframe.proof import Proven
from popframe.sasl import text


class External:
    """The mechanism; only a connection on which a certificate was verified has it."""

    name: ClassVar[str] = "EXTERNAL"
    reveals_password: ClassVar[bool] = False
    needs_secret: ClassVar[str] = ""

    def suits(self, peer: Peer) -> bool:
        """Tell whether the client has shown a certificate that is somebody's."""
        return peer.tls is not None and bool(peer.tls.client_name)

    def start(self, context: MechanismContext) -> ExternalExchange:
        """Begin an exchange."""
        return ExternalExchange(context.peer)


class ExternalExchange:
    """One message, which may be empty."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def respond(self, response: bytes | None) -> Challenge | Proven:
        """Take the name as which the client wants to act; empty for that of its certificate.

        Raises:
            AuthenticationFailed: There is no certificate, or the name is nobody's.
        """
        if self._peer.tls is None or not self._peer.tls.client_name:
            raise AuthenticationFailed("EXTERNAL without a client certificate")
        if response is None:
            return Challenge()
        authorization = text.name(response, "EXTERNAL: the name to act as") if response else ""
        return Proven(self._peer.tls.client_name, authorization=authorization)
