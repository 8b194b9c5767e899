"""The messages of OAUTHBEARER (RFC 7628 section 3) and XOAUTH2.

Rule of this file: what is said twice, or not closed, is refused. Whoever reads a message after us must not be able to
read it in another way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from popframe import prepared_name

SEPARATOR = b"\x01"
"""kvsep (RFC 7628 section 3.1): between the parts of a message, and alone the answer to an error."""

_KEY = re.compile(rb"[A-Za-z]+")
_VALUE = re.compile(rb"[\t\n\r\x20-\x7e]*")
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
"""b64token (RFC 6750 section 2.1)."""

_KNOWN = frozenset({"auth", "host", "port"})
"""Keys of OAUTHBEARER that mean something to us; others are ignored (RFC 7628 section 3.1)."""


@dataclass(frozen=True, slots=True)
class BearerMessage:
    """What a client has sent to log in.

    Attributes:
        token: The bearer token.
        username: Whose mail it wants, as names are compared (SASLprep); empty when it leaves that to the token.
        host: The name that it believes to have connected to; None when it does not say.
        port: The port that it believes to have connected to; None when it does not say.
    """

    token: bytes = field(repr=False)
    username: str = ""
    host: str | None = None
    port: str | None = None


def parse_oauthbearer(message: bytes) -> BearerMessage:
    """Read the client's message of OAUTHBEARER (RFC 7628 section 3.1).

    Raises:
        ValueError: It is malformed; the text says how, and holds nothing of the message.
    """
    header, separator, rest = message.partition(SEPARATOR)
    if not separator:
        raise ValueError("the header is not closed by ^A")
    username = _username_of(header)
    pairs = _pairs(rest, _KNOWN, _VALUE)
    host, port = pairs.get("host"), pairs.get("port")
    return BearerMessage(
        _token(pairs),
        username,
        None if host is None else host.decode("ascii"),
        None if port is None else port.decode("ascii"),
    )


def parse_xoauth2(message: bytes) -> BearerMessage:
    """Read the client's message of XOAUTH2: ``user=NAME^Aauth=Bearer TOKEN^A^A``.

    Raises:
        ValueError: It is malformed; the text says how, and holds nothing of the message.
    """
    pairs = _pairs(message, frozenset({"auth", "user"}), None)
    return BearerMessage(_token(pairs), _prepared(pairs.get("user", b"")))


def oauthbearer_error(status: str, scopes: Iterable[str], configuration: str) -> bytes:
    """Return the server's answer to a refused token (RFC 7628 section 3.2.2).

    Args:
        status: An error code of RFC 6750 section 3.1.
        scopes: What a token must be good for; the member is left out when there are none.
        configuration: Where the client finds the identity provider's configuration; left out when empty.
    """
    members = {"status": status}
    if scope := " ".join(scopes):
        members["scope"] = scope
    if configuration:
        members["openid-configuration"] = configuration
    return json.dumps(members).encode()


def xoauth2_error(status: str, scopes: Iterable[str], _configuration: str) -> bytes:
    """Return the server's answer to a refused token, in the form that clients of XOAUTH2 know."""
    members = {"status": "400" if status == "invalid_request" else "401", "schemes": "bearer"}
    if scope := " ".join(scopes):
        members["scope"] = scope
    return json.dumps(members).encode()


def _username_of(header: bytes) -> str:
    """Return the authorization identity of a GS2 header (RFC 5801 section 4); empty when it has none."""
    flag, comma, rest = header.partition(b",")
    if flag not in (b"n", b"y"):
        raise ValueError("the header does not begin with n or y: there is no channel binding")
    name, end, more = rest.partition(b",")
    if not comma or not end or more:
        raise ValueError("the header does not have two commas")
    if not name:
        return ""
    if not name.startswith(b"a="):
        raise ValueError("the header has something other than a name")
    return _prepared(_saslname(name[2:]))


def _saslname(name: bytes) -> bytes:
    """Undo the escapes of comma and equals sign (RFC 5801 section 4)."""
    if not name or re.search(rb"=(?!2C|3D)", name):
        raise ValueError("the name is empty, or has an equals sign that is not =2C or =3D")
    return name.replace(b"=2C", b",").replace(b"=3D", b"=")


def _prepared(octets: bytes) -> str:
    """Return a name as it is with the other mechanisms (RFC 5034 section 4)."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("the name is not UTF-8") from error
    try:
        return prepared_name(text)
    except ValueError as error:
        raise ValueError(f"the name: {error}") from error


def _pairs(octets: bytes, known: frozenset[str], form: re.Pattern[bytes] | None) -> dict[str, bytes]:
    """Return the known ones of the pairs, each closed by ^A, all of them by another one."""
    if octets != SEPARATOR and not octets.endswith(SEPARATOR * 2):
        raise ValueError("the message does not end in two ^A")
    pairs: dict[str, bytes] = {}
    for pair in octets[:-1].split(SEPARATOR)[:-1]:
        key, sign, value = pair.partition(b"=")
        if not sign or not _KEY.fullmatch(key) or (form and not form.fullmatch(value)):
            raise ValueError("a pair is not KEY=VALUE")
        name = key.decode("ascii")
        if name not in known:
            continue
        if name in pairs:
            raise ValueError(f"{name}= is there twice")
        pairs[name] = value
    return pairs


def _token(pairs: dict[str, bytes]) -> bytes:
    """Return the token of ``auth=Bearer TOKEN`` (RFC 6750 section 2.1); the scheme is not case-sensitive."""
    scheme, _, token = pairs.get("auth", b"").partition(b" ")
    if scheme.lower() != b"bearer":
        raise ValueError("there is no auth=Bearer")
    token = token.lstrip(b" ")
    if not _TOKEN.fullmatch(token):
        raise ValueError("the token is empty, or has characters that no token has")
    return token
