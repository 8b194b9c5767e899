"""The settings of the core: table ``[tls]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from popframe.config.settings import MAX_TIMEOUT_SECONDS, ConfigPath, CoreSettings

SERVER_NAME_PATTERN = r"^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
"""A host name in the form in which clients send it (RFC 6066 section 3): lower case, ASCII, without a final dot; its
first label may be a wildcard."""

LEAST_HANDSHAKE_SECONDS = 3
"""A client on a bad line needs two round trips and a computation."""


def _is_file(path: Path) -> Path:
    """Refuse what cannot be a certificate, before anything else is tried with it."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


PemFile = Annotated[ConfigPath, AfterValidator(_is_file)]
"""A file in PEM form (RFC 7468)."""


class CertificateSettings(CoreSettings):
    """A certificate and its key: table ``[[tls.hosts]]``."""

    names: tuple[Annotated[str, Field(pattern=SERVER_NAME_PATTERN)], ...] = Field(
        min_length=1,
        description="Names for which clients get this certificate: 'pop.example.org', or '*.example.org' for all that "
        "have one label more.",
    )
    certificate: PemFile = Field(
        description="The certificate and, behind it, those that lead to its root, in PEM form."
    )
    key: PemFile | None = Field(
        default=None, description="Its private key in PEM form, without a passphrase; without it, in the same file."
    )


class TlsSettings(CoreSettings):
    """Table ``[tls]``: what protects connections."""

    certificate: PemFile | None = Field(
        default=None,
        description="The server's certificate and, behind it, those that lead to its root, in PEM form. Without it "
        "there is no TLS.",
    )
    key: PemFile | None = Field(
        default=None, description="Its private key in PEM form, without a passphrase; without it, in the same file."
    )
    hosts: tuple[CertificateSettings, ...] = Field(
        default=(), description="Other certificates, for clients that ask for other names (SNI)."
    )
    min_version: Literal["TLSv1.2", "TLSv1.3"] = Field(
        default="TLSv1.2", description="Oldest version of TLS that is spoken (RFC 8997, RFC 9325)."
    )
    ciphers: str = Field(
        default="ECDHE+AESGCM:ECDHE+CHACHA20",
        min_length=1,
        description="Cipher suites of TLS 1.2, as OpenSSL names them; all those of TLS 1.3 are good.",
    )
    client_ca: PemFile | None = Field(
        default=None,
        description="Certificates, in PEM form, of whoever signs those of clients; with it clients are asked for one, "
        "and can log in by AUTH EXTERNAL.",
    )
    client_crl: PemFile | None = Field(
        default=None, description="Which of those are revoked, in PEM form, one list for each signer."
    )
    client_name: Literal["common-name", "email"] = Field(
        default="common-name",
        description="Which part of a client's certificate is the name of its account: the common name of its subject, "
        "or the one mail address among its alternative names.",
    )
    handshake_timeout_seconds: int = Field(
        default=30,
        ge=LEAST_HANDSHAKE_SECONDS,
        le=MAX_TIMEOUT_SECONDS,
        description="Seconds that a client gets for the handshake, all of it.",
    )

    @field_validator("key", "hosts", "client_ca")
    @classmethod
    def _goes_with_a_certificate(cls, value: object, info: ValidationInfo) -> object:
        """Refuse what has no effect without a certificate."""
        if value and info.data.get("certificate", Path()) is None:
            raise ValueError("needs tls.certificate, which is what other clients get")
        return value

    @field_validator("client_crl")
    @classmethod
    def _goes_with_signers(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        """Refuse a list of revoked certificates where none is taken anyway."""
        if path is not None and info.data.get("client_ca", Path()) is None:
            raise ValueError("needs tls.client_ca: without it no client's certificate is taken")
        return path

    @model_validator(mode="after")
    def _each_name_once(self) -> Self:
        """Refuse two certificates for one name."""
        names = [name for host in self.hosts for name in host.names]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"hosts: two certificates for {name}")
        return self

    @property
    def is_on(self) -> bool:
        """There is a certificate."""
        return self.certificate is not None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read."""
        hosts = [path for host in self.hosts for path in (host.certificate, host.key)]
        paths = (self.certificate, self.key, *hosts, self.client_ca, self.client_crl)
        return tuple(dict.fromkeys(path for path in paths if path is not None))
