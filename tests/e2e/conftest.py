"""A site with two users for each end-to-end test."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from popframe.testing.site import MailSite


@pytest.fixture
def site() -> Iterator[MailSite]:
    """Yield a site where alice and bob have the password ``secret``."""
    with MailSite({"alice": "secret", "bob": "secret"}) as made:
        yield made


@pytest.fixture
def syslog(site: MailSite) -> Iterator[socket.socket]:
    """Return a system log for the site's configuration."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(site.directory / "log"))
        (site.directory / "log").chmod(0o777)
        end.settimeout(20)
        yield end
