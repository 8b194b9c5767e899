"""What every plugin that implements ``popframe_authenticate`` must do, one test for each promise.

And what it must do if it implements ``popframe_lookup_account`` as well.

A plugin's own tests derive a class from :class:`AuthenticatorContract`; pytest then finds the promises in it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ClassVar

import pluggy
import pytest

from popframe import Account, AuthenticationFailed, Peer, PlainCredentials, Refusal, hookspecs

PEER = Peer(address="192.0.2.7", port=50_110, local_address="192.0.2.1", local_port=110)
"""Where the contract's client connects from (addresses of RFC 5737)."""

THREADS = 8
"""Logins at the same time: more than a test machine has cores."""

ROUNDS = 3
"""Logins of each thread, one after the other."""

BARRIER_SECONDS = 30.0
"""How long the threads wait for each other before the test is told that they hang."""

TIMING_TRIES = 15
"""How often a refusal is timed. The shortest time counts: whatever disturbs a test machine only adds to it."""

TIMING_SECONDS = 4.0
"""No more tries after this time: some sources of truth take seconds to refuse on purpose."""

TIMING_FLOOR_SECONDS = 0.001
"""What takes less cannot be told from the noise of a network."""

TIMING_FACTOR = 4.0
"""How far the times may be apart. Forgetting the work for unknown users makes a factor of 20 to 10,000."""

HOSTILE_NAMES = (
    *("../x", "/etc/passwd", "..", "-x", "%s%n", "{0}", "$HOME", "`id`", "' OR '1'='1", "x)(uid=*"),
    *("*", "#", ":", " ", "\0", "a\nb", "a\r\nb", "\x1b[2J", "\u202ealice", "\U0001f600", "x" * 4096),
)
"""Names that mean something to a path, a format, a shell, a terminal, a database or a directory. The engine stops those
with control characters, but the mail of somebody else must not depend on that."""

HOSTILE_PASSWORDS = (
    *(b"", b" ", b"\0", b"\xff\xfe\x80", "pässwörd".encode(), b" a  b ", b"%s%n", b"!", b"*0", b"a\r\nb"),
    *(b"x" * 255, b"\xff" * 512, b"x" * 4096),
)
"""Passwords that are empty, not text, longer than crypt(3) takes, or that look like a locked hash."""

Authenticate = Callable[[str, bytes], Account | None]
LookUpAccount = Callable[[str], Account | None]


def hook_of(plugin: object) -> Authenticate:
    """Return a plugin's ``popframe_authenticate`` as the server calls it: with those arguments that it takes.

    Raises:
        AssertionError: The plugin does not implement it, or, when it is called, it returns something else.
    """
    hook = _hooks_of(plugin).popframe_authenticate
    assert hook.get_hookimpls(), f"{plugin!r} does not implement popframe_authenticate"
    return lambda username, password: _checked(hook(peer=PEER, credentials=PlainCredentials(username, password)))


def account_hook_of(plugin: object) -> LookUpAccount | None:
    """Return a plugin's ``popframe_lookup_account`` as the server calls it; None when it does not implement it."""
    hook = _hooks_of(plugin).popframe_lookup_account
    return (lambda username: _checked(hook(peer=PEER, username=username))) if hook.get_hookimpls() else None


def _hooks_of(plugin: object) -> pluggy.HookRelay:
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    manager.check_pending()
    return manager.hook


def _checked(answer: object) -> Account | None:
    """See that a hook's answer is one."""
    assert answer is None or isinstance(answer, Account), f"{answer!r} is neither an Account nor None"
    return answer


class AuthenticatorContract:
    """The promises of ``popframe_authenticate``, and of ``popframe_lookup_account`` where the plugin implements it.

    ::

        class TestLabAccounts(AuthenticatorContract):
            username = "alice"
            password = b"tuesday"

            @pytest.fixture
            def plugin(self) -> LabAccounts:
                return LabAccounts()

    Attributes:
        username: A user whom the plugin knows.
        password: This user's password: at least six octets that are not part of any message.
        unknown_username: A user whom it does not know.
        closed_username: A user whom it knows and whose account is locked or closed; empty when it has no such users.
    """

    username: ClassVar[str] = "alice"
    password: ClassVar[bytes] = b"correct horse battery staple"
    unknown_username: ClassVar[str] = "no-such-user"
    closed_username: ClassVar[str] = ""

    @pytest.fixture
    def plugin(self) -> object:
        """Return the plugin, ready to be asked; a fresh one for each test."""
        raise NotImplementedError("the class derived from AuthenticatorContract has a fixture named plugin")

    @pytest.fixture
    def authenticate(self, plugin: object) -> Authenticate:
        """Return the plugin's hook as the server calls it."""
        return hook_of(plugin)

    @pytest.fixture
    def look_up_account(self, plugin: object) -> LookUpAccount:
        """Return the plugin's other hook as the server calls it."""
        hook = account_hook_of(plugin)
        if hook is None:
            pytest.skip("the plugin does not implement popframe_lookup_account")
        return hook

    def wrong_passwords(self) -> Iterator[bytes]:
        """Yield passwords that are almost, or not at all, the right one."""
        right = self.password
        yield from (right[:-1], right[1:], right + b"x", right + b" ", b" " + right, right + b"\n")
        yield from (right + b"\0", right + b"\0x")
        yield from {right.swapcase(), right.strip()} - {right}
        yield from HOSTILE_PASSWORDS

    def test_right_password_gives_the_account(self, authenticate: Authenticate) -> None:
        """Whoever sends the right password is logged in, under a name."""
        account = authenticate(self.username, self.password)

        assert account is not None, f"{self.username!r} was left to other plugins"
        assert account.username

    def test_second_login_gives_the_same_account(self, authenticate: Authenticate) -> None:
        """What a plugin remembers of a login changes nothing about the next one."""
        accounts = [authenticate(self.username, self.password) for _ in range(3)]

        assert accounts == [accounts[0]] * 3

    def test_wrong_password_is_refused_and_not_left_to_others(self, authenticate: Authenticate) -> None:
        """A known user with a wrong password is refused: None would let a weaker plugin decide."""
        for _ in range(2):
            with pytest.raises(AuthenticationFailed):
                authenticate(self.username, self.password + b"x")

    def test_wrong_password_is_refused_after_a_right_one(self, authenticate: Authenticate) -> None:
        """That the right password was proven once does not help a wrong one, nor the other way round."""
        right = authenticate(self.username, self.password)
        with pytest.raises(AuthenticationFailed):
            authenticate(self.username, self.password[:-1])

        assert authenticate(self.username, self.password) == right

    def test_nothing_but_the_right_password_is_accepted(self, authenticate: Authenticate) -> None:
        """No password that is cut, extended, empty, binary or very long logs in, and none breaks the plugin."""
        accepted = [password for password in self.wrong_passwords() if _attempt(authenticate, self.username, password)]

        assert accepted == []

    def test_unknown_user_is_not_logged_in(self, authenticate: Authenticate) -> None:
        """For a user whom it does not know, a plugin returns None or refuses."""
        accepted = [
            password
            for password in (self.password, *HOSTILE_PASSWORDS)
            if _attempt(authenticate, self.unknown_username, password)
        ]

        assert accepted == []

    def test_hostile_name_is_not_logged_in(self, authenticate: Authenticate) -> None:
        """A name that is a path, a format, a query or 4 KiB long is an unknown user, and nothing worse."""
        names = (*HOSTILE_NAMES, "", self.username + "\0", self.username + "\0x")
        accepted = [name for name in names if _attempt(authenticate, name, self.password)]

        assert accepted == []

    def test_unknown_user_takes_as_long_as_a_wrong_password(self, authenticate: Authenticate) -> None:
        """The time does not tell which users exist, where it is long enough to be seen from outside."""
        times: dict[str, list[float]] = {self.username: [], self.unknown_username: []}
        usernames = list(times)
        deadline = time.monotonic() + TIMING_SECONDS
        for number in range(TIMING_TRIES):
            for username in usernames:
                # A new password each time: a plugin may remember refusals.
                times[username].append(_time(authenticate, username, b"wrong password %d" % number))
            usernames.reverse()  # whatever comes back at an even pace must not always meet the same one
            if time.monotonic() > deadline:
                break
        known, unknown = min(times[self.username]), min(times[self.unknown_username])
        longer, shorter = max(known, unknown), min(known, unknown)

        assert longer < TIMING_FLOOR_SECONDS or longer < TIMING_FACTOR * shorter, (
            f"a wrong password takes {known * 1000:.2f} ms, an unknown user {unknown * 1000:.2f} ms"
        )

    def test_no_password_is_logged(self, authenticate: Authenticate, caplog: pytest.LogCaptureFixture) -> None:
        """Neither the password that was sent nor the right one is in any log record, whatever its level."""
        with caplog.at_level(logging.NOTSET):
            for username in (self.username, self.unknown_username):
                for password in (self.password, *self._longer_passwords()):
                    _attempt(authenticate, username, password)
        told = [f"{logging.Formatter().format(record)} {record.args}" for record in caplog.records]

        assert [text for text in told if self._holds_password(text)] == []

    def test_no_password_is_in_a_refusal(self, authenticate: Authenticate) -> None:
        """The message of a refusal goes to the log, and so does that of the error behind it."""
        told: list[str] = []
        for username in (self.username, self.unknown_username):
            for password in self._longer_passwords():
                try:
                    authenticate(username, password)
                except Refusal as error:
                    told += _messages(error)

        assert [text for text in told if self._holds_password(text)] == []

    def test_many_threads_get_right_answers(self, authenticate: Authenticate) -> None:
        """The server asks from many threads at once; nobody gets the answer to somebody else's question."""
        questions = [(self.username, self.password), (self.username, self.password + b"x")]
        questions += [(self.unknown_username, self.password)]

        assert _attempt(authenticate, *questions[0]) is not None
        assert _other_answers([partial(_attempt, authenticate, *question) for question in questions]) == []

    def test_lookup_gives_the_account_that_a_login_gives(
        self, authenticate: Authenticate, look_up_account: LookUpAccount
    ) -> None:
        """Whichever way somebody has proven who it is, the mail is the same; before a login by password and after."""
        found = look_up_account(self.username)
        by_password = authenticate(self.username, self.password)

        assert found is not None, f"{self.username!r} was left to other plugins"
        assert [found, look_up_account(self.username)] == [by_password] * 2

    def test_lookup_finds_no_unknown_user(self, look_up_account: LookUpAccount) -> None:
        """For a user whom it does not know, a plugin returns None or refuses."""
        assert _attempt(look_up_account, self.unknown_username) is None

    def test_lookup_finds_no_hostile_name(self, look_up_account: LookUpAccount) -> None:
        """A certificate, or another proof, may say any name at all."""
        names = (*HOSTILE_NAMES, "", self.username + "\0", self.username + "\0x")

        assert [name for name in names if _attempt(look_up_account, name)] == []

    def test_lookup_refuses_a_closed_account(self, look_up_account: LookUpAccount) -> None:
        """That it needs no password opens no account; None would let another plugin open it."""
        if not self.closed_username:
            pytest.skip("closed_username names no closed account")
        for _ in range(2):
            with pytest.raises(AuthenticationFailed):
                look_up_account(self.closed_username)

    def test_lookup_proves_no_password(self, authenticate: Authenticate, look_up_account: LookUpAccount) -> None:
        """That somebody was here without a password does not make a wrong one right."""
        look_up_account(self.username)
        accepted = [password for password in self.wrong_passwords() if _attempt(authenticate, self.username, password)]

        assert accepted == []

    def test_many_threads_find_their_own_accounts(self, look_up_account: LookUpAccount) -> None:
        """The server asks from many threads at once; nobody gets somebody else's account."""
        questions = [partial(_attempt, look_up_account, name) for name in (self.username, self.unknown_username)]

        assert questions[0]() is not None
        assert _other_answers(questions) == []

    def _longer_passwords(self) -> tuple[bytes, ...]:
        """Return wrong passwords in which the right one is; the second is not UTF-8."""
        return self.password + b"-wrong", self.password + b"\xff"

    def _holds_password(self, text: str) -> bool:
        forms = {self.password.decode("latin-1"), self.password.decode("utf-8", "replace"), repr(self.password)[2:-1]}
        return any(form in text for form in forms)


def _attempt(hook: Callable[..., Account | None], *arguments: str | bytes) -> Account | None:
    """Ask; None also when refused. Anything else that is raised breaks the contract and ends the test."""
    try:
        return hook(*arguments)
    except Refusal:
        return None


def _other_answers(questions: Sequence[Callable[[], Account | None]]) -> list[tuple[int, Account | None]]:
    """Ask from many threads at once; return what was answered otherwise than to one thread, with its question."""
    expected = [ask() for ask in questions]
    start = threading.Barrier(THREADS)

    def ask_in_turn(thread: int) -> list[tuple[int, Account | None]]:
        start.wait(BARRIER_SECONDS)
        turns = [(thread + turn) % len(questions) for turn in range(ROUNDS)]
        return [(turn, questions[turn]()) for turn in turns]

    with ThreadPoolExecutor(THREADS) as pool:
        answers = [answer for answers in pool.map(ask_in_turn, range(THREADS)) for answer in answers]
    return [(turn, answer) for turn, answer in answers if answer != expected[turn]]


def _time(authenticate: Authenticate, username: str, password: bytes) -> float:
    """Return how many seconds a refusal takes."""
    start = time.perf_counter()
    account = _attempt(authenticate, username, password)
    seconds = time.perf_counter() - start

    assert account is None
    return seconds


def _messages(error: BaseException | None) -> Iterator[str]:
    """Yield what a log would say of an error, and of those that led to it."""
    while error is not None:
        yield f"{error} {getattr(error, '__notes__', '')}"
        error = error.__cause__ or error.__context__
