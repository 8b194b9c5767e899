"""The SASL mechanisms: OAUTHBEARER (RFC 7628), and XOAUTH2, which was there before it.

Both take one message and check the token in it. A token that is refused is answered with the reason as JSON, in a
challenge; the client says something that means nothing, and then the exchange fails (RFC 7628 section 3.2.3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from popframe import AuthenticationFailed, Challenge, Exchange, MechanismContext, Peer, Proven, prepared_name
from popframe_auth_oauth.bearer_token import TokenCheck, TokenRefused
from popframe_auth_oauth.message import (
    SEPARATOR,
    BearerMessage,
    oauthbearer_error,
    parse_oauthbearer,
    parse_xoauth2,
    xoauth2_error,
)
from popframe_auth_oauth.settings import AuthOauthSettings


@dataclass(frozen=True, slots=True)
class Form:
    """What the two mechanisms do not have in common.

    Attributes:
        name: The mechanism.
        parse: Reads the client's message; raises ValueError.
        error: Makes the challenge from an error code, scopes, and the address of the issuer's configuration.
    """

    name: str
    parse: Callable[[bytes], BearerMessage]
    error: Callable[[str, Sequence[str], str], bytes]


OAUTHBEARER = Form("OAUTHBEARER", parse_oauthbearer, oauthbearer_error)
XOAUTH2 = Form("XOAUTH2", parse_xoauth2, xoauth2_error)


class BearerMechanism:
    """One of the mechanisms, as AUTH offers it."""

    reveals_password = True
    """Whoever reads the token can use it."""
    needs_secret = ""

    def __init__(self, form: Form, settings: AuthOauthSettings, check: TokenCheck) -> None:
        self.name = form.name
        self._form = form
        self._settings = settings
        self._check = check

    def suits(self, peer: Peer) -> bool:
        """Offer it only under TLS (RFC 7628 section 3), unless the site knows better."""
        return peer.tls is not None or not self._settings.require_tls

    def start(self, context: MechanismContext) -> Exchange:
        """Begin an exchange."""
        return BearerExchange(self._form, self._settings, self._check, context)


class BearerExchange:
    """One login, or one refusal."""

    def __init__(self, form: Form, settings: AuthOauthSettings, check: TokenCheck, context: MechanismContext) -> None:
        self._form = form
        self._settings = settings
        self._check = check
        self._context = context
        self._refusal = ""

    def respond(self, response: bytes | None) -> Challenge | Proven:
        """Take the message, or what ends an exchange that was refused.

        Raises:
            AuthenticationFailed: The token is refused, and the client has been told why.
            TemporaryFailure: It cannot be checked now.
        """
        if self._refusal:
            raise AuthenticationFailed(self._refusal)
        if response is None:
            return Challenge(b"")
        if response == SEPARATOR:
            raise AuthenticationFailed(f"{self._form.name}: an answer to an error that was none")
        try:
            message = self._form.parse(response)
        except ValueError as error:
            return self._refused("invalid_request", f"a malformed message: {error}")
        if message.username:
            self._context.claim(message.username)
        try:
            self._check_place(message)
            username = self._check.username(message.token)
        except TokenRefused as error:
            return self._refused(error.status, f"the token is refused: {error}")
        return Proven(username, authorization="" if _is_name_of(message.username, username) else message.username)

    def _refused(self, status: str, reason: str) -> Challenge:
        """Tell the client, as far as it may know, and keep the reason for the log."""
        self._refusal = f"{self._form.name}: {reason}"
        settings = self._settings
        content = self._form.error(status, settings.required_scopes, settings.openid_configuration or "")
        return Challenge(content, is_refusal=True)

    def _check_place(self, message: BearerMessage) -> None:
        """Refuse a client that believes to have connected to another server (RFC 7628 section 3.2).

        Without TLS, or without a name asked for by TLS, the server does not know by what name it was found.

        Raises:
            TokenRefused: The client means another one.
        """
        tls = self._context.peer.tls
        hosts = self._settings.hosts or ((tls.server_name,) if tls and tls.server_name else ())
        if message.host is not None and hosts and _host(message.host) not in hosts:
            raise TokenRefused("the client means another host", "invalid_request")
        ports = self._settings.ports or ((self._context.peer.local_port,) if self._context.peer.local_port else ())
        if message.port is not None and ports and message.port not in map(str, ports):
            raise TokenRefused("the client means another port", "invalid_request")


def _is_name_of(prepared: str, username: str) -> bool:
    """Tell whether a client's name, prepared, is that of the token's user.

    The token's own name is prepared only to be compared. SASLprep makes one name of several, and an issuer may have
    given those to several people: none of them is to get the account of another.
    """
    try:
        return prepared == prepared_name(username)
    except ValueError:
        return False


def _host(name: str) -> str:
    return name.lower().removesuffix(".")
