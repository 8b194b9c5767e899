"""The plugin's settings, and where its issuer publishes keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from popframe_auth_oauth import AuthOauthSettings

from .issuer import AUDIENCE, ISSUER, Website, key_set

MakeSettings = Callable[..., AuthOauthSettings]


@pytest.fixture
def keys_path(tmp_path: Path) -> Path:
    """Return the path of a file with the issuer's keys."""
    path = tmp_path / "keys.json"
    path.write_bytes(key_set())
    path.chmod(0o644)
    return path


@pytest.fixture
def make_settings(keys_path: Path) -> MakeSettings:
    """Return a function that makes settings, by default with keys in a file."""

    def make_settings(**changed: object) -> AuthOauthSettings:
        source = {} if "jwks_url" in changed else {"jwks_file": keys_path}
        return AuthOauthSettings.model_validate({"issuer": ISSUER, "audiences": (AUDIENCE,), **source, **changed})

    return make_settings


@pytest.fixture
def website() -> Iterator[Website]:
    """Yield a web server that publishes the issuer's keys."""
    with Website(key_set()) as website:
        yield website
