"""What end-to-end tests share: a site with two users, a folder, a system log."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from popframe.testing.site import MailSite


@pytest.fixture
def site() -> Iterator[MailSite]:
    """Yield a site where alice and bob have the password ``secret``."""
    with MailSite({"alice": "secret", "bob": "secret"}) as made:
        yield made


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder that everybody may enter; pytest's own are for the user of the tests alone."""
    path = Path(tempfile.mkdtemp(prefix="popframe-folder-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def syslog(site: MailSite) -> Iterator[socket.socket]:
    """Return a system log for the site's configuration."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(site.directory / "log"))
        (site.directory / "log").chmod(0o777)
        end.settimeout(20)
        yield end
