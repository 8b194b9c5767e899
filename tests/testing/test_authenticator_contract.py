"""The contract finds what it is there to find: each broken authenticator fails the test that is about its fault."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from popframe import Account, AuthenticationFailed, PlainCredentials, hookimpl, verify_password
from popframe.testing import AuthenticatorContract
from popframe.testing.authenticator_contract import account_hook_of, hook_of

logger = logging.getLogger("popframe.test")

YESCRYPT = "$y$j9T$8gWRjdqa6jchZteBd4G3a1$gMxdfl541Nghov/1ydrjcV9Xu8TklP5fwfvtG1H4eU6"

USER, PASSWORD = AuthenticatorContract.username, AuthenticatorContract.password
CLOSED_USER = "bob"


class Contract(AuthenticatorContract):
    """The contract, and a user whose account is closed."""

    closed_username = CLOSED_USER


class Sound:
    """An authenticator without a fault, from which the others differ by one."""

    def is_right(self, password: bytes) -> bool:
        """Compare with the one password."""
        return password == PASSWORD

    def refuse(self, credentials: PlainCredentials) -> None:
        """Raise."""
        raise AuthenticationFailed("wrong password")

    def find(self, username: str) -> Account | None:
        """Return a user."""
        return Account(username=username) if username == USER else None

    @hookimpl
    def popframe_authenticate(self, credentials: PlainCredentials) -> Account | None:
        """Decide."""
        account = self.find(credentials.username)
        if account is not None and not self.is_right(credentials.password):
            self.refuse(credentials)
        return account

    @hookimpl
    def popframe_lookup_account(self, username: str) -> Account | None:
        """Decide."""
        if username == CLOSED_USER:
            raise AuthenticationFailed("closed")
        return self.find(username)


class AcceptsEverything(Sound):
    """Forgot to look at the password."""

    def is_right(self, password: bytes) -> bool:
        """Say yes."""
        return True


class StopsAtNul(Sound):
    """Hands octets to a C function that takes strings."""

    def is_right(self, password: bytes) -> bool:
        """Compare what stands before the NUL."""
        return password.partition(b"\0")[0] == PASSWORD


class LooksAtTheBeginning(Sound):
    """Uses a scheme that takes so many octets and no more."""

    def is_right(self, password: bytes) -> bool:
        """Compare beginnings."""
        return password[: len(PASSWORD)] == PASSWORD


class StripsBlanks(Sound):
    """Reads the password as if it were a word."""

    def is_right(self, password: bytes) -> bool:
        """Compare without blanks at the ends."""
        return password.strip() == PASSWORD


class WantsText(Sound):
    """Believes that a password is UTF-8."""

    def is_right(self, password: bytes) -> bool:
        """Compare as text."""
        return password.decode() == PASSWORD.decode()


class OpensFiles(Sound):
    """Has a file for each user, named by what the client sent."""

    def find(self, username: str) -> Account | None:
        """Look into a folder."""
        with contextlib.suppress(OSError):
            Path("/nonexistent", username).read_bytes()
        return super().find(username)


class KnowsEverybody(Sound):
    """Takes every name for a user."""

    def find(self, username: str) -> Account | None:
        """Return a user in any case."""
        return Account(username=username or "nobody")


class LeavesWrongPasswordsToOthers(Sound):
    """Lets a weaker plugin decide about its own users."""

    @hookimpl
    def popframe_authenticate(self, credentials: PlainCredentials) -> Account | None:
        """Return None for a wrong password."""
        return Account(username=USER) if (credentials.username, credentials.password) == (USER, PASSWORD) else None


class NamesNobody(Sound):
    """Gives an account without a name."""

    def find(self, username: str) -> Account | None:
        """Return a user without name."""
        return Account(username="") if username == USER else None


class ReturnsTrue:
    """Answers the wrong question."""

    @hookimpl
    def popframe_authenticate(self, credentials: PlainCredentials) -> bool:
        """Return what is no account."""
        return (credentials.username, credentials.password) == (USER, PASSWORD)


class Logs(Sound):
    """Logs what was sent, where a developer once wanted to see it."""

    def refuse(self, credentials: PlainCredentials) -> None:
        """Log and raise."""
        logger.debug("no match: %r", credentials.password)
        super().refuse(credentials)


class LogsTheError(Sound):
    """Logs an error of which the password is a part."""

    def refuse(self, credentials: PlainCredentials) -> None:
        """Log and raise."""
        try:
            int(credentials.password.decode("latin-1"))
        except ValueError:
            logger.exception("not a number")
        super().refuse(credentials)


class Quotes(Sound):
    """Says in the refusal what was wrong."""

    def refuse(self, credentials: PlainCredentials) -> None:
        """Raise."""
        raise AuthenticationFailed(f"{credentials.password!r} is not the password")


class QuotesTheCause(Sound):
    """Refuses from an error that says what was wrong."""

    def refuse(self, credentials: PlainCredentials) -> None:
        """Raise."""
        try:
            int(credentials.password.decode("latin-1"))
        except ValueError as error:
            raise AuthenticationFailed("wrong password") from error


class IsQuickForStrangers(Sound):
    """Computes the hash for its own users only."""

    def is_right(self, password: bytes) -> bool:
        """Take some time."""
        return verify_password(password, YESCRYPT) or password == PASSWORD


class MixesUpThreads(Sound):
    """Keeps what one call has to tell the other in the object, where other threads write too."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.password = b""

    @hookimpl
    def popframe_authenticate(self, credentials: PlainCredentials) -> Account | None:
        """Decide over what the object holds by now."""
        self.password = credentials.password
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 20_000)  # other threads run
        if credentials.username != USER:
            return None
        if self.password != PASSWORD:
            raise AuthenticationFailed("wrong password")
        return Account(username=USER)


class ForgetsTheFirstLogin(Sound):
    """Locks a user for good after one slip."""

    def __init__(self) -> None:
        """Start with nobody locked."""
        self.is_locked = False

    def refuse(self, credentials: PlainCredentials) -> None:
        """Raise, from now on."""
        self.is_locked = True
        super().refuse(credentials)

    def is_right(self, password: bytes) -> bool:
        """Compare, unless the user is locked."""
        return not self.is_locked and super().is_right(password)


class BreaksAtTheSecondLogin(Sound):
    """Remembers a proven password, and forgets whose it was."""

    def __init__(self) -> None:
        """Start with nothing proven."""
        self.is_proven = False

    def find(self, username: str) -> Account | None:
        """Return another user from the second time on."""
        account = super().find(username)
        if account is not None and self.is_proven:
            return Account(username="bob")
        self.is_proven = True
        return account


class HasOtherAccounts(Sound):
    """Makes the account anew, and forgets half of it."""

    @hookimpl
    def popframe_lookup_account(self, username: str) -> Account | None:
        """Decide, with another maildrop than after a login."""
        return Account(username, maildrop=f"/srv/{username}") if self.find(username) else None


class TrustsEveryName(Sound):
    """Takes a proven identity for a user of its own."""

    @hookimpl
    def popframe_lookup_account(self, username: str) -> Account | None:
        """Return an account in any case."""
        return Account(username or "nobody")


class OpensFilesForProvenNames(Sound):
    """Believes that a name in a certificate is the name of a file."""

    @hookimpl
    def popframe_lookup_account(self, username: str) -> Account | None:
        """Look into a folder."""
        with contextlib.suppress(OSError):
            Path("/nonexistent", username).read_bytes()
        return self.find(username)


class LeavesClosedAccountsToOthers(Sound):
    """Says that it does not know whom it must not let in."""

    @hookimpl
    def popframe_lookup_account(self, username: str) -> Account | None:
        """Return None for a closed account."""
        return self.find(username)


class RemembersWhoWasHere(Sound):
    """Takes an identity that was proven once for a password that was."""

    def __init__(self) -> None:
        """Start with nobody proven."""
        self.is_proven = False

    def is_right(self, password: bytes) -> bool:
        """Compare, unless somebody was here."""
        return self.is_proven or super().is_right(password)

    @hookimpl
    def popframe_lookup_account(self, username: str) -> Account | None:
        """Remember whom it finds."""
        account = self.find(username)
        self.is_proven = self.is_proven or account is not None
        return account


class MixesUpThreadsThatLookUp(Sound):
    """Keeps the name in the object, where other threads write too."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.username = ""

    @hookimpl
    def popframe_lookup_account(self, username: str) -> Account | None:
        """Decide over what the object holds by now."""
        self.username = username
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 20_000)  # other threads run
        return self.find(self.username)


TESTS = [name for name in vars(AuthenticatorContract) if name.startswith("test_")]

FAULTS: dict[type, str] = {
    AcceptsEverything: "test_wrong_password_is_refused_and_not_left_to_others",
    StopsAtNul: "test_nothing_but_the_right_password_is_accepted",
    LooksAtTheBeginning: "test_nothing_but_the_right_password_is_accepted",
    StripsBlanks: "test_nothing_but_the_right_password_is_accepted",
    WantsText: "test_nothing_but_the_right_password_is_accepted",
    OpensFiles: "test_hostile_name_is_not_logged_in",
    KnowsEverybody: "test_unknown_user_is_not_logged_in",
    LeavesWrongPasswordsToOthers: "test_wrong_password_is_refused_and_not_left_to_others",
    NamesNobody: "test_right_password_gives_the_account",
    ReturnsTrue: "test_right_password_gives_the_account",
    Logs: "test_no_password_is_logged",
    LogsTheError: "test_no_password_is_logged",
    Quotes: "test_no_password_is_in_a_refusal",
    QuotesTheCause: "test_no_password_is_in_a_refusal",
    IsQuickForStrangers: "test_unknown_user_takes_as_long_as_a_wrong_password",
    MixesUpThreads: "test_many_threads_get_right_answers",
    BreaksAtTheSecondLogin: "test_second_login_gives_the_same_account",
    ForgetsTheFirstLogin: "test_wrong_password_is_refused_after_a_right_one",
    HasOtherAccounts: "test_lookup_gives_the_account_that_a_login_gives",
    TrustsEveryName: "test_lookup_finds_no_unknown_user",
    OpensFilesForProvenNames: "test_lookup_finds_no_hostile_name",
    LeavesClosedAccountsToOthers: "test_lookup_refuses_a_closed_account",
    RemembersWhoWasHere: "test_lookup_proves_no_password",
    MixesUpThreadsThatLookUp: "test_many_threads_find_their_own_accounts",
}
"""Which test of the contract is about which fault."""

Run = Callable[[str, object], None]


@pytest.fixture
def run(caplog: pytest.LogCaptureFixture) -> Run:
    """Return a function that runs one test of the contract on a plugin."""

    def run(test: str, plugin: object) -> None:
        fixtures = {"authenticate": hook_of(plugin), "look_up_account": account_hook_of(plugin), "caplog": caplog}
        method = getattr(Contract(), test)
        method(**{name: fixtures[name] for name in inspect.signature(method).parameters})

    return run


@pytest.mark.parametrize("test", TESTS)
def test_sound_authenticator_passes(run: Run, test: str) -> None:
    """The contract asks for nothing that ten lines of code cannot give."""
    run(test, Sound())


@pytest.mark.parametrize(("broken", "test"), FAULTS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_broken_authenticator_fails(run: Run, broken: type, test: str) -> None:
    """Each fault is found by the test that is about it."""
    with pytest.raises((Exception, pytest.fail.Exception)):
        run(test, broken())


def test_every_promise_is_broken_by_somebody() -> None:
    """There is no test in the contract that cannot fail."""
    assert set(TESTS) == set(FAULTS.values())


def test_plugin_without_the_hook_is_told() -> None:
    """A forgotten ``@hookimpl`` is a failure, and not a plugin without users."""

    class Unmarked:
        def popframe_authenticate(self, credentials: PlainCredentials) -> Account | None:
            return None

    with pytest.raises(AssertionError, match="does not implement popframe_authenticate"):
        hook_of(Unmarked())


PLUGINS_WITH_LESS = """\
import pytest
from popframe import hookimpl
from popframe.testing import AuthenticatorContract, MemoryAccounts


class OnlyPasswords:
    def __init__(self, accounts):
        self.accounts = accounts

    @hookimpl
    def popframe_authenticate(self, credentials):
        return self.accounts.popframe_authenticate(credentials)


class TestOnlyPasswords(AuthenticatorContract):
    @pytest.fixture
    def plugin(self):
        return OnlyPasswords(MemoryAccounts({self.username: self.password}))


class TestNobodyClosed(AuthenticatorContract):
    @pytest.fixture
    def plugin(self):
        return MemoryAccounts({self.username: self.password})
"""


def test_what_a_plugin_does_not_have_is_skipped(tmp_path: Path) -> None:
    """A plugin may implement one hook without the other, or have no accounts that are closed; all else is tested."""
    path = tmp_path / "test_plugins.py"
    path.write_text(PLUGINS_WITH_LESS)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-p", "no:xdist", path.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    lookups = [test for test in TESTS if "look_up_account" in inspect.signature(getattr(Contract, test)).parameters]
    skipped = len(lookups) + 1

    assert lookups
    assert done.stdout.splitlines()[-1].startswith(f"{2 * len(TESTS) - skipped} passed, {skipped} skipped")
    assert done.stdout.count("the plugin does not implement popframe_lookup_account") == len(lookups)
    assert done.stdout.count("closed_username names no closed account") == 1
