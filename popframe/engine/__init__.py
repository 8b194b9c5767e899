"""POP3 itself: octets in, replies out.

Rule of this folder: no socket, no clock, no file, no thread, no random number and no plugin manager. What the engine
needs of the outside it asks of a :class:`Backend`; whoever drives it moves the octets and watches the timers.
"""

from popframe.engine.backend import Backend, BackendExchange, Handover, Login
from popframe.engine.internationalization import CODECS, NEEDED_BEYOND_ASCII
from popframe.engine.policy import AsciiMode, Channel, ClearText, ImplementationShown, Policy, Utf8Support
from popframe.engine.session import Session
from popframe.engine.speech import Negotiated, language_tags
from popframe.engine.table import CommandTable, reserved_verbs

__all__ = [
    "CODECS",
    "NEEDED_BEYOND_ASCII",
    "AsciiMode",
    "Backend",
    "BackendExchange",
    "Channel",
    "ClearText",
    "CommandTable",
    "Handover",
    "ImplementationShown",
    "Login",
    "Negotiated",
    "Policy",
    "Session",
    "Utf8Support",
    "language_tags",
    "reserved_verbs",
]
