"""The plugin's settings: what is right, what is refused, and that its description says so."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from popframe_auth_oauth import AuthOauthSettings

MakeSettings = Callable[..., AuthOauthSettings]

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example/keys",
        "https://issuer.example:8443/keys?a=b",
        "https://[2001:db8::1]/",
        "http://127.0.0.1:8080/keys",
        "http://[::1]/keys",
        "http://localhost/keys",
    ],
)
def test_keys_may_come_from_anywhere_by_https_and_by_http_from_this_machine(
    make_settings: MakeSettings, url: str
) -> None:
    """Whoever can change them on their way can log in as anybody."""
    assert make_settings(jwks_url=url).jwks_url == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://issuer.example/keys", "use https, or set allow_http = true"),
        ("http://localhost.evil.example/keys", "use https, or set allow_http = true"),
        ("http://127.0.0.1.evil.example/keys", "use https, or set allow_http = true"),
        ("ftp://issuer.example/keys", "is not an address of the form https://HOST/PATH"),
        ("file:///etc/keys", "is not an address of the form"),
        ("https:///keys", "is not an address of the form"),
        ("issuer.example/keys", "is not an address of the form"),
        ("https://issuer.example:99999/", "is not an address of the form"),
        ("https://issuer.example/a b", "is not an address of the form"),
        ("https://issuer.example/\r\nHost: x", "is not an address of the form"),
        ("https://issuer.exämple/", "is not an address of the form"),
        ("https://[::1/", "is not an address of the form"),
        ("https://user:secret@issuer.example/", "must not hold a user name"),
        ("https://issuer.example/#a", "must not hold a user name, a password or a fragment"),
    ],
)
def test_address_that_keys_cannot_come_from_is_refused(make_settings: MakeSettings, url: str, reason: str) -> None:
    """With what would be right."""
    with pytest.raises(ValidationError, match=reason):
        make_settings(jwks_url=url)


def test_http_from_elsewhere_has_to_be_allowed(make_settings: MakeSettings) -> None:
    """For a network that the site trusts."""
    assert make_settings(jwks_url="http://issuer.example/", allow_http=True).allow_http


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"jwks_file": None}, "exactly one of jwks_file and jwks_url"),
        ({"jwks_url": "https://a/", "jwks_file": "keys"}, "exactly one of jwks_file and jwks_url"),
        ({"jwks_ca_file": "ca.pem"}, "needs a jwks_url with https"),
        ({"audiences": ()}, "audiences"),
        ({"audiences": "pop"}, "audiences"),
        ({"audiences": ("",)}, "is empty"),
        ({"issuer": ""}, "is empty"),
        ({"issuer": " x"}, "blanks at its ends"),
        ({"algorithms": ()}, "algorithms"),
        ({"username_claims": ()}, "username_claims"),
        ({"required_scopes": ("a b",)}, "is not one word"),
        ({"required_scopes": ('a"',)}, "is not one word"),
        ({"leeway_seconds": 301}, "leeway_seconds"),
        ({"leeway_seconds": "30"}, "leeway_seconds"),
        ({"refetch_seconds": 0}, "refetch_seconds"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"ports": (0,)}, "ports"),
        ({"issuers": "x"}, "issuers"),
    ],
    ids=str,
)
def test_setting_that_cannot_be_meant_is_refused(
    make_settings: MakeSettings, changed: dict[str, object], reason: str
) -> None:
    """A slip is told, not worked around."""
    with pytest.raises(ValidationError, match=reason):
        make_settings(**changed)


@pytest.mark.checkout
def test_every_setting_is_documented_with_its_default() -> None:
    """The README has a row for each setting, in order."""
    text = (ROOT / "plugins" / "auth_oauth" / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", text, re.MULTILINE)

    assert rows == [(name, _default(name), field.description) for name, field in AuthOauthSettings.model_fields.items()]


def _default(name: str) -> str:
    """Return what the README says of a default."""
    field = AuthOauthSettings.model_fields[name]
    if field.is_required():
        return "required"
    if field.default is None:
        return "none"
    value = field.default
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{element}"' for element in value) + "]`"
    return f"`{value}`".lower()


@pytest.mark.checkout
def test_settings_in_the_readme_are_accepted() -> None:
    """What an operator copies works."""
    text = (ROOT / "plugins" / "auth_oauth" / "README.md").read_text("utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    table = tomllib.loads(block)["plugin"]["auth_oauth"]

    assert AuthOauthSettings.model_validate_json(json.dumps(table)).issuer == table["issuer"]
