"""The typed front of the plugins: what the rest of popframe calls.

Rule of this file: pluggy only registers. Calling is done here, over implementations that were resolved once at
start-up, so that every error names its plugin, a failing Report stops no other, and a call costs about a microsecond.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from popframe.errors import PermanentFailure, Refusal, TemporaryFailure
from popframe.extension import Command, CommandContext, Mechanism
from popframe.model import (
    Account,
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
from popframe.plugins import contract
from popframe.proof import SecretScheme, StoredSecret

AnswerT = TypeVar("AnswerT")

_logger = logging.getLogger("popframe.hooks")


@dataclass(frozen=True, slots=True)
class Implementation:
    """One plugin's implementation of one hook.

    Attributes:
        source: Plugin, where it comes from, and hook, in words, for messages.
        function: The bound method.
        argument_names: Which of the hook's arguments it takes, in this order.
    """

    source: str
    function: Callable[..., object]
    argument_names: tuple[str, ...]

    def call(self, arguments: Mapping[str, object]) -> object:
        """Call it with those of the hook's arguments that it takes."""
        return self.function(*[arguments[name] for name in self.argument_names])


class Hooks:
    """All plugins of one server. What each hook means is said in :mod:`popframe.hookspecs`.

    Attributes:
        commands: The command extensions, in configuration order.
        mechanisms: The SASL mechanisms, in configuration order.
        secret_schemes: The forms of stored secrets that plugins have, in configuration order.
        starts_setgid_programs: Some plugin starts programs in a session that get rights by a setuid or setgid bit.
    """

    def __init__(
        self,
        implementations: Mapping[str, Sequence[Implementation]],
        commands: Sequence[Command[CommandContext]] = (),
        mechanisms: Sequence[Mechanism] = (),
        secret_schemes: Sequence[SecretScheme] = (),
        *,
        starts_setgid_programs: bool = False,
    ) -> None:
        """Take what :func:`popframe.plugins.build_hooks` has put together.

        Args:
            implementations: By name of the hook, in configuration order.
            commands: Checked command extensions.
            mechanisms: Checked mechanisms.
            secret_schemes: Checked forms of secrets.
            starts_setgid_programs: Some plugin says so of itself.
        """

        def resolved(hook: str) -> tuple[Implementation, ...]:
            return tuple(implementations.get(hook, ()))

        self.commands = tuple(commands)
        self.mechanisms = tuple(mechanisms)
        self.secret_schemes = tuple(secret_schemes)
        self.starts_setgid_programs = starts_setgid_programs
        self._check_attempt = resolved("popframe_check_attempt")
        self._canonical_username = resolved("popframe_canonical_username")
        self._authenticate = resolved("popframe_authenticate")
        self._lookup_secret = resolved("popframe_lookup_secret")
        self._lookup_account = resolved("popframe_lookup_account")
        self._authorize = resolved("popframe_authorize")
        self._open_session = resolved("popframe_open_session")
        self._open_maildrop = resolved("popframe_open_maildrop")
        self._deliver_message = resolved("popframe_deliver_message")
        self._before_maildrop_opens = resolved("popframe_before_maildrop_opens")
        self._session_started = resolved("popframe_session_started")
        self._login_failed = resolved("popframe_login_failed")
        self._login_succeeded = resolved("popframe_login_succeeded")
        self._session_ended = resolved("popframe_session_ended")

    # --- Decide

    def canonical_username(self, peer: Peer, username: str) -> str:
        """Return the name under which the user is known; the name itself when no plugin says otherwise."""
        arguments = {"peer": peer, "username": username}
        answer = _decide(self._canonical_username, contract.accept_username, arguments)
        return username if answer is None else answer

    def authenticate(self, peer: Peer, credentials: PlainCredentials) -> Account | None:
        """Return whose credentials these are; None when no plugin knows the user."""
        return _decide(self._authenticate, contract.accept_account, {"peer": peer, "credentials": credentials})

    def lookup_secret(self, peer: Peer, username: str, scheme: str) -> StoredSecret | None:
        """Return the stored secret of a user in one scheme; None when no plugin has it."""
        arguments = {"peer": peer, "username": username, "scheme": scheme}
        return _decide(
            self._lookup_secret, lambda source, answer: contract.accept_secret(source, answer, scheme), arguments
        )

    def lookup_account(self, peer: Peer, username: str) -> Account | None:
        """Return the account of a user whose identity is proven already; None when no plugin knows the user."""
        return _decide(self._lookup_account, contract.accept_account, {"peer": peer, "username": username})

    def open_maildrop(self, account: Account) -> Maildrop | None:
        """Return the account's maildrop, opened; None when no plugin stores its mail."""
        return _decide(self._open_maildrop, contract.accept_maildrop, {"account": account})

    def deliver_message(self, account: Account, message: IncomingMessage) -> bool:
        """Put a message into a maildrop; False when no plugin stores this account's mail."""
        arguments = {"account": account, "message": message}
        return _decide(self._deliver_message, contract.accept_delivered, arguments) is not None

    # --- Check

    def check_attempt(self, attempt: LoginAttempt) -> None:
        """Ask every plugin whether an attempt to log in is to be looked at; the first that raises decides."""
        if self._check_attempt:
            _check(self._check_attempt, {"attempt": attempt})

    def authorize(self, peer: Peer, account: Account) -> None:
        """Ask every plugin whether the account may log in; the first that raises decides."""
        _check(self._authorize, {"peer": peer, "account": account})

    def open_session(self, peer: Peer, account: Account) -> tuple[SessionHold, ...]:
        """Let every plugin begin what lasts as long as the session; the first that raises decides, and ends it all."""
        arguments = {"peer": peer, "account": account}
        held: list[SessionHold] = []
        try:
            for implementation in self._open_session:
                answer = _ask(implementation, arguments)
                if answer is not None:
                    held.append(contract.accept_hold(implementation.source, answer))
        except BaseException:
            release(held)
            raise
        return tuple(held)

    # --- Report

    def before_maildrop_opens(self, peer: Peer, account: Account) -> None:
        """Tell every plugin that an account's maildrop is about to be opened."""
        if self._before_maildrop_opens:
            arguments = {"peer": peer, "account": account, "mail": _AccountMail(self, account)}
            _report(self._before_maildrop_opens, arguments)

    def session_started(self, session_id: str, peer: Peer) -> None:
        """Tell every plugin that a client has connected."""
        if self._session_started:
            _report(self._session_started, {"session_id": session_id, "peer": peer})

    def login_failed(self, failure: LoginFailure) -> None:
        """Tell every plugin that a login was refused."""
        if self._login_failed:
            _report(self._login_failed, {"failure": failure})

    def login_succeeded(self, success: LoginSuccess) -> None:
        """Tell every plugin that somebody has logged in."""
        if self._login_succeeded:
            _report(self._login_succeeded, {"success": success})

    def session_ended(self, summary: SessionSummary) -> None:
        """Tell every plugin that a session is over."""
        if self._session_ended:
            _report(self._session_ended, {"summary": summary})


def release(held: Iterable[SessionHold]) -> None:
    """End what :meth:`Hooks.open_session` has begun, the last first; one that cannot be closed is logged."""
    for hold in reversed(tuple(held)):
        try:
            hold.close()
        except Exception:
            _logger.exception("%s cannot be closed", type(hold).__name__)


@dataclass(frozen=True, slots=True)
class _AccountMail:
    """See :class:`popframe.AccountMail`."""

    hooks: Hooks
    account: Account

    def deliver(self, message: IncomingMessage) -> None:
        if not self.hooks.deliver_message(self.account, message):
            raise PermanentFailure("no plugin delivers mail to this account")

    def open(self) -> Maildrop:
        maildrop = self.hooks.open_maildrop(self.account)
        if maildrop is None:
            raise PermanentFailure("no plugin stores the mail of this account")
        return maildrop


def _decide(
    implementations: tuple[Implementation, ...],
    accept: Callable[[str, object], AnswerT],
    arguments: Mapping[str, object],
) -> AnswerT | None:
    """Return the first answer that is not None.

    Raises:
        Refusal: A plugin refused, or failed in another way, which makes it a temporary failure.
        HookContractError: The answer is not one that the hook allows.
    """
    for implementation in implementations:
        answer = _ask(implementation, arguments)
        if answer is not None:
            return accept(implementation.source, answer)
    return None


def _ask(implementation: Implementation, arguments: Mapping[str, object]) -> object:
    """Call one plugin; a failure is never an answer, so later plugins are not asked."""
    try:
        return implementation.call(arguments)
    except Refusal:
        raise
    except Exception as exc:
        _logger.exception("%s failed", implementation.source)
        raise TemporaryFailure(f"{implementation.source} failed: {type(exc).__name__}: {exc}") from exc


def _check(implementations: tuple[Implementation, ...], arguments: Mapping[str, object]) -> None:
    """Ask every plugin; the first that raises decides.

    Raises:
        Refusal: A plugin refused, or failed in another way, which makes it a temporary failure.
        HookContractError: It answered otherwise.
    """
    for implementation in implementations:
        contract.accept_nothing(implementation.source, _ask(implementation, arguments))


def _report(implementations: tuple[Implementation, ...], arguments: Mapping[str, object]) -> None:
    """Call every plugin; one that fails is logged and stops no other."""
    for implementation in implementations:
        try:
            contract.accept_nothing(implementation.source, implementation.call(arguments))
        except Exception:
            _logger.exception("%s failed", implementation.source)
