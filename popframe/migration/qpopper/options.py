"""The options that Qpopper 4 knows, and how their values are written."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from popframe.migration.qpopper.given import Value
from popframe.suggestion import suggest


class Kind(enum.Enum):
    """What the value of an option is."""

    BOOLEAN = "true or false"
    NUMBER = "a whole number"
    TEXT = "a text"
    WORD = "a word"


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        kind: What its value is.
        words: For a word: those that there are, as they are passed on.
    """

    kind: Kind
    words: tuple[str, ...] = ()

    def parsed(self, text: str) -> Value:
        """Read a value.

        Raises:
            ValueError: It is none; the message says what would be right.
        """
        if self.kind is Kind.BOOLEAN:
            values = {"true": True, "1": True, "false": False, "0": False}
            if text.lower() not in values:
                raise ValueError(f"{text!r} is not true or false")
            return values[text.lower()]
        if self.kind is Kind.NUMBER:
            return _number(text)
        if self.kind is Kind.WORD:
            for word in self.words:
                if word.lower() == text.lower():
                    return word
            raise ValueError(f"{text!r} is not one of its words{suggest(text, self.words)}")
        return text


def _number(text: str) -> int:
    """Read a number as strtol(3) does with base 0: decimal, octal with a 0 before it, hexadecimal with 0x."""
    is_octal = text.startswith("0") and len(text) > 1 and text.isdecimal()
    try:
        number = int(text, 8) if is_octal else int(text, 0)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None
    if number < 0:
        raise ValueError(f"{text!r} is below 0")
    return number


_BOOLEAN, _NUMBER, _TEXT = Option(Kind.BOOLEAN), Option(Kind.NUMBER), Option(Kind.TEXT)

CLEAR_TEXT = ("default", "never", "always", "local", "TLS", "SSL")
TLS_SUPPORT = ("none", "STLS", "alternate-port", "default")

OPTIONS: dict[str, Option] = {
    "announce-expire": _NUMBER,
    "announce-login-delay": _NUMBER,
    "auth-file": _TEXT,
    "auto-delete": _BOOLEAN,
    "bulldb-max-tries": _NUMBER,
    "bulldb-nonfatal": _BOOLEAN,
    "bulldir": _TEXT,
    "cache-dir": _TEXT,
    "cache-name": _TEXT,
    "check-hash-dir": _BOOLEAN,
    "check-old-spool-loc": _BOOLEAN,
    "check-password-expired": _BOOLEAN,
    "chunky-writes": Option(Kind.WORD, ("default", "always", "TLS", "SSL", "never")),
    "clear-text-password": Option(Kind.WORD, CLEAR_TEXT),
    "config-file": _TEXT,
    "debug": _BOOLEAN,
    "downcase-user": _BOOLEAN,
    "drac-host": _TEXT,
    "fast-update": _BOOLEAN,
    "group-bulletins": _BOOLEAN,
    "group-no-server-mode": _TEXT,
    "group-server-mode": _TEXT,
    "hash-spool": _NUMBER,
    "home-dir-mail": _TEXT,
    "keep-temp-drop": _BOOLEAN,
    "kerberos": _BOOLEAN,
    "kerberos-service": _TEXT,
    "log-facility": Option(Kind.WORD, ("mail", *(f"local{number}" for number in range(8)))),
    "log-login": _TEXT,
    "mail-command": _TEXT,
    "mail-lock-check": _NUMBER,
    "max-bulletins": _NUMBER,
    "no-atomic-open": _BOOLEAN,
    "nonauth-file": _TEXT,
    "old-style-uid": _BOOLEAN,
    "reverse-lookup": _BOOLEAN,
    "server-mode": _BOOLEAN,
    "shy": _BOOLEAN,
    "spool-dir": _TEXT,
    "spool-options": _BOOLEAN,
    "statistics": _BOOLEAN,
    "temp-dir": _TEXT,
    "temp-name": _TEXT,
    "timeout": _NUMBER,
    "timing": _BOOLEAN,
    "tls-cipher-list": _TEXT,
    "tls-identity-file": _TEXT,
    "tls-options": _NUMBER,
    "tls-passphrase": _TEXT,
    "tls-private-key-file": _TEXT,
    "tls-server-cert-file": _TEXT,
    "tls-support": Option(Kind.WORD, TLS_SUPPORT),
    "tls-version": Option(Kind.WORD, ("default", "SSLv2", "SSLv3", "TLSv1", "SSLv23", "all")),
    "tls-workarounds": _BOOLEAN,
    "tracefile": _TEXT,
    "trim-domain": _BOOLEAN,
    "update-on-abort": _BOOLEAN,
    "update-status-headers": _BOOLEAN,
    "user-options": _BOOLEAN,
    "UW-kludge": _BOOLEAN,
    "UW-kluge": _BOOLEAN,
}
"""Every option of the table in Qpopper 4, by name."""

BY_LOWER_CASE = {name.lower(): name for name in OPTIONS}
"""Names are compared without regard to case."""
