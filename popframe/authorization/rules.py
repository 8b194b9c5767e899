"""All rules together, in the order in which they are asked.

Rule of this package: a rule knows the peer and the account and nothing else: no password, no session, no hook. It keeps
no state but what a file said. What it cannot find out is a temporary failure, never consent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from popframe.authorization.groups import GroupLists
from popframe.authorization.masters import MasterUsers
from popframe.authorization.networks import NetworkLists
from popframe.authorization.nologin import NologinFile
from popframe.authorization.shells import ShellsFile
from popframe.authorization.uids import UidFloor
from popframe.authorization.users import UserLists
from popframe.config import LoginSettings
from popframe.errors import AuthenticationFailed
from popframe.model import Account, Peer


class Rule(Protocol):
    """One reason not to let an account in. Asked by many threads at once."""

    def objection(self, peer: Peer, account: Account) -> str | None:
        """Say why the account may not log in, in words for the log; None when this rule has nothing against it.

        Raises:
            TemporaryFailure: It cannot be found out now, or nobody may log in at present.
        """
        ...


class LoginRules:
    """The rules of one configuration.

    Attributes:
        refusal_seconds: What every refusal with ``[AUTH]`` takes at least, so that the time tells no reason.
        masters: Who may log in as somebody else.
    """

    def __init__(self, settings: LoginSettings) -> None:
        """Make the rules that the settings ask for; no file is read yet."""
        self._rules = tuple(_rules(settings))
        self.refusal_seconds = settings.refusal_seconds
        self.masters = MasterUsers(settings.master_users, settings.master_separator)

    def check(self, peer: Peer, account: Account) -> None:
        """Ask every rule whether an account whose password was right may log in.

        Args:
            peer: Where the client connects from.
            account: Who it is.

        Raises:
            AuthenticationFailed: It may not; the client gets the same words as for a wrong password.
            TemporaryFailure: It cannot be found out now, or nobody may log in at present.
        """
        for rule in self._rules:
            objection = rule.objection(peer, account)
            if objection is not None:
                raise AuthenticationFailed(objection)


def _rules(settings: LoginSettings) -> Iterator[Rule]:
    """Yield the rules.

    What costs nothing comes first. Those that may answer ``[SYS/TEMP]`` come last, since that answer tells that the
    password was right: whoever would be refused anyway is not told so.
    """
    yield NetworkLists(settings.allow_networks, settings.deny_networks)
    yield UserLists(settings.allow_users, settings.deny_users)
    yield UidFloor(settings.min_uid)
    if settings.require_shell:
        yield ShellsFile(settings.shells_file)
    if settings.allow_groups is not None or settings.deny_groups:
        yield GroupLists(settings.allow_groups, settings.deny_groups)
    if settings.respect_nologin:
        yield NologinFile(settings.nologin_file)
