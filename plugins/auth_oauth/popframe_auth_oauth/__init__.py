"""Logins with OAuth 2.0 bearer tokens."""

from __future__ import annotations

from popframe_auth_oauth.plugin import AuthOauth
from popframe_auth_oauth.settings import AuthOauthSettings

__all__ = ["AuthOauth", "AuthOauthSettings"]
