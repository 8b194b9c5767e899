"""The settings of the plugin."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from popframe import ConfigPath, PluginSettings

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"]
"""Signatures with a key pair (RFC 7518 section 3.1, RFC 9864): whoever can check one cannot make one."""

MAX_LEEWAY_SECONDS = 300
"""Clocks that are further apart than five minutes need mending (RFC 7519 section 4.1.4: no more than a few minutes)."""

MAX_CACHE_SECONDS = 86_400
"""A day: a key that was withdrawn must not count for longer."""

MAX_REFETCH_SECONDS = 3600
"""An hour: so long nobody with a new key gets in."""

MAX_TIMEOUT_SECONDS = 60
"""A client waits this long for its login."""


def _not_blank(text: str) -> str:
    """Refuse what no token can hold, and what could only be a slip."""
    if not text or not text.isprintable() or text != text.strip():
        raise ValueError("is empty, has blanks at its ends, or characters that do not print")
    return text


def _one_word(text: str) -> str:
    """Keep to what a scope may be (RFC 6749 section 3.3)."""
    if not text or not all("!" <= character <= "~" and character not in '"\\' for character in text):
        raise ValueError("is not one word of printable ASCII without quotes and backslashes")
    return text


def _lower(name: str) -> str:
    """Compare host names as DNS does."""
    return _not_blank(name).lower().removesuffix(".")


def _web_address(url: str) -> str:
    """Refuse what is no address of the web, or holds a password."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("is not an address of the form https://HOST/PATH")
    if parts.username is not None or parts.fragment:
        raise ValueError("must not hold a user name, a password or a fragment")
    return url


def is_loopback(url: str) -> bool:
    """Tell whether what is fetched from there does not leave the machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Word = Annotated[str, AfterValidator(_not_blank)]
Scope = Annotated[str, AfterValidator(_one_word)]
HostName = Annotated[str, AfterValidator(_lower)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
Port = Annotated[int, Field(ge=1, le=65_535)]


class AuthOauthSettings(PluginSettings):
    """Table ``[plugin.auth_oauth]``."""

    issuer: Word = Field(description="Who must have issued a token: its claim iss, octet for octet.")
    audiences: tuple[Word, ...] = Field(
        min_length=1, description="Whom a token must be meant for: one of these must be in its claim aud."
    )
    jwks_file: ConfigPath | None = Field(
        default=None,
        description="The issuer's public keys, a JWK Set (RFC 7517), in a file; read again when it changes.",
    )
    jwks_url: WebAddress | None = Field(
        default=None, description="The address where the issuer publishes them; https, or http on this machine."
    )
    jwks_ca_file: ConfigPath | None = Field(
        default=None,
        description="Certificates, in PEM form, of whoever vouches for that server; without it, those that the system "
        "trusts.",
    )
    allow_http: bool = Field(
        default=False,
        description="Fetch keys by plain http from another machine, where everybody on the way can put in their own.",
    )
    cache_seconds: int = Field(
        default=3600, ge=1, le=MAX_CACHE_SECONDS, description="Seconds after which fetched keys are fetched again."
    )
    refetch_seconds: int = Field(
        default=30,
        ge=1,
        le=MAX_REFETCH_SECONDS,
        description="Seconds that must have passed since the last try before they are fetched again sooner, because a "
        "token names a key that is not among them, or because the last try has failed.",
    )
    timeout_seconds: int = Field(
        default=5,
        ge=1,
        le=MAX_TIMEOUT_SECONDS,
        description="Seconds for connecting to each address of the issuer, and for everything after that.",
    )
    algorithms: tuple[Algorithm, ...] = Field(
        default=("RS256", "ES256"), min_length=1, description="Signatures that are accepted."
    )
    leeway_seconds: int = Field(
        default=30,
        ge=0,
        le=MAX_LEEWAY_SECONDS,
        description="Seconds by which the clocks of issuer and server may differ.",
    )
    username_claims: tuple[Word, ...] = Field(
        default=("email",),
        min_length=1,
        description="Which claim is the user's name: the first of these that is there.",
    )
    require_verified_email: bool = Field(
        default=True,
        description="Take the claim email for a name only when the claim email_verified is true: otherwise whoever may "
        "change their own address at the issuer can be anybody.",
    )
    required_scopes: tuple[Scope, ...] = Field(
        default=(), description="Scopes that a token must have, all of them, in its claim scope or scp."
    )
    accept_unknown_accounts: bool = Field(
        default=False,
        description="Take a name that no plugin before this one knows for a virtual user's: whoever has a good token "
        "has an account.",
    )
    hosts: tuple[HostName, ...] = Field(
        default=(),
        description="Names of this server, one of which a client that says a host must say; without it, the name that "
        "it has asked for by TLS.",
    )
    ports: tuple[Port, ...] = Field(
        default=(),
        description="Ports of this server, one of which a client that says a port must say; without it, the port that "
        "it has connected to.",
    )
    require_tls: bool = Field(
        default=True,
        description="Offer the mechanisms only under TLS (RFC 7628 section 3). When false, wherever passwords are "
        "taken: for a server behind something that ends TLS and does not say so.",
    )
    openid_configuration: WebAddress | None = Field(
        default=None,
        description="Address that clients are told when a token is refused, where they find out how to get one.",
    )

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> Self:
        """Refuse none, and two that could differ."""
        if (self.jwks_file is None) == (self.jwks_url is None):
            raise ValueError("exactly one of jwks_file and jwks_url must be set")
        is_clear = (self.jwks_url or "").startswith("http:")
        if self.jwks_url and is_clear and not (self.allow_http or is_loopback(self.jwks_url)):
            raise ValueError("jwks_url: keys that come by http can be anybody's; use https, or set allow_http = true")
        if self.jwks_ca_file is not None and not (self.jwks_url or "").startswith("https:"):
            raise ValueError("jwks_ca_file: needs a jwks_url with https")
        return self
