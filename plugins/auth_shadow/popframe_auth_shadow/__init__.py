"""The users of the machine, from passwd and shadow."""

from __future__ import annotations

from popframe_auth_shadow.plugin import AuthShadow, AuthShadowSettings

__all__ = ["AuthShadow", "AuthShadowSettings"]
