"""An issuer of tokens for tests: keys, tokens right and wrong, and a web server that publishes the keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Literal, Self

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

ISSUER = "https://issuer.example.org/realm"
AUDIENCE = "pop.example.org"
USERNAME = "alice@example.org"

RSA_KEY = RSAKey.generate_key(2048)
OTHER_RSA_KEY = RSAKey.generate_key(2048)

Key = RSAKey | ECKey | OKPKey


def ec_key(bits: Literal[256, 384, 521]) -> ECKey:
    """Return a new key on the curve of so many bits (RFC 7518 section 6.2.1.1)."""
    return ECKey.generate_key(f"P-{bits}")


EC_KEY = ec_key(256)


def public(key: Key, kid: str | None = "k1", **members: object) -> dict[str, Any]:
    """Return a public key as a member of a JWK Set."""
    named = {} if kid is None else {"kid": kid}
    return {**key.as_dict(private=False), **named, **members}


def key_set(*keys: object) -> bytes:
    """Return a JWK Set; by default with the one key ``k1``."""
    return json.dumps({"keys": list(keys) or [public(RSA_KEY)]}).encode()


def claims(**changed: object) -> dict[str, Any]:
    """Return the claims of a good token, with changes; what becomes None is left out."""
    now = int(time.time())
    usual = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": now + 600,
        "iat": now,
        "sub": "1234",
        "email": USERNAME,
        "email_verified": True,
        "scope": "openid mail",
    }
    return {name: value for name, value in {**usual, **changed}.items() if value is not None}


def token(
    content: Mapping[str, object] | None = None,
    *,
    key: Key = RSA_KEY,
    alg: str = "RS256",
    kid: str | None = "k1",
    header: Mapping[str, object] | None = None,
) -> bytes:
    """Return a signed token; a good one unless something is said."""
    head = {"alg": alg, **({} if kid is None else {"kid": kid}), **(header or {})}
    return jwt.encode(head, dict(content or claims()), key, algorithms=[alg], registry=_lenient(alg)).encode()


def _lenient(alg: str) -> JWSRegistry:
    registry = JWSRegistry(algorithms=[alg], strict_check_header=False)
    registry.max_header_length = registry.max_payload_length = 10**7
    return registry


def signed_by_hand(content: Mapping[str, object]) -> bytes:
    """Return a token with claims that the library would not write: lone surrogates, NaN."""
    signed = _encoded({"alg": "RS256", "kid": "k1"}) + b"." + _encoded(content)
    return signed + b"." + _base64(JWSRegistry.algorithms["RS256"].sign(signed, RSA_KEY))


def unsigned(content: Mapping[str, object] | None = None, alg: str = "none") -> bytes:
    """Return a token without a signature (RFC 7519 section 6)."""
    return b".".join([_encoded({"alg": alg, "kid": "k1"}), _encoded(content or claims()), b""])


def signed_with_the_public_key(kid: str = "k1") -> bytes:
    """Return a token with an HMAC whose secret is the issuer's public key (RFC 8725 section 2.1)."""
    signed = _encoded({"alg": "HS256", "kid": kid}) + b"." + _encoded(claims())
    return signed + b"." + _base64(hmac.digest(RSA_KEY.as_pem(private=False), signed, hashlib.sha256))


def _encoded(content: Mapping[str, object]) -> bytes:
    return _base64(json.dumps(content).encode())


def _base64(octets: bytes) -> bytes:
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


BAD_TOKENS: Mapping[str, Callable[[], bytes]] = {
    "algorithm none": unsigned,
    "HMAC with the public key": signed_with_the_public_key,
    "another issuer": lambda: token(claims(iss="https://evil.example")),
    "another audience": lambda: token(claims(aud="another.example.org")),
    "expired": lambda: token(claims(exp=int(time.time()) - 60)),
    "not yet good": lambda: token(claims(nbf=int(time.time()) + 600)),
    "unknown key": lambda: token(kid="k2", key=OTHER_RSA_KEY),
    "another key under its name": lambda: token(key=OTHER_RSA_KEY),
}
"""Tokens that let nobody in (RFC 8725 section 3)."""


class Website:
    """A web server on the loopback interface that answers every GET in one way, which a test may change.

    Attributes:
        document: What it answers.
        status: With which status.
        headers: Further fields of the answer.
        delay_seconds: After which time.
        octet_seconds: When not 0, it sends one octet at a time, with such pauses.
        paths: What was asked for.
    """

    def __init__(self, document: bytes, tls: ssl.SSLContext | None = None) -> None:
        self.document = document
        self.status = 200
        self.headers: dict[str, str] = {}
        self.delay_seconds = 0.0
        self.octet_seconds = 0.0
        self.paths: list[str] = []
        self._is_over = threading.Event()
        website = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                website.paths.append(self.path)
                website._is_over.wait(website.delay_seconds)
                self.send_response(website.status)
                for name, value in website.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(website.document)))
                self.end_headers()
                website._send(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = (
            f"{'http' if tls is None else 'https'}://{'127.0.0.1' if tls is None else 'localhost'}:{self.port}/keys"
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def _send(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        if not self.octet_seconds:
            handler.wfile.write(self.document)
            return
        for octet in self.document:
            handler.wfile.write(bytes([octet]))
            if self._is_over.wait(self.octet_seconds):
                return

    def __enter__(self) -> Self:
        """Open it."""
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self._is_over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
