"""Every hook of popframe, with its whole contract.

Three kinds:

* *Decide*: plugins are asked in configuration order until one gives an answer that is not None. An exception is an
  answer too: later plugins are not asked. A :class:`~popframe.Refusal` reaches the client as it is; anything else is a
  temporary failure (``[SYS/TEMP]``), never "wrong password", and goes to the log with its traceback and the plugin's
  name.
* *Check*: every plugin is asked; the first that raises decides. Anything raised that is not a refusal refuses as well.
* *Collect*: every plugin is asked once, at start-up.
* *Report*: every plugin is told, each by itself: what one raises goes to the log and stops no other.

Hooks are synchronous and may block. They are called from many threads at once, and after a fork: a plugin guards its
own state. An implementation may leave out arguments that it does not use.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from popframe.extension import Command, CommandContext, Mechanism
from popframe.model import (
    Account,
    AccountMail,
    IncomingMessage,
    LoginAttempt,
    LoginFailure,
    LoginSuccess,
    Maildrop,
    Peer,
    PlainCredentials,
    SessionHold,
    SessionSummary,
)
from popframe.proof import SecretScheme, StoredSecret

PROJECT_NAME = "popframe"
"""pluggy's name for this family of hooks, and the group of the plugins' entry points."""

hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)
"""Marks a method of a plugin as the implementation of the hook whose name it has."""


# --- who is it? ---------------------------------------------------------------------------------------------------


@hookspec
def popframe_check_attempt(attempt: LoginAttempt) -> None:
    """Check: is this attempt to log in to be looked at?

    Called once for every login attempt that the table ``[abuse]`` lets through, before any other hook sees the name,
    and before anybody looks at the password; in the session's own thread, which may block. With
    ``isolation = "per-user"`` that is in the front, as ``run_as``. The moment to ask a policy server, or a list of
    addresses that are banned.

    Args:
        attempt: Who tries, from where.

    Raises:
        AuthenticationFailed: It is not. The client gets the same words as for a wrong password.
        TemporaryFailure: It cannot be looked at now.
    """


@hookspec(firstresult=True)
def popframe_canonical_username(peer: Peer, username: str) -> str | None:
    """Decide: under which name is this user known?

    Called once for every login attempt, before any other hook sees the name: to fold case, trim a domain or add one.
    The name that comes back is not asked about again.

    Args:
        peer: Where the client connects from.
        username: The name as the client sent it.

    Returns:
        The name to use, or None to leave it to later plugins. When all return None, the name stays as it is.

    Raises:
        AuthenticationFailed: A name of this form can never log in.
    """


@hookspec(firstresult=True)
def popframe_authenticate(peer: Peer, credentials: PlainCredentials) -> Account | None:
    """Decide: who is this?

    Called once for every PASS, and for every AUTH exchange that yields a name and a password, in the process that is
    allowed to know; and a second time where the password was wrong as SASLprep makes it, and was sent otherwise (RFC
    6856 section 2.2). The password is never empty and holds no NUL.

    Args:
        peer: Where the client connects from.
        credentials: What it sent, the name already canonical. Do not store, do not log.

    Returns:
        The account; or None when the user is not one of this plugin's. When all return None, the login fails as with a
        wrong password. A plugin should take as long to return None as to refuse a wrong password, so that the time
        does not tell which users exist.

    Raises:
        AuthenticationFailed: The user is ours, and the password is wrong or the account is closed.
        TemporaryFailure: The source of truth cannot be asked now.
    """


@hookspec(firstresult=True)
def popframe_lookup_secret(peer: Peer, username: str, scheme: str) -> StoredSecret | None:
    """Decide: what is the stored secret of this user?

    Called by a SASL mechanism or APOP that checks a proof instead of a password.

    Args:
        peer: Where the client connects from.
        username: The name, already canonical.
        scheme: Which form is needed; see :class:`~popframe.StoredSecret`. Only forms are asked for that some plugin
            has named in :func:`popframe_register_secret_schemes`.

    Returns:
        The secret in exactly that scheme; or None when the user is not ours or has none of that form. The mechanism
        then goes through the same motions and fails at the end.

    Raises:
        TemporaryFailure: The source of truth cannot be asked now.
    """


@hookspec(firstresult=True)
def popframe_lookup_account(peer: Peer, username: str) -> Account | None:
    """Decide: which account is this, whose identity is proven already?

    Called where no password was asked for: a client's certificate (EXTERNAL) or another proof has said who it is, or a
    master user logs in as somebody else. Rules and :func:`popframe_authorize` are asked afterwards.

    Args:
        peer: Where the client connects from.
        username: The name, already canonical.

    Returns:
        The account, as :func:`popframe_authenticate` would return it; or None when the user is not one of this
        plugin's. When all return None, the login fails.

    Raises:
        AuthenticationFailed: The user is ours, and the account is locked or closed.
        TemporaryFailure: The source of truth cannot be asked now.
    """


@hookspec
def popframe_authorize(peer: Peer, account: Account) -> None:
    """Check: may this account log in, now and from there?

    Called after the password, or the proof, was found right, whichever plugin said so, and before the maildrop is
    opened: closed accounts, times, quotas. The rules of the table ``[login]`` (shells, user ids, lists, networks) were
    asked before.

    Args:
        peer: Where the client connects from.
        account: Who it is.

    Raises:
        AuthenticationFailed: It may not. The client gets the same words as for a wrong password.
        LoginDelayed: It was here too short a time ago.
        TemporaryFailure: Nobody may log in at present.
    """


@hookspec
def popframe_open_session(peer: Peer, account: Account) -> SessionHold | None:
    """Check: begin what lasts as long as this session, such as a PAM session, or an entry among those who are here.

    Called when everybody has let the account in, before anything of its mail is touched, and with
    ``isolation = "per-user"`` before the process becomes the user. It is the object that
    :func:`popframe_authenticate` has returned. What an earlier plugin has begun ends when a later one refuses, or when
    the maildrop cannot be opened.

    Args:
        peer: Where the client connects from.
        account: Who logs in.

    Returns:
        What is to be held open until the end of the session, by whichever process then serves it, or None.

    Raises:
        TemporaryFailure: It cannot begin now, so there is no session.
    """


# --- where is the mail? -------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def popframe_open_maildrop(account: Account) -> Maildrop | None:
    """Decide: where is this account's mail?

    Called once after a successful login. Whoever answers owns the maildrop's lock from then on, until the engine calls
    :meth:`~popframe.Maildrop.close`, which it does exactly once.

    Args:
        account: Who logged in.

    Returns:
        The maildrop, opened and fixed as it is now; an empty one when the user has no mail. None when this plugin does
        not store this account's mail. When all return None, the login fails with ``[SYS/PERM]``.

    Raises:
        MaildropInUse: Another session has it.
        TemporaryFailure: It cannot be opened now.
        PermanentFailure: It cannot be opened until an operator has mended something.
    """


@hookspec(firstresult=True)
def popframe_deliver_message(account: Account, message: IncomingMessage) -> bool | None:
    """Decide: who puts this message into the account's maildrop?

    Called for bulletins and for local delivery, also while a session has the maildrop open: the message belongs to the
    next one then, like mail that arrives in any other way.

    Args:
        account: Whose maildrop.
        message: What to deliver.

    Returns:
        True when the message is safely on disk; None when this plugin does not store this account's mail.

    Raises:
        TemporaryFailure: Not delivered, nothing of it is left behind.
        PermanentFailure: Not delivered, and trying again will not help.
    """


@hookspec
def popframe_before_maildrop_opens(peer: Peer, account: Account, mail: AccountMail) -> None:
    """Report: this account is about to have its maildrop opened.

    Called after :func:`popframe_authorize` and before :func:`popframe_open_maildrop`; the moment to deliver what the
    user should find. No failure here stops the login. Another session may have the maildrop open, and another login of
    the same account may be here at the same time, in another thread or process.

    Args:
        peer: Where the client connects from.
        account: Who logged in.
        mail: The way to the account's mail, through :func:`popframe_deliver_message` and
            :func:`popframe_open_maildrop` of whichever plugin stores it.
    """


# --- what else can it say? ----------------------------------------------------------------------------------------


@hookspec
def popframe_register_commands() -> Iterable[Command[CommandContext]]:
    """Collect: command extensions.

    Called once at start-up. A verb that another plugin or the engine already has is a configuration error.

    Returns:
        The rows to add to the command table.
    """
    return ()


@hookspec
def popframe_register_mechanisms() -> Iterable[Mechanism]:
    """Collect: SASL mechanisms.

    Called once at start-up. A name that another plugin or the server already has is a configuration error.

    Returns:
        The mechanisms to offer.
    """
    return ()


@hookspec
def popframe_register_secret_schemes() -> Iterable[SecretScheme]:
    """Collect: the forms in which this plugin has stored secrets.

    Called once at start-up, of a plugin that implements :func:`popframe_lookup_secret`: a mechanism that needs a form
    is offered only when some plugin has it. Clients choose the strongest mechanism that is offered and seldom try
    another, so a plugin should name a form only if all of its users have a secret of it.

    Returns:
        The forms.
    """
    return ()


# --- what happened? -----------------------------------------------------------------------------------------------


@hookspec
def popframe_session_started(session_id: str, peer: Peer) -> None:
    """Report: a client has connected.

    Called before the greeting, in the session's own thread: time spent here delays it.

    Args:
        session_id: The name of the session in every log line.
        peer: Where the client connects from.
    """


@hookspec
def popframe_login_failed(failure: LoginFailure) -> None:
    """Report: a login was refused.

    Called for each refused attempt, before the client is told, also for those whose password nobody has looked at.

    Args:
        failure: Who tried, from where, and why it was refused.
    """


@hookspec
def popframe_login_succeeded(success: LoginSuccess) -> None:
    """Report: somebody has logged in.

    Called once the maildrop is open, before the client is told.

    Args:
        success: Who it is, and from where.
    """


@hookspec
def popframe_session_ended(summary: SessionSummary) -> None:
    """Report: a session is over.

    Called exactly once for each :func:`popframe_session_started`, after the maildrop was closed, however the session
    ended, unless the process itself was killed.

    Args:
        summary: What the session did.
    """
