"""Whether the files of certificates have changed."""

from __future__ import annotations

import os
from pathlib import Path

from popframe.config.tls import TlsSettings

Fingerprint = tuple[tuple[int, int, int, int] | None, ...]
"""What tells whether files have changed: device, inode, time of change and size of each; None for one that is gone."""


def fingerprint_of(settings: TlsSettings) -> Fingerprint:
    """Return what is different once a file has changed, or another one has taken its place."""
    return tuple(_identity(path) for path in settings.files)


def _identity(path: Path) -> tuple[int, int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
