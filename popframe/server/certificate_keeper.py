"""The certificates of a server, as the master keeps them for its fronts: loaded, and replaced when they change."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from popframe.config.tls import TlsSettings
from popframe.errors import ConfigError
from popframe.server.log import log_event
from popframe.server.startup import load_certificates

if TYPE_CHECKING:
    from popframe.server.tls import Certificates

LOOK_SECONDS = 5.0
"""How often the files are looked at: one stat(2) for each."""

EXPIRES_SOON = timedelta(days=14)
"""A certificate that ends within two weeks should have been renewed: tools do that 30 days before."""

Fingerprint = tuple[tuple[int, int, int, int] | None, ...]
"""What tells whether files have changed: device, inode, time of change and size of each; None for one that is gone."""


@dataclass(frozen=True, slots=True)
class LoadedCertificates:
    """Certificates, and what their files looked like before they were read.

    Attributes:
        settings: Where they come from.
        files: What tells when there are others.
        certificates: All of them; None where there is no TLS.
    """

    settings: TlsSettings
    files: Fingerprint = ()
    certificates: Certificates | None = None

    @classmethod
    def load(cls, settings: TlsSettings) -> Self:
        """Load those of a configuration.

        Raises:
            ConfigError: One cannot be used.
        """
        files = tuple(_identity(path) for path in settings.files)
        return cls(settings, files, load_certificates(settings))


class CertificateKeeper:
    """Those that new fronts get."""

    def __init__(self) -> None:
        """Begin with none."""
        self._loaded = LoadedCertificates(TlsSettings())
        self._refused: Fingerprint = ()

    @property
    def certificates(self) -> Certificates | None:
        """All of them; None where there is no TLS."""
        return self._loaded.certificates

    @property
    def patience_seconds(self) -> float:
        """How long the files may be left alone."""
        return LOOK_SECONDS if self._loaded.settings.is_on else float("inf")

    def use(self, loaded: LoadedCertificates) -> None:
        """Take certificates over, and tell the log how long they are valid."""
        self._loaded = loaded
        soon = datetime.now(UTC) + EXPIRES_SOON
        for certificate in loaded.certificates.all if loaded.certificates else ():
            fields = {"file": certificate.path, "expires": certificate.expires.isoformat()}
            log_event("certificate", fields, logging.WARNING if certificate.expires < soon else logging.INFO)

    def look(self) -> bool:
        """Take over what has changed on disk, and tell whether anything was; what cannot be used changes nothing."""
        settings = self._loaded.settings
        files = tuple(_identity(path) for path in settings.files)
        if files in (self._loaded.files, self._refused):
            return False
        try:
            loaded = LoadedCertificates.load(settings)
        except ConfigError as error:
            self._refused = files
            log_event("certificates-refused", {"reason": str(error)}, logging.ERROR)
            return False
        self.use(loaded)
        return True

    def let_go(self) -> None:
        """Forget them in a process that has no use for keys; OpenSSL overwrites what is let go of."""
        self._loaded = LoadedCertificates(self._loaded.settings)


def _identity(path: Path) -> tuple[int, int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
