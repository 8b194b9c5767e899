"""The server's certificates, their keys, and whose certificates of clients are taken."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from popframe.config.tls import TlsSettings
from popframe.errors import ConfigError

PROTOCOL = "pop3"
"""What the protocol is called in ALPN (IANA's registry of RFC 7301)."""

BEGIN_CERTIFICATE, END_CERTIFICATE = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
"""What a certificate stands between (RFC 7468 section 5.1)."""

WEAK_HASHES = (hashes.MD5, hashes.SHA1)
"""In place of which SHA-256 makes a channel binding (RFC 5929 section 4.1)."""


class Certificate:
    """One certificate with its key, ready for handshakes.

    Attributes:
        context: What OpenSSL has made of it.
        end_point: The channel binding ``tls-server-end-point`` in hexadecimal (RFC 5929 section 4); empty where that is
            not defined.
        expires: When it ceases to be valid.
        path: Where it comes from.
    """

    def __init__(self, settings: TlsSettings, path: Path, key: Path | None) -> None:
        """Load it.

        Raises:
            ConfigError: It cannot be read, or does not go with its key.
        """
        self.path = path
        self.context = _context(settings, path, key)
        certificate = _first_certificate(path)
        self.end_point = _end_point(certificate)
        self.expires: datetime = certificate.not_valid_after_utc


class Certificates:
    """All certificates of a server. They are loaded whole or not at all; one that is in use is never changed.

    Attributes:
        handshake_seconds: What a client gets for its handshake.
    """

    def __init__(self, settings: TlsSettings) -> None:
        """Load them.

        Raises:
            ConfigError: One cannot be read, or does not go with its key.
        """
        if settings.certificate is None:
            raise ConfigError("tls.certificate: there is none")
        self.handshake_seconds = settings.handshake_timeout_seconds
        self._client_name = settings.client_name
        self._default = Certificate(settings, settings.certificate, settings.key)
        self._by_name: Mapping[str, Certificate] = {
            name: certificate
            for host in settings.hosts
            for certificate in [Certificate(settings, host.certificate, host.key)]
            for name in host.names
        }

    @property
    def all(self) -> tuple[Certificate, ...]:
        """Each of them once."""
        return tuple(dict.fromkeys([self._default, *self._by_name.values()]))

    def for_name(self, server_name: str) -> Certificate:
        """Return the certificate for the name that a client asks for; for none, or one unknown, the default."""
        name = server_name.removesuffix(".")
        parent = name.partition(".")[2]
        return self._by_name.get(name) or self._by_name.get(f"*.{parent}") or self._default

    def client_name_in(self, certificate: Mapping[str, object] | None) -> str:
        """Return whose certificate a client has shown, as ssl gives one that it has verified; empty for nobody's.

        A certificate in which the name stands twice, or not at all, is nobody's.
        """
        if not certificate:
            return ""
        if self._client_name == "email":
            names = [value for kind, value in _pairs(certificate.get("subjectAltName")) if kind == "email"]
        else:
            subject = certificate.get("subject")
            parts = [part for part in subject if isinstance(part, tuple)] if isinstance(subject, tuple) else []
            names = [value for part in parts for kind, value in _pairs(part) if kind == "commonName"]
        return names[0] if len(names) == 1 and names[0].isprintable() else ""


def _pairs(value: object) -> list[tuple[str, str]]:
    return [pair for pair in value if len(pair) == 2] if isinstance(value, tuple) else []


def _context(settings: TlsSettings, path: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if settings.min_version == "TLSv1.3" else ssl.TLSVersion.TLSv1_2
    # A client that asks for keys anew all the time would cost more than it pays (CVE-2011-1473).
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols([PROTOCOL])
    try:
        context.set_ciphers(settings.ciphers)
    except ssl.SSLError as error:
        raise ConfigError(f"tls.ciphers: OpenSSL knows no suite in {settings.ciphers!r}") from error
    try:
        context.load_cert_chain(path, key, password=_no_passphrase)
    except ValueError as error:
        raise ConfigError(f"tls.key: {key or path}: {error}") from error
    except ssl.SSLError as error:
        raise ConfigError(f"tls.certificate: {path} with the key in {key or path}: {_told(error)}") from error
    except OSError as error:
        raise ConfigError(f"tls.certificate: {path} or {key or path} cannot be read: {error.strerror}") from error
    if settings.client_ca is not None:
        _take_client_certificates(context, settings.client_ca, settings.client_crl)
    return context


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase, which nobody is there to type; store it without one")


def _told(error: ssl.SSLError) -> str:
    """Return in words what OpenSSL means."""
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is that of another certificate"
    if error.reason in {"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"}:
        return f"too weak for OpenSSL ({error.reason})"
    return f"not a certificate and its key in PEM form ({error.reason or 'PEM'})"


def _take_client_certificates(context: ssl.SSLContext, authorities: Path, revoked: Path | None) -> None:
    """Ask clients for a certificate; one that cannot be verified ends the handshake, none does not."""
    context.verify_mode = ssl.CERT_OPTIONAL
    try:
        context.load_verify_locations(authorities)
        if revoked is not None:
            context.load_verify_locations(revoked)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except ssl.SSLError as error:
        raise ConfigError(f"tls.client_ca, tls.client_crl: not in PEM form ({error.reason or 'PEM'})") from error
    except OSError as error:
        raise ConfigError(f"tls.client_ca, tls.client_crl: cannot be read: {error.strerror}") from error


def _first_certificate(path: Path) -> x509.Certificate:
    """Read the server's own certificate from a file, in which its key may stand as well.

    Nothing of the key stays behind in memory that is used for something else later (OpenSSL sees to its own).
    """
    octets = bytearray(path.stat().st_size)
    with path.open("rb", buffering=0) as file:
        file.readinto(octets)
    start = octets.find(BEGIN_CERTIFICATE)
    end = octets.find(END_CERTIFICATE, start) + len(END_CERTIFICATE)
    certificate = bytes(octets[start:end])
    octets[:] = bytes(len(octets))
    try:
        return x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        raise ConfigError(f"tls.certificate: {path}: {error}") from error


def _end_point(certificate: x509.Certificate) -> str:
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return ""
    if algorithm is None:
        return ""  # a signature without a hash of its own (Ed25519)
    return certificate.fingerprint(hashes.SHA256() if isinstance(algorithm, WEAK_HASHES) else algorithm).hex()
