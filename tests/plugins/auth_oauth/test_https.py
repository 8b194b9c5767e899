"""Keys by https: from whom they are taken."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from popframe import TemporaryFailure
from popframe_auth_oauth.key_url import KeyUrl, fetcher

from .issuer import Website, key_set


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return who vouches for the issuer's website."""
    return trustme.CA()


def website_of(authority: trustme.CA, name: str = "localhost") -> Website:
    """Return a website under TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, common_name=name).configure_cert(context)
    return Website(key_set(), context)


def test_keys_come_from_whom_the_authority_vouches_for(authority: trustme.CA, tmp_path: Path) -> None:
    """And from nobody else: another authority, and another name, are refused."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    with website_of(authority) as website:
        assert website.url.startswith("https://localhost:")
        assert len(KeyUrl(fetcher(website.url, 5, path), 60, 30).current().keys) == 1


@pytest.mark.parametrize("name", ["localhost", "other.example"])
def test_keys_of_somebody_else_are_not_taken(
    authority: trustme.CA, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Under another authority's certificate, or under another name's."""
    path = tmp_path / "ca.pem"
    (authority if name != "localhost" else trustme.CA()).cert_pem.write_to_path(str(path))
    with website_of(authority, name) as website:
        with pytest.raises(TemporaryFailure):
            KeyUrl(fetcher(website.url, 5, path), 60, 30).current()
        assert website.paths == []

    assert "certificate verify failed" in caplog.text


def test_answer_under_tls_that_comes_drop_by_drop_is_cut_off(
    authority: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And nothing behind the end of TLS is taken for a part of it."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    with website_of(authority) as website:
        website.octet_seconds = 0.2
        with pytest.raises(TemporaryFailure):
            KeyUrl(fetcher(website.url, 1, path), 60, 30).current()

    assert "cannot be fetched" in caplog.text
