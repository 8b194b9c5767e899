"""The accounts in memory keep the promises of every authenticator."""

from __future__ import annotations

import pytest

from popframe import Account, AuthenticationFailed, PlainCredentials
from popframe.testing import AuthenticatorContract, MemoryAccounts


class TestMemoryAccounts(AuthenticatorContract):
    """The contract, on the users that its own defaults name."""

    closed_username = "bob"

    @pytest.fixture
    def plugin(self) -> MemoryAccounts:
        """Return accounts with one user who can log in."""
        return MemoryAccounts({self.username: self.password, self.closed_username: b""})


def test_account_comes_back_as_it_was_added() -> None:
    """A test decides what the other plugins learn of a user."""
    alice = Account(username="alice", uid=1000, maildrop="/srv/mail/alice")
    accounts = MemoryAccounts()
    accounts.add(alice, b"secret")

    assert accounts.popframe_authenticate(PlainCredentials("alice", b"secret")) is alice


def test_added_user_replaces_the_one_of_that_name() -> None:
    """A password may change while the server runs."""
    accounts = MemoryAccounts({"alice": b"old"})
    accounts.add(Account(username="alice"), b"new")

    assert accounts.popframe_authenticate(PlainCredentials("alice", b"new")) == Account(username="alice")
    with pytest.raises(AuthenticationFailed):
        accounts.popframe_authenticate(PlainCredentials("alice", b"old"))


def test_user_without_password_cannot_log_in() -> None:
    """An empty password never logs in, although it is the same octet by octet."""
    with pytest.raises(AuthenticationFailed):
        MemoryAccounts({"alice": b""}).popframe_authenticate(PlainCredentials("alice", b""))


def test_password_is_not_shown() -> None:
    """A failing test prints the accounts without their passwords."""
    assert "secret" not in repr(vars(MemoryAccounts({"alice": b"secret"})))
