"""For plugin authors: contract suites, users and mail in memory, a server in a folder, a client that says anything.

Rule of this file: only the contract suites need pytest, so they are imported when they are asked for.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from popframe.testing.accounts import MemoryAccounts
from popframe.testing.client import RawClient
from popframe.testing.memory import MemoryMaildrop, MemoryStore
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite

if TYPE_CHECKING:
    from popframe.testing.authenticator_contract import AuthenticatorContract
    from popframe.testing.maildrop_contract import HookedStore, MaildropContract, StoreUnderTest

__all__ = [
    "AuthenticatorContract",
    "HookedStore",
    "MailSite",
    "MaildropContract",
    "MemoryAccounts",
    "MemoryMaildrop",
    "MemoryStore",
    "RawClient",
    "ServerProcess",
    "StoreUnderTest",
]

_SUITES = {
    "AuthenticatorContract": "popframe.testing.authenticator_contract",
    "HookedStore": "popframe.testing.maildrop_contract",
    "MaildropContract": "popframe.testing.maildrop_contract",
    "StoreUnderTest": "popframe.testing.maildrop_contract",
}
"""Where the names are that need pytest; a new contract suite goes here, above, and into ``__all__``."""


def __getattr__(name: str) -> object:
    """Import a contract suite, with pytest's explanations of a failed assertion.

    Raises:
        AttributeError: There is no such name.
    """
    module = _SUITES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if module not in sys.modules:
        importlib.import_module("pytest").register_assert_rewrite(module)
    return getattr(importlib.import_module(module), name)
