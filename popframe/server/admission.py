"""From a proof of who somebody is to an open maildrop: which plugin is asked what, and in which order."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from popframe.authorization import LoginRules
from popframe.engine import Login
from popframe.errors import AuthenticationFailed, PermanentFailure
from popframe.model import Account, Peer, PlainCredentials
from popframe.plugins import Hooks
from popframe.proof import Proven
from popframe.saslprep import saslprep


@dataclass(frozen=True, slots=True)
class Admitted:
    """Somebody who may come in.

    Attributes:
        account: Whose maildrop is to be opened.
        master: The master user who logs in as that one; empty when it is the user.
    """

    account: Account
    master: str = ""


def admitted(
    hooks: Hooks, rules: LoginRules, peer: Peer, proof: PlainCredentials | Proven, *, prepares: bool = False
) -> Admitted:
    """Return whose proof this is, once everybody agrees that the account may come in.

    Where a master user logs in as somebody else, both accounts must be ones that may.

    Args:
        hooks: The plugins.
        rules: Who may log in, whatever they say.
        peer: Where the client connects from.
        proof: A name and a password, or a name that is proven.
        prepares: Try what SASLprep makes of the password, and the password as it was sent only if that is wrong (RFC
            4616 section 2): for those of SASL, since the engine sees to others.

    Raises:
        AuthenticationFailed: It is wrong, or the account may not log in.
        Refusal: It cannot be found out, or nobody may log in at present.
        HookContractError: A plugin broke its contract.
    """
    if isinstance(proof, PlainCredentials):
        account, authorization = _authenticated(hooks, rules, peer, proof, prepares=prepares)
    else:
        account = proof.account or _known(hooks, peer, hooks.canonical_username(peer, proof.username))
        authorization = "" if proof.authorization == proof.username else proof.authorization
    _allow(hooks, rules, peer, account)
    username = hooks.canonical_username(peer, authorization) if authorization else account.username
    if username == account.username:
        return Admitted(account)
    if not rules.masters.includes(account.username):
        raise AuthenticationFailed(f"{account.username!r} is not in login.master_users, and wants to be {username!r}")
    other = _known(hooks, peer, username)
    _allow(hooks, rules, peer, other)
    return Admitted(other, master=account.username)


def _authenticated(
    hooks: Hooks, rules: LoginRules, peer: Peer, credentials: PlainCredentials, *, prepares: bool
) -> tuple[Account, str]:
    """Return whose password it is, and as whom that one wants to log in; empty for itself."""
    if not credentials.password:  # whichever plugin would take it, and whichever mechanism let it through
        raise AuthenticationFailed("empty password")
    name, authorization = credentials.username, credentials.authorization
    if not authorization:
        name, authorization = rules.masters.split(name)
    username = hooks.canonical_username(peer, name)
    account = None
    if prepares and (prepared := _prepared(credentials.password)):
        with contextlib.suppress(AuthenticationFailed):
            account = hooks.authenticate(peer, PlainCredentials(username, prepared))
    account = account or hooks.authenticate(peer, PlainCredentials(username, credentials.password))
    if account is None:
        raise AuthenticationFailed("unknown user")
    return account, "" if authorization in (name, username) else authorization


def _prepared(password: bytes) -> bytes:
    """Return what SASLprep makes of a password; empty when that is the same, or nothing."""
    try:
        prepared = saslprep(password.decode("utf-8")).encode()
    except ValueError:
        return b""
    return b"" if prepared == password else prepared


def _known(hooks: Hooks, peer: Peer, username: str) -> Account:
    account = hooks.lookup_account(peer, username)
    if account is None:
        raise AuthenticationFailed(f"no plugin knows an account {username!r}")
    return account


def _allow(hooks: Hooks, rules: LoginRules, peer: Peer, account: Account) -> None:
    rules.check(peer, account)
    hooks.authorize(peer, account)


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
