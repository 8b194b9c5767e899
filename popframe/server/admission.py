"""From a name and a password to an open maildrop: which plugin is asked what, and in which order."""

from __future__ import annotations

from popframe.authorization import LoginRules
from popframe.engine import Login
from popframe.errors import AuthenticationFailed, PermanentFailure
from popframe.model import Account, Peer, PlainCredentials
from popframe.plugins import Hooks


def admitted(hooks: Hooks, rules: LoginRules, peer: Peer, credentials: PlainCredentials) -> Account:
    """Return whose credentials these are, once everybody agrees that the account may come in.

    Raises:
        AuthenticationFailed: They are wrong, or the account may not log in.
        Refusal: It cannot be found out, or nobody may log in at present.
        HookContractError: A plugin broke its contract.
    """
    if not credentials.password:  # whichever plugin would take it, and whichever mechanism let it through
        raise AuthenticationFailed("empty password")
    username = hooks.canonical_username(peer, credentials.username)
    account = hooks.authenticate(peer, PlainCredentials(username, credentials.password))
    if account is None:
        raise AuthenticationFailed("unknown user")
    rules.check(peer, account)
    hooks.authorize(peer, account)
    return account


def opened(hooks: Hooks, peer: Peer, account: Account) -> Login:
    """Open the maildrop of an account that was admitted.

    Raises:
        Refusal: It cannot be opened; nothing is left open or locked.
        HookContractError: A plugin broke its contract.
    """
    hooks.before_maildrop_opens(peer, account)
    maildrop = hooks.open_maildrop(account)
    if maildrop is None:
        raise PermanentFailure("no plugin stores the mail of this account")
    return Login(account, maildrop)
