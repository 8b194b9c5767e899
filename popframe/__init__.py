"""popframe: a POP3 server whose accounts, storage and commands are plugins.

Everything that a plugin author needs is here; whatever is not in ``__all__`` may change without notice.
"""

from popframe._version import __version__
from popframe.config import ConfigPath, PluginSettings
from popframe.errors import (
    AuthenticationFailed,
    CommandSyntaxError,
    ConfigError,
    HookContractError,
    LoginDelayed,
    MaildropInUse,
    NoSuchMessage,
    PermanentFailure,
    PopframeError,
    Refusal,
    TemporaryFailure,
)
from popframe.extension import (
    IN_AUTHORIZATION,
    IN_BOTH,
    IN_TRANSACTION,
    Challenge,
    Command,
    CommandContext,
    Exchange,
    Mechanism,
    MechanismContext,
    Reply,
    State,
)
from popframe.hookspecs import hookimpl
from popframe.model import (
    Account,
    IncomingMessage,
    LoginFailure,
    Maildrop,
    Outcome,
    Peer,
    PlainCredentials,
    PreparedMaildrop,
    SessionSummary,
    StoredSecret,
)
from popframe.password import hash_password, is_password_hash, typical_hash, verify_password
from popframe.proven_passwords import ProvenPasswords

__all__ = [
    "IN_AUTHORIZATION",
    "IN_BOTH",
    "IN_TRANSACTION",
    "Account",
    "AuthenticationFailed",
    "Challenge",
    "Command",
    "CommandContext",
    "CommandSyntaxError",
    "ConfigError",
    "ConfigPath",
    "Exchange",
    "HookContractError",
    "IncomingMessage",
    "LoginDelayed",
    "LoginFailure",
    "Maildrop",
    "MaildropInUse",
    "Mechanism",
    "MechanismContext",
    "NoSuchMessage",
    "Outcome",
    "Peer",
    "PermanentFailure",
    "PlainCredentials",
    "PluginSettings",
    "PopframeError",
    "PreparedMaildrop",
    "ProvenPasswords",
    "Refusal",
    "Reply",
    "SessionSummary",
    "State",
    "StoredSecret",
    "TemporaryFailure",
    "__version__",
    "hash_password",
    "hookimpl",
    "is_password_hash",
    "typical_hash",
    "verify_password",
]
