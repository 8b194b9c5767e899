"""SCRAM: a proof of the password that shows it to nobody, not even to the server (RFC 5802, RFC 7677).

scramp does the computing and the strict reading of messages. Rule of this file: a user who does not exist gets the same
challenge as one who does, every time, and fails at the same message.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

from popframe.errors import AuthenticationFailed, HookContractError, PopframeError
from popframe.extension import Challenge, MechanismContext
from popframe.model import Peer
from popframe.proof import Proven, StoredSecret
from popframe.sasl import text
from popframe.scram_keys import SALT_OCTETS, SCHEMES, ScramKeys

if TYPE_CHECKING:
    from scramp.core import ScramServer

NONCE_OCTETS = 18
"""Random octets in the server's part of the nonce; 24 letters in base64."""

BINDING = "tls-server-end-point"
"""The one channel binding that every version of TLS has and the standard library can give (RFC 5929 section 4)."""

_BAD_ESCAPE = re.compile("=(?!2C|3D)")


class Scram:
    """One of the mechanisms of this family.

    Attributes:
        name: Its registered name.
    """

    reveals_password = False

    def __init__(self, scheme: str, *, is_plus: bool, has_plus: bool) -> None:
        """Make one.

        Args:
            scheme: ``"scram-sha-256"`` or ``"scram-sha-1"``.
            is_plus: It is the one with channel binding.
            has_plus: That one is offered besides, on connections that have a binding: a client that could have used
                it, and says that it saw none, talks to somebody in the middle (RFC 5802 section 6).
        """
        self.needs_secret = scheme
        self.name = f"{scheme.upper()}-PLUS" if is_plus else scheme.upper()
        self._is_plus = is_plus
        self._has_plus = has_plus

    def suits(self, peer: Peer) -> bool:
        """Tell whether there is a channel to bind to, if it wants one."""
        return not self._is_plus or _binding(peer) is not None

    def start(self, context: MechanismContext) -> ScramExchange:
        """Begin an exchange."""
        nonce = base64.b64encode(context.random_octets(NONCE_OCTETS)).decode("ascii")
        binding = _binding(context.peer) if self._has_plus else None
        return ScramExchange(context, self.needs_secret, nonce, binding, is_plus=self._is_plus)


def _binding(peer: Peer) -> bytes | None:
    return bytes.fromhex(peer.tls.end_point) if peer.tls is not None and peer.tls.end_point else None


class ScramExchange:
    """Three messages: who, the proof, and nothing as an answer to the server's own proof."""

    def __init__(
        self, context: MechanismContext, scheme: str, nonce: str, binding: bytes | None, *, is_plus: bool
    ) -> None:
        """Begin.

        Args:
            context: Where the keys are asked for.
            scheme: Which keys.
            nonce: The server's part of it.
            binding: What the channel is bound to, if the client may bind to it.
            is_plus: The client must.
        """
        self._context = context
        self._scheme = scheme
        self._nonce = nonce
        self._binding = binding
        self._is_plus = is_plus
        self._server: ScramServer | None = None
        self._secret: StoredSecret | None = None
        self._username = ""
        self._authorization = ""
        self._is_proven = False

    def respond(self, response: bytes | None) -> Challenge | Proven:
        """Take the next message.

        Raises:
            AuthenticationFailed: It is malformed, or the proof is wrong.
        """
        if response is None:
            if self._server is not None:
                raise AuthenticationFailed("SCRAM: no message")
            return Challenge()
        from scramp import ScramException  # takes its time, and most servers never need it

        try:
            if self._server is None:
                return Challenge(self._first(response).encode())
            if not self._is_proven:
                return Challenge(self._final(self._server, response).encode())
        except ScramException as error:
            if isinstance(error.__cause__, PopframeError):  # scramp wraps what the lookup of the keys raises
                raise error.__cause__ from None
            raise AuthenticationFailed(f"SCRAM: {error}") from error
        if response or self._secret is None:
            raise AuthenticationFailed("SCRAM: something behind the end")
        return Proven(self._username, self._secret.account, self._authorization)

    def _first(self, message: bytes) -> str:
        """Take ``n,,n=user,r=nonce``; return ``r=…,s=…,i=…``."""
        from scramp import ScramMechanism

        flag, comma, rest = text.decoded(message, "SCRAM: the first message").partition(",")
        authorization, more_comma, bare = rest.partition(",")
        if not comma or not more_comma:
            raise AuthenticationFailed("SCRAM: a first message without two commas")
        if flag.startswith("p=") != self._is_plus:
            raise AuthenticationFailed("SCRAM: channel binding with the wrong mechanism")
        mechanism = ScramMechanism(f"{self._scheme.upper()}-PLUS" if self._is_plus else self._scheme.upper())
        binding = None if self._binding is None else (BINDING, self._binding)
        server = mechanism.make_server(self._keys, channel_binding=binding, s_nonce=self._nonce)
        # scramp knows no other name to act as: it gets the message without, and the header that it has to find with.
        server.set_client_first(f"{flag},,{bare}")
        if authorization:
            if not authorization.startswith("a="):
                raise AuthenticationFailed("SCRAM: the second field is not a name to act as")
            self._authorization = text.name(_unescaped(authorization[2:]).encode(), "SCRAM: the name to act as")
            server.gs2_header = _Header(f"{flag},{authorization},", self._binding if self._is_plus else None)
        self._server = server
        first: str = server.get_server_first()
        return first

    def _final(self, server: ScramServer, message: bytes) -> str:
        """Take ``c=…,r=…,p=…``; return ``v=…``."""
        server.set_client_final(text.decoded(message, "SCRAM: the final message"))
        if self._secret is None:  # nobody finds a proof for keys that belong to no password; but to be sure
            raise AuthenticationFailed("SCRAM: a proof for nobody")
        self._is_proven = True
        final: str = server.get_server_final()
        return final

    def _keys(self, username: str) -> tuple[bytes, bytes, bytes, int]:
        """Return salt, StoredKey, ServerKey and iteration count of a user, or some that look right.

        Raises:
            AuthenticationFailed: A name of this form can never log in.
            HookContractError: What a plugin has stored is not of the form.
        """
        self._username = username
        self._secret = self._context.lookup_secret(username, self._scheme)
        if self._secret is None:
            octets = self._context.decoy_octets(f"{self._scheme} of {username}", SALT_OCTETS)
            nothing = self._context.random_octets(hashlib.new(SCHEMES[self._scheme]).digest_size)
            return octets, nothing, nothing, self._context.typical_iterations(self._scheme)
        try:
            keys = ScramKeys.parsed(self._secret.value.decode("ascii", "replace"))
        except ValueError as error:
            raise HookContractError(f"a plugin's {self._scheme} secret: {error}") from error
        if keys.scheme != self._scheme:
            raise HookContractError(f"a plugin's {self._scheme} secret is of {keys.scheme}")
        return keys.salt, keys.stored_key, keys.server_key, keys.iterations


class _Header:
    """What the client has to repeat in its last message (RFC 5802 section 6), a name to act as in it."""

    def __init__(self, header: str, binding: bytes | None) -> None:
        self._octets = header.encode() + (binding or b"")

    def make_cbind_input(self, _binding: object) -> bytes:
        """Return the octets to compare with."""
        return self._octets


def _unescaped(name: str) -> str:
    """Undo ``=2C`` and ``=3D`` (RFC 5802 section 5.1).

    Raises:
        AuthenticationFailed: There is another equals sign.
    """
    if _BAD_ESCAPE.search(name):
        raise AuthenticationFailed("SCRAM: an equals sign in a name")
    return name.replace("=2C", ",").replace("=3D", "=")
