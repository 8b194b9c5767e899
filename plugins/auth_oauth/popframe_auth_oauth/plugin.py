"""The plugin: offers the mechanisms, with one source of keys for both."""

from __future__ import annotations

from collections.abc import Iterable

from popframe import Account, Mechanism, hookimpl
from popframe_auth_oauth.bearer_token import TokenCheck
from popframe_auth_oauth.key_file import KeyFile
from popframe_auth_oauth.key_source import KeySource
from popframe_auth_oauth.key_url import KeyUrl, fetcher
from popframe_auth_oauth.mechanism import OAUTHBEARER, XOAUTH2, BearerMechanism
from popframe_auth_oauth.settings import AuthOauthSettings


class AuthOauth:
    """Lets in whoever has a token of the issuer; where their accounts are, other plugins know."""

    Settings = AuthOauthSettings

    def __init__(self, settings: AuthOauthSettings) -> None:
        """Read the keys, if they are in a file.

        Raises:
            ConfigError: There are none in it.
        """
        self._settings = settings
        self._check = TokenCheck(settings, _key_source(settings))

    @hookimpl
    def popframe_register_mechanisms(self) -> Iterable[Mechanism]:
        """Offer both mechanisms."""
        return [BearerMechanism(form, self._settings, self._check) for form in (OAUTHBEARER, XOAUTH2)]

    @hookimpl
    def popframe_lookup_account(self, username: str) -> Account | None:
        """Take anybody for a virtual user, where the site wants that; plugins listed before are asked first."""
        return Account(username) if self._settings.accept_unknown_accounts else None


def _key_source(settings: AuthOauthSettings) -> KeySource:
    if settings.jwks_file is not None:
        return KeyFile(settings.jwks_file)
    fetch = fetcher(settings.jwks_url or "", settings.timeout_seconds, settings.jwks_ca_file)
    return KeyUrl(fetch, settings.cache_seconds, settings.refetch_seconds)
