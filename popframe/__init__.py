"""popframe: a POP3 server whose accounts, storage and commands are plugins.

Everything that a plugin author needs is here; whatever is not in ``__all__`` may change without notice.

Rule of this file: a name is imported when it is asked for. Whatever imports a module of this package imports this file,
and most of what the names stand for takes longer to import than such a module may have.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from popframe._version import __version__

if TYPE_CHECKING:
    from popframe.config import ConfigPath, PluginSettings
    from popframe.config.plugin_configuration import PluginConfiguration, read_plugin_configuration
    from popframe.errors import (
        AuthenticationFailed,
        CommandSyntaxError,
        ConfigError,
        EncryptionRequired,
        HookContractError,
        LoginDelayed,
        MaildropInUse,
        NoSuchMessage,
        PermanentFailure,
        PopframeError,
        ReadOnly,
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
        Reception,
        Reply,
        State,
    )
    from popframe.hookspecs import hookimpl
    from popframe.model import (
        Account,
        AccountMail,
        IncomingMessage,
        LoginAttempt,
        LoginFailure,
        LoginSuccess,
        Maildrop,
        Outcome,
        Peer,
        PlainCredentials,
        PreparedMaildrop,
        SessionHold,
        SessionSummary,
        Tls,
    )
    from popframe.password import hash_password, is_password_hash, typical_hash, verify_password
    from popframe.plugins import Host
    from popframe.proof import Proven, SecretScheme, StoredSecret
    from popframe.proven_passwords import ProvenPasswords
    from popframe.saslprep import prepared_name
    from popframe.scram_keys import ScramKeys

__all__ = [
    "IN_AUTHORIZATION",
    "IN_BOTH",
    "IN_TRANSACTION",
    "Account",
    "AccountMail",
    "AuthenticationFailed",
    "Challenge",
    "Command",
    "CommandContext",
    "CommandSyntaxError",
    "ConfigError",
    "ConfigPath",
    "EncryptionRequired",
    "Exchange",
    "HookContractError",
    "Host",
    "IncomingMessage",
    "LoginAttempt",
    "LoginDelayed",
    "LoginFailure",
    "LoginSuccess",
    "Maildrop",
    "MaildropInUse",
    "Mechanism",
    "MechanismContext",
    "NoSuchMessage",
    "Outcome",
    "Peer",
    "PermanentFailure",
    "PlainCredentials",
    "PluginConfiguration",
    "PluginSettings",
    "PopframeError",
    "PreparedMaildrop",
    "Proven",
    "ProvenPasswords",
    "ReadOnly",
    "Reception",
    "Refusal",
    "Reply",
    "ScramKeys",
    "SecretScheme",
    "SessionHold",
    "SessionSummary",
    "State",
    "StoredSecret",
    "TemporaryFailure",
    "Tls",
    "__version__",
    "hash_password",
    "hookimpl",
    "is_password_hash",
    "prepared_name",
    "read_plugin_configuration",
    "typical_hash",
    "verify_password",
]

_HOMES = {
    "ConfigPath": "popframe.config",
    "PluginSettings": "popframe.config",
    "PluginConfiguration": "popframe.config.plugin_configuration",
    "read_plugin_configuration": "popframe.config.plugin_configuration",
    "AuthenticationFailed": "popframe.errors",
    "CommandSyntaxError": "popframe.errors",
    "ConfigError": "popframe.errors",
    "EncryptionRequired": "popframe.errors",
    "HookContractError": "popframe.errors",
    "LoginDelayed": "popframe.errors",
    "MaildropInUse": "popframe.errors",
    "NoSuchMessage": "popframe.errors",
    "PermanentFailure": "popframe.errors",
    "PopframeError": "popframe.errors",
    "ReadOnly": "popframe.errors",
    "Refusal": "popframe.errors",
    "TemporaryFailure": "popframe.errors",
    "IN_AUTHORIZATION": "popframe.extension",
    "IN_BOTH": "popframe.extension",
    "IN_TRANSACTION": "popframe.extension",
    "Challenge": "popframe.extension",
    "Command": "popframe.extension",
    "CommandContext": "popframe.extension",
    "Exchange": "popframe.extension",
    "Mechanism": "popframe.extension",
    "MechanismContext": "popframe.extension",
    "Reception": "popframe.extension",
    "Reply": "popframe.extension",
    "State": "popframe.extension",
    "hookimpl": "popframe.hookspecs",
    "Account": "popframe.model",
    "AccountMail": "popframe.model",
    "IncomingMessage": "popframe.model",
    "LoginAttempt": "popframe.model",
    "LoginFailure": "popframe.model",
    "LoginSuccess": "popframe.model",
    "Maildrop": "popframe.model",
    "Outcome": "popframe.model",
    "Peer": "popframe.model",
    "PlainCredentials": "popframe.model",
    "PreparedMaildrop": "popframe.model",
    "SessionHold": "popframe.model",
    "SessionSummary": "popframe.model",
    "Proven": "popframe.proof",
    "SecretScheme": "popframe.proof",
    "StoredSecret": "popframe.proof",
    "Tls": "popframe.model",
    "hash_password": "popframe.password",
    "is_password_hash": "popframe.password",
    "typical_hash": "popframe.password",
    "verify_password": "popframe.password",
    "Host": "popframe.plugins",
    "ProvenPasswords": "popframe.proven_passwords",
    "prepared_name": "popframe.saslprep",
    "ScramKeys": "popframe.scram_keys",
}
"""Where each name is; a new one goes here, above, and into ``__all__``."""


def __getattr__(name: str) -> object:
    """Import a name when it is first asked for.

    Raises:
        AttributeError: There is no such name.
    """
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value
