"""For plugin authors and testers: contract suites, users and mail in memory, a real server, dialogues to play.

Rule of this file: only the contract suites need pytest, so they are imported when they are asked for.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from popframe.testing.accounts import MemoryAccounts
from popframe.testing.client import RawClient
from popframe.testing.crash import KILL, CrashHarness, Point
from popframe.testing.dialogue import (
    DialogueError,
    SocketTransport,
    Transport,
    check_framing,
    client_octets,
    cut_at,
    in_one_piece,
    octet_by_octet,
    play,
)
from popframe.testing.engine_server import EngineServer
from popframe.testing.memory import MemoryMaildrop, MemoryStore
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite
from popframe.testing.system_users import SystemUsers
from popframe.testing.transcript import Transcript, TranscriptError, parse_transcript, read_transcript

if TYPE_CHECKING:
    from popframe.testing.authenticator_contract import AuthenticatorContract
    from popframe.testing.maildrop_contract import HookedStore, MaildropContract, StoreUnderTest

__all__ = [
    "KILL",
    "AuthenticatorContract",
    "CrashHarness",
    "DialogueError",
    "EngineServer",
    "HookedStore",
    "MailSite",
    "MaildropContract",
    "MemoryAccounts",
    "MemoryMaildrop",
    "MemoryStore",
    "Point",
    "RawClient",
    "ServerProcess",
    "SocketTransport",
    "StoreUnderTest",
    "SystemUsers",
    "Transcript",
    "TranscriptError",
    "Transport",
    "check_framing",
    "client_octets",
    "cut_at",
    "in_one_piece",
    "octet_by_octet",
    "parse_transcript",
    "play",
    "read_transcript",
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
