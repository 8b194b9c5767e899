"""A site with two users for each end-to-end test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from popframe.testing.site import MailSite


@pytest.fixture
def site() -> Iterator[MailSite]:
    """Yield a site where alice and bob have the password ``secret``."""
    with MailSite({"alice": "secret", "bob": "secret"}) as made:
        yield made
