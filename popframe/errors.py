"""Every error that popframe raises, and what a client is told about each.

::

    PopframeError
    ├── ConfigError                 the operator's mistake: start-up stops, exit code 2
    ├── HookContractError           a plugin broke its hook's contract: the client gets [SYS/PERM]
    └── Refusal                     becomes "-ERR [code] wire_text"; the session goes on
        ├── CommandSyntaxError      no code       unknown, malformed, out of state
        │   ├── EncryptionRequired  no code       a password in clear text (RFC 2595 section 2.3)
        │   ├── MechanismRefused    no code       no such SASL mechanism, or not here (RFC 5034 section 4)
        │   ├── InvalidResponse     no code       a SASL response that is none (RFC 5034 section 4)
        │   ├── ExchangeCancelled   no code       the client does not want to go on (RFC 5034 section 4)
        │   ├── NoSuchMessage       no code       no such message, or marked as deleted
        │   └── ReadOnly            no code       nothing can be removed from this maildrop (RFC 1082)
        ├── AuthenticationFailed    AUTH          RFC 3206 section 5
        ├── MaildropInUse           IN-USE        RFC 2449 section 8.1.2
        ├── LoginDelayed            LOGIN-DELAY   RFC 2449 section 8.1.1
        ├── TemporaryFailure        SYS/TEMP      RFC 3206 section 4
        └── PermanentFailure        SYS/PERM      RFC 3206 section 4

Rule of this file: ``code`` and ``wire_text`` are class constants and the only words that reach a client. The message of
the exception (``str(error)``) goes to the log alone, so no path, user name or library text can leak onto the wire.
"""

from __future__ import annotations

from typing import ClassVar


class PopframeError(Exception):
    """Everything that popframe raises on purpose."""


class ConfigError(PopframeError):
    """The configuration cannot be used; the message says where and what would be right."""


class HookContractError(PopframeError):
    """A plugin returned something that its hook's specification does not allow."""


class Refusal(PopframeError):
    """A negative answer to the client; the message is for the log."""

    code: ClassVar[str] = ""
    """Response code (RFC 2449 section 8), without brackets; empty for none."""
    wire_text: ClassVar[str] = "refused"
    """What the client is told."""


class CommandSyntaxError(Refusal):
    """The command is unknown, malformed, or not valid in this state (RFC 1939 section 3)."""

    wire_text: ClassVar[str] = "command not understood"


class EncryptionRequired(CommandSyntaxError):
    """The command would show a password to everybody on the way (RFC 2595 section 2.3)."""

    wire_text: ClassVar[str] = "encrypt the connection first"


class MechanismRefused(CommandSyntaxError):
    """There is no such SASL mechanism, or not on this connection (RFC 5034 section 4)."""

    wire_text: ClassVar[str] = "mechanism not available"


class InvalidResponse(CommandSyntaxError):
    """What came for the response to a challenge cannot be one: not base64, or one too many (RFC 5034 section 4)."""

    wire_text: ClassVar[str] = "not a valid response"


class ExchangeCancelled(CommandSyntaxError):
    """The client sent ``*`` instead of a response (RFC 5034 section 4)."""

    wire_text: ClassVar[str] = "authentication cancelled"


class NoSuchMessage(CommandSyntaxError):
    """The argument is not the number of a message, or that message is marked as deleted (RFC 1939 section 5)."""

    wire_text: ClassVar[str] = "no such message"


class ReadOnly(CommandSyntaxError):
    """The maildrop is that of a group, from which nothing is removed (RFC 1082)."""

    wire_text: ClassVar[str] = "maildrop is read-only"


class AuthenticationFailed(Refusal):
    """The credentials are wrong, or the account may not log in (RFC 3206 section 5).

    One text for every reason: an unknown user, a wrong password and a locked account look the same. The words avoid
    those by which old clients take a failure for a lock or an outage.
    """

    code: ClassVar[str] = "AUTH"
    wire_text: ClassVar[str] = "user name or password not accepted"


class MaildropInUse(Refusal):
    """Another session holds the maildrop (RFC 2449 section 8.1.2)."""

    code: ClassVar[str] = "IN-USE"
    wire_text: ClassVar[str] = "maildrop is locked: in use by another session"


class LoginDelayed(Refusal):
    """The user logged in less than the announced delay ago (RFC 2449 section 8.1.1)."""

    code: ClassVar[str] = "LOGIN-DELAY"
    wire_text: ClassVar[str] = "minimum time between logins not over yet"


class TemporaryFailure(Refusal):
    """Something on our side does not work now and probably will later (RFC 3206 section 4)."""

    code: ClassVar[str] = "SYS/TEMP"
    wire_text: ClassVar[str] = "temporary problem on the server, try again later"


class PermanentFailure(Refusal):
    """Something on our side needs an operator's hand (RFC 3206 section 4)."""

    code: ClassVar[str] = "SYS/PERM"
    wire_text: ClassVar[str] = "problem on the server, ask its operator for help"
