"""POP3 itself: octets in, replies out.

Rule of this folder: no socket, no clock, no file, no thread, no random number and no plugin manager. What the engine
needs of the outside it asks of a :class:`Backend`; whoever drives it moves the octets and watches the timers.
"""

from popframe.engine.backend import Backend, Handover, Login
from popframe.engine.policy import Channel, ClearText, ImplementationShown, Policy
from popframe.engine.session import Session
from popframe.engine.table import CommandTable, reserved_verbs

__all__ = [
    "Backend",
    "Channel",
    "ClearText",
    "CommandTable",
    "Handover",
    "ImplementationShown",
    "Login",
    "Policy",
    "Session",
    "reserved_verbs",
]
