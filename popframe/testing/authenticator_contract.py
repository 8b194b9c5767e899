"""What every plugin that implements ``popframe_authenticate`` must do, one test for each promise.

A plugin's own tests derive a class from :class:`AuthenticatorContract`; pytest then finds the promises in it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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


def hook_of(plugin: object) -> Authenticate:
    """Return a plugin's ``popframe_authenticate`` as the server calls it: with those arguments that it takes.

    Raises:
        AssertionError: The plugin does not implement it, or, when it is called, it returns something else.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    manager.check_pending()
    assert manager.hook.popframe_authenticate.get_hookimpls(), f"{plugin!r} does not implement popframe_authenticate"

    def authenticate(username: str, password: bytes) -> Account | None:
        answer = manager.hook.popframe_authenticate(peer=PEER, credentials=PlainCredentials(username, password))
        assert answer is None or isinstance(answer, Account), f"{answer!r} is neither an Account nor None"
        return answer

    return authenticate


class AuthenticatorContract:
    """The promises of ``popframe_authenticate``.

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
    """

    username: ClassVar[str] = "alice"
    password: ClassVar[bytes] = b"correct horse battery staple"
    unknown_username: ClassVar[str] = "no-such-user"

    @pytest.fixture
    def plugin(self) -> object:
        """Return the plugin, ready to be asked; a fresh one for each test."""
        raise NotImplementedError("the class derived from AuthenticatorContract has a fixture named plugin")

    @pytest.fixture
    def authenticate(self, plugin: object) -> Authenticate:
        """Return the plugin's hook as the server calls it."""
        return hook_of(plugin)

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
        start = threading.Barrier(THREADS)
        questions = [(self.username, self.password), (self.username, self.password + b"x")]
        questions += [(self.unknown_username, self.password)]
        expected = [_attempt(authenticate, *question) for question in questions]

        def log_in(thread: int) -> list[tuple[int, Account | None]]:
            start.wait(BARRIER_SECONDS)
            turns = [(thread + turn) % len(questions) for turn in range(ROUNDS)]
            return [(turn, _attempt(authenticate, *questions[turn])) for turn in turns]

        with ThreadPoolExecutor(THREADS) as pool:
            answers = [answer for answers in pool.map(log_in, range(THREADS)) for answer in answers]

        assert expected[0] is not None
        assert [(turn, answer) for turn, answer in answers if answer != expected[turn]] == []

    def _longer_passwords(self) -> tuple[bytes, ...]:
        """Return wrong passwords in which the right one is; the second is not UTF-8."""
        return self.password + b"-wrong", self.password + b"\xff"

    def _holds_password(self, text: str) -> bool:
        forms = {self.password.decode("latin-1"), self.password.decode("utf-8", "replace"), repr(self.password)[2:-1]}
        return any(form in text for form in forms)


def _attempt(authenticate: Authenticate, username: str, password: bytes) -> Account | None:
    """Ask; None also when refused. Anything else that is raised breaks the contract and ends the test."""
    try:
        return authenticate(username, password)
    except Refusal:
        return None


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
