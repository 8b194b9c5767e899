"""The accounts of the machine, asked through PAM.

Rule of this file: importing it imports nothing. The verifier, a process of this package that is forked for every login,
must not carry the server and its libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from popframe_auth_pam.plugin import AuthPam, AuthPamSettings

__all__ = ["AuthPam", "AuthPamSettings"]


def __getattr__(name: str) -> object:
    """Import the plugin when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from popframe_auth_pam import plugin

    return getattr(plugin, name)
