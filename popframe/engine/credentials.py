"""A name and a password on their way to those who know whether they are right (RFC 6856 section 2.2)."""

from __future__ import annotations

from dataclasses import replace

from popframe.engine.backend import Backend, Handover, Login
from popframe.errors import AuthenticationFailed
from popframe.model import Peer, PlainCredentials
from popframe.saslprep import ProhibitedCharacterError, prepared


def log_in_as_sent(backend: Backend, peer: Peer, credentials: PlainCredentials) -> Login | Handover:
    """Log in with the octets that the client sent, whatever they mean (RFC 1939 section 7)."""
    return backend.log_in(peer, credentials)


def log_in_prepared(backend: Backend, peer: Peer, credentials: PlainCredentials) -> Login | Handover:
    """Log in with what SASLprep makes of name and password, and if that is wrong, with the password as it was sent.

    A hash that was made before anybody prepared passwords is one of other octets, and still right.

    Raises:
        AuthenticationFailed: It is neither of them; or the name or the password is no UTF-8, or holds a prohibited
            character, and nobody was asked.
    """
    try:
        username, password = _prepared(credentials)
    except AuthenticationFailed as error:
        backend.report_error("logging in", error)
        raise
    as_sent = replace(credentials, username=username)
    if password and password != credentials.password:
        try:
            return backend.log_in(peer, replace(as_sent, password=password))
        except AuthenticationFailed:
            pass
    return backend.log_in(peer, as_sent)


def _prepared(credentials: PlainCredentials) -> tuple[str, bytes]:
    """Return name and password as they are compared.

    Raises:
        AuthenticationFailed: One of them cannot be. No cause is shown, since it would hold a part of the password.
    """
    try:
        username = prepared(credentials.username)
        password = prepared(credentials.password.decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:
        raise AuthenticationFailed("the password is not UTF-8; pop3.utf8 = 'messages' would take any octets") from None
    except ProhibitedCharacterError:
        raise AuthenticationFailed("a character that SASLprep prohibits (RFC 4013 section 2.3)") from None
    if not username:
        raise AuthenticationFailed("nothing is left of the name when it is prepared")
    return username, password
