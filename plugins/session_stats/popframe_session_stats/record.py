"""One session as a line: in the form of a server whose lines scripts have read for decades, or as JSON.

Rule of this file: whatever a name holds, a line stays one line, and its fields stay apart.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from popframe import Outcome, SessionSummary

SCHEMA = 1
"""Of the JSON objects. It rises when a field is taken away or means something else; new ones do not change it."""

DOVECOT_REASONS: Mapping[Outcome, str] = MappingProxyType(
    {
        Outcome.QUIT: "Disconnected: Logged out",
        Outcome.UPDATE_FAILED: "Disconnected: Internal error occurred. Refer to server log for more information.",
        Outcome.DISCONNECTED: "Disconnected: Connection closed",
        Outcome.TIMED_OUT: "Disconnected: Disconnected for inactivity",
        Outcome.TOO_MANY_ERRORS: "Disconnected: Too many bad commands",
        Outcome.STORAGE_FAILED: "Disconnected: Internal error occurred. Refer to server log for more information.",
        Outcome.SHUT_DOWN: "Disconnected: Server shutting down.",
    }
)
"""How Dovecot calls the ends of a session."""


def popper_line(summary: SessionSummary) -> str | None:
    """Return ``Stats: user deleted octets left octets``, as popper 2.0 with ``-s``; None when nobody logged in.

    popper counts what is marked as deleted before it removes anything; this is what was removed.
    """
    if not summary.username:
        return None
    return (
        f"Stats: {_word(summary.username)} {summary.deleted_count} {summary.deleted_octets} "
        f"{summary.left_count} {summary.left_octets}"
    )


def dovecot_line(summary: SessionSummary) -> str | None:
    """Return the line of Dovecot 2.3 with its own ``pop3_logout_format``; None when nobody logged in."""
    if not summary.username:
        return None
    return (
        f"pop3({_word(summary.username)})<{os.getpid()}><{summary.session_id}>: {DOVECOT_REASONS[summary.outcome]} "
        f"top={summary.top_count}/{summary.top_octets}, retr={summary.retr_count}/{summary.retr_octets}, "
        f"del={summary.deleted_count}/{summary.deleted_count + summary.left_count}, "
        f"size={summary.deleted_octets + summary.left_octets}"
    )


def json_object(summary: SessionSummary) -> str:
    """Return an object with everything that is known of a session, also of one in which nobody logged in."""
    peer = summary.peer
    fields = {
        "schema": SCHEMA,
        "time": timestamp(time.time()),
        "session": summary.session_id,
        "address": peer.address,
        "port": peer.port,
        "local_address": peer.local_address,
        "local_port": peer.local_port,
        "proxy": peer.proxy,
        "tls": "" if peer.tls is None else peer.tls.version,
        "cipher": "" if peer.tls is None else peer.tls.cipher,
        "user": summary.username,
        "outcome": summary.outcome.value,
        "seconds": round(summary.duration_seconds, 6),
        "commands": summary.command_count,
        "failed_logins": summary.failed_login_count,
        "retr_count": summary.retr_count,
        "retr_octets": summary.retr_octets,
        "top_count": summary.top_count,
        "top_octets": summary.top_octets,
        "deleted_count": summary.deleted_count,
        "deleted_octets": summary.deleted_octets,
        "left_count": summary.left_count,
        "left_octets": summary.left_octets,
    }
    return json.dumps(fields)


def nothing(_summary: SessionSummary) -> None:
    """Return no line."""


RENDERINGS: Mapping[str, Callable[[SessionSummary], str | None]] = MappingProxyType(
    {"popper": popper_line, "dovecot": dovecot_line, "json": json_object, "none": nothing}
)
"""What the setting ``record`` chooses."""


def with_head(line: str) -> str:
    """Put time and process before a line, as a log has them: ``2026-01-05T09:00:12.345Z popframe[4711]: ``."""
    return f"{timestamp(time.time())} popframe[{os.getpid()}]: {line}"


def timestamp(seconds: float) -> str:
    """Return a time since 1970 as UTC (RFC 3339), with milliseconds."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds % 1 * 1000):03d}Z"


def _word(name: str) -> str:
    """Return a name without blanks, and without what does not print; both are escaped, as is the backslash."""
    if name.isalnum() and name.isascii():
        return name
    return "".join(
        character if character.isprintable() and character not in " \\" else f"\\u{ord(character):04x}"
        for character in name
    )
