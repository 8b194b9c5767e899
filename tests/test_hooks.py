"""How hooks are called: order, isolation, failing closed, and what they may answer."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet

import pytest

from popframe import (
    Account,
    AccountMail,
    AuthenticationFailed,
    HookContractError,
    IncomingMessage,
    LoginAttempt,
    LoginFailure,
    LoginSuccess,
    Maildrop,
    MaildropInUse,
    Outcome,
    Peer,
    PlainCredentials,
    PopframeError,
    SecretScheme,
    SessionSummary,
    StoredSecret,
    TemporaryFailure,
    hookimpl,
)
from popframe.plugins import FoundPlugin, Hooks, build_hooks, release
from popframe.plugins.inspection import inspect_class
from popframe.testing import MemoryStore

PEER = Peer("192.0.2.1", 1024, "192.0.2.2", 110)
ALICE = Account("alice")
CREDENTIALS = PlainCredentials("alice", b"correct horse")
MESSAGE = IncomingMessage("bob@example.org", datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), b"Subject: x\n\n")
ATTEMPT = LoginAttempt("s1", PEER, "alice", "PASS", "0123456789abcdef")
SUCCESS = LoginSuccess("s1", PEER, "alice", ALICE)
FAILURE = LoginFailure("s1", PEER, "alice", "AUTH", "wrong password")
SUMMARY = SessionSummary("s1", PEER, "alice", Outcome.QUIT, 0.5)


class EmptyMaildrop:
    """A maildrop without messages that knows whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def message_octets(self) -> Sequence[int]:
        """Return nothing."""
        return ()

    def message_uids(self) -> Sequence[str]:
        """Return nothing."""
        return ()

    def read_message(self, index: int) -> Iterator[bytes]:
        """Refuse: there is no message."""
        raise IndexError(index)

    def commit(self, deleted: AbstractSet[int], seen: AbstractSet[int]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Take note."""
        self.is_closed = True


class Roles:
    """What every server needs; knows nobody."""

    @hookimpl
    def popframe_authenticate(self) -> Account | None:
        """Leave everybody to others."""
        return None

    @hookimpl
    def popframe_open_maildrop(self) -> Maildrop | None:
        """Leave everybody to others."""
        return None


def plugin(name: str, hook: str, function: Callable[..., object]) -> type:
    """Return the class of a plugin whose one hook is a function of the hook's arguments, without self."""
    return type(name, (), {hook: staticmethod(hookimpl(function)), **needed_besides(hook)})


def needed_besides(hook: str) -> dict[str, object]:
    """Return the hook without which a hook is nothing, if there is one."""
    if hook != "popframe_lookup_secret":
        return {}

    @hookimpl
    def popframe_register_secret_schemes() -> list[SecretScheme]:
        return [SecretScheme("plain")]

    return {"popframe_register_secret_schemes": staticmethod(popframe_register_secret_schemes)}


def build(*classes: type) -> Hooks:
    """Return the hooks of some plugins in this order; the roles that a server needs are filled behind them."""
    found = [
        FoundPlugin(plugin_class.__name__, plugin_class, f"popframe-{plugin_class.__name__} 1", None, hooks)
        for plugin_class in (*classes, Roles)
        for hooks in [inspect_class(plugin_class).hooks]
    ]
    return build_hooks(found, {})


def raiser(error: Exception) -> Callable[[], object]:
    """Return a hook that raises."""

    def hook() -> object:
        raise error

    return hook


def noting(names: list[str], name: str, answer: object = None) -> Callable[[], object]:
    """Return a hook that notes its plugin's name and answers."""

    def hook() -> object:
        names.append(name)
        return answer

    return hook


Call = Callable[[Hooks], object]

DECIDE: dict[str, tuple[Call, object, object]] = {
    "popframe_canonical_username": (lambda hooks: hooks.canonical_username(PEER, "Alice"), "alice", "Alice"),
    "popframe_authenticate": (lambda hooks: hooks.authenticate(PEER, CREDENTIALS), ALICE, None),
    "popframe_lookup_secret": (
        lambda hooks: hooks.lookup_secret(PEER, "alice", "plain"),
        StoredSecret(ALICE, "plain", b"x"),
        None,
    ),
    "popframe_lookup_account": (lambda hooks: hooks.lookup_account(PEER, "alice"), ALICE, None),
    "popframe_open_maildrop": (lambda hooks: hooks.open_maildrop(ALICE), EmptyMaildrop(), None),
    "popframe_deliver_message": (lambda hooks: hooks.deliver_message(ALICE, MESSAGE), True, False),
}
"""By hook: how it is called, an answer, and what comes out when nobody answers."""

CHECK: dict[str, Call] = {
    "popframe_check_attempt": lambda hooks: hooks.check_attempt(ATTEMPT),
    "popframe_authorize": lambda hooks: hooks.authorize(PEER, ALICE),
    "popframe_open_session": lambda hooks: hooks.open_session(PEER, ALICE),
}

REPORT: dict[str, tuple[Call, dict[str, object]]] = {
    "popframe_before_maildrop_opens": (
        lambda hooks: hooks.before_maildrop_opens(PEER, ALICE),
        {"peer": PEER, "account": ALICE},
    ),
    "popframe_session_started": (
        lambda hooks: hooks.session_started("s1", PEER),
        {"session_id": "s1", "peer": PEER},
    ),
    "popframe_login_failed": (lambda hooks: hooks.login_failed(FAILURE), {"failure": FAILURE}),
    "popframe_login_succeeded": (lambda hooks: hooks.login_succeeded(SUCCESS), {"success": SUCCESS}),
    "popframe_session_ended": (lambda hooks: hooks.session_ended(SUMMARY), {"summary": SUMMARY}),
}

ASKED: dict[str, Call] = {hook: call for hook, (call, _, _) in DECIDE.items()} | CHECK
each_decide = pytest.mark.parametrize("hook", DECIDE)
each_asked = pytest.mark.parametrize("hook", ASKED)
each_report = pytest.mark.parametrize("hook", REPORT)


# --- Decide


@each_decide
def test_first_answer_decides(hook: str) -> None:
    """Plugins are asked in the order of the list; None leaves it to the next."""
    call, answer, _ = DECIDE[hook]
    asked: list[str] = []
    hooks = build(
        plugin("first", hook, noting(asked, "first")),
        plugin("second", hook, noting(asked, "second", answer)),
        plugin("third", hook, noting(asked, "third")),
    )

    assert call(hooks) is answer
    assert asked == ["first", "second"]


@each_decide
def test_nobody_answers(hook: str) -> None:
    """When every plugin returns None, and when there is none."""
    call, _, otherwise = DECIDE[hook]

    assert call(build()) == otherwise
    assert call(build(plugin("first", hook, lambda: None))) == otherwise


@each_asked
def test_refusal_ends_the_asking_as_it_is(hook: str) -> None:
    """A refusal is an answer, whatever later plugins would say."""
    refusal = MaildropInUse("held since noon")
    asked: list[str] = []
    hooks = build(plugin("first", hook, raiser(refusal)), plugin("second", hook, noting(asked, "second")))

    with pytest.raises(MaildropInUse) as caught:
        ASKED[hook](hooks)

    assert caught.value is refusal
    assert asked == []


@each_asked
def test_failure_is_temporary_and_never_falls_through(hook: str, caplog: pytest.LogCaptureFixture) -> None:
    """A broken plugin is not skipped, or a weaker one would decide; the log names it, with the traceback."""
    asked: list[str] = []
    hooks = build(
        plugin("broken", hook, raiser(ZeroDivisionError("oops"))),
        plugin("weaker", hook, noting(asked, "weaker")),
    )

    with pytest.raises(TemporaryFailure, match=rf"plugin 'broken' \(popframe-broken 1\): {hook} failed") as caught:
        ASKED[hook](hooks)

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert asked == []
    assert [(record.name, record.levelno) for record in caplog.records] == [("popframe.hooks", logging.ERROR)]
    assert f"plugin 'broken' (popframe-broken 1): {hook} failed" in caplog.text
    assert "ZeroDivisionError: oops" in caplog.text


@pytest.mark.parametrize(
    ("hook", "answer", "reason"),
    [
        ("popframe_canonical_username", b"alice", "returned bytes instead of str"),
        ("popframe_canonical_username", "", "returned '', which is empty or has characters that do not print"),
        ("popframe_canonical_username", "al\nice", r"returned 'al\nice', which is empty or has"),
        ("popframe_canonical_username", "al\udcffice", r"returned 'al\udcffice', which is empty or has"),
        ("popframe_authenticate", "alice", "returned str instead of Account"),
        ("popframe_authenticate", False, "returned False instead of Account"),
        ("popframe_authenticate", Account(""), "Account.username is '', which is empty"),
        ("popframe_authenticate", Account("a\0b"), r"Account.username is 'a\x00b', which is empty"),
        ("popframe_authenticate", Account("a", uid=-1), "Account.uid is -1, not a number from 0 to 4294967294"),
        ("popframe_authenticate", Account("a", gid=True), "Account.gid is True, not a number from 0 to 4294967294"),
        ("popframe_authenticate", Account("a", gid=2**32), "Account.gid is 4294967296, not a number from 0 to"),
        ("popframe_lookup_secret", ALICE, "returned Account instead of StoredSecret"),
        ("popframe_lookup_secret", StoredSecret(Account(""), "plain", b"x"), "Account.username is ''"),
        ("popframe_lookup_secret", StoredSecret(ALICE, "plain", b""), "StoredSecret.value is empty"),
        ("popframe_lookup_secret", StoredSecret(ALICE, "scram-sha-1", b"x"), "asked for scheme 'plain' and returned"),
        ("popframe_authorize", False, "returned False instead of None"),
        ("popframe_authorize", True, "returned True instead of None"),
        ("popframe_open_session", "open", "returned str, which lacks fileno, close"),
        ("popframe_open_session", True, "returned bool, which lacks fileno, close"),
        ("popframe_open_maildrop", ALICE, "returned Account, which lacks message_octets, message_uids, read_message"),
        ("popframe_deliver_message", False, "returned False instead of True or None"),
        ("popframe_deliver_message", 1, "returned int instead of True or None"),
    ],
)
def test_answer_of_the_wrong_form_is_refused(hook: str, answer: object, reason: str) -> None:
    """It is never taken for no answer, and the message names plugin and hook."""
    asked: list[str] = []
    hooks = build(plugin("odd", hook, lambda: answer), plugin("next", hook, noting(asked, "next")))

    with pytest.raises(HookContractError) as caught:
        ASKED[hook](hooks)

    assert str(caught.value).startswith(f"plugin 'odd' (popframe-odd 1): {hook}")
    assert reason in str(caught.value)
    assert asked == []


@pytest.mark.parametrize("secret", ["swordfish", StoredSecret(ALICE, "plain", "swordfish")])  # type: ignore[arg-type]  # that is the mistake
def test_message_about_a_secret_does_not_hold_it(secret: object) -> None:
    """A plugin that returns the password itself must not send it to the log."""
    hooks = build(plugin("odd", "popframe_lookup_secret", lambda: secret))

    with pytest.raises(HookContractError) as caught:
        hooks.lookup_secret(PEER, "alice", "plain")

    assert "swordfish" not in str(caught.value)


def test_maildrop_that_lacks_a_method_is_closed() -> None:
    """It may hold a lock that would keep the user out."""
    maildrop = EmptyMaildrop()
    maildrop.commit = None  # type: ignore[method-assign, assignment]  # what a plugin must not do

    with pytest.raises(HookContractError, match="EmptyMaildrop, which lacks commit"):
        build(plugin("odd", "popframe_open_maildrop", lambda: maildrop)).open_maildrop(ALICE)

    assert maildrop.is_closed


# --- Check


@pytest.mark.parametrize("hook", CHECK)
def test_every_plugin_is_asked_whether_somebody_may(hook: str) -> None:
    """Any of them may refuse; the first that does decides."""
    asked: list[str] = []
    hooks = build(
        plugin("first", hook, noting(asked, "first")),
        plugin("second", hook, noting(asked, "second")),
        plugin("third", hook, raiser(AuthenticationFailed("no shell"))),
        plugin("fourth", hook, noting(asked, "fourth")),
    )

    with pytest.raises(AuthenticationFailed, match="no shell"):
        CHECK[hook](hooks)

    assert asked == ["first", "second"]


# --- what lasts as long as a session


class Hold:
    """Something open; notes when it is closed."""

    def __init__(self, name: str, closed: list[str], error: Exception | None = None) -> None:
        self._name = name
        self._closed = closed
        self._error = error

    def fileno(self) -> int:
        """Return a descriptor."""
        return 0

    def close(self) -> None:
        """Take note."""
        self._closed.append(self._name)
        if self._error is not None:
            raise self._error


def test_every_plugin_may_begin_what_lasts_as_long_as_a_session() -> None:
    """In order; one that has nothing returns None; they end in the opposite order, whatever one of them raises."""
    closed: list[str] = []
    hooks = build(
        plugin("first", "popframe_open_session", lambda: Hold("first", closed)),
        plugin("second", "popframe_open_session", lambda: None),
        plugin("third", "popframe_open_session", lambda: Hold("third", closed, OSError("broken"))),
    )
    held = hooks.open_session(PEER, ALICE)
    assert (len(held), closed) == (2, [])
    release(held)

    assert closed == ["third", "first"]


@pytest.mark.parametrize("answer", [raiser(TemporaryFailure("no session")), raiser(ZeroDivisionError()), lambda: "odd"])
def test_what_was_begun_ends_when_a_later_plugin_refuses(answer: Callable[[], object]) -> None:
    """Nothing is left open of a login that was refused; nobody else is asked."""
    closed: list[str] = []
    hooks = build(
        plugin("first", "popframe_open_session", lambda: Hold("first", closed)),
        plugin("second", "popframe_open_session", answer),
        plugin("third", "popframe_open_session", noting(closed, "third")),
    )
    with pytest.raises((TemporaryFailure, HookContractError)):
        hooks.open_session(PEER, ALICE)

    assert closed == ["first"]


# --- Report


@each_report
def test_report_reaches_every_plugin_in_order(hook: str) -> None:
    """Reports come in the order of the list as well."""
    told: list[str] = []
    REPORT[hook][0](
        build(
            plugin("first", hook, noting(told, "first")),
            plugin("second", hook, noting(told, "second")),
        )
    )

    assert told == ["first", "second"]


@each_report
def test_report_that_fails_stops_no_other(hook: str, caplog: pytest.LogCaptureFixture) -> None:
    """One broken statistics plugin does not cost the others their data, nor the user the session."""
    told: list[str] = []
    REPORT[hook][0](
        build(
            plugin("broken", hook, raiser(ZeroDivisionError("oops"))),
            plugin("refusing", hook, raiser(AuthenticationFailed("not asked"))),
            plugin("answering", hook, lambda: 7),
            plugin("last", hook, noting(told, "last")),
        )
    )

    assert told == ["last"]
    assert [record.getMessage() for record in caplog.records] == [
        f"plugin '{name}' (popframe-{name} 1): {hook} failed" for name in ("broken", "refusing", "answering")
    ]


# --- arguments


@each_report
def test_report_hands_over_its_arguments(hook: str) -> None:
    """Each under its own name."""
    call, arguments = REPORT[hook]
    got: dict[str, object] = {}
    call(build(recorder(hook, got)))

    assert got == arguments


@pytest.mark.parametrize(
    ("hook", "arguments"),
    [
        ("popframe_check_attempt", {"attempt": ATTEMPT}),
        ("popframe_canonical_username", {"peer": PEER, "username": "Alice"}),
        ("popframe_authenticate", {"peer": PEER, "credentials": CREDENTIALS}),
        ("popframe_lookup_account", {"peer": PEER, "username": "alice"}),
        ("popframe_lookup_secret", {"peer": PEER, "username": "alice", "scheme": "plain"}),
        ("popframe_authorize", {"peer": PEER, "account": ALICE}),
        ("popframe_open_session", {"peer": PEER, "account": ALICE}),
        ("popframe_open_maildrop", {"account": ALICE}),
        ("popframe_deliver_message", {"account": ALICE, "message": MESSAGE}),
    ],
)
def test_question_hands_over_its_arguments(hook: str, arguments: dict[str, object]) -> None:
    """Each under its own name."""
    got: dict[str, object] = {}
    ASKED[hook](build(recorder(hook, got)))

    assert got == arguments


def recorder(hook: str, got: dict[str, object]) -> type:
    """Return a plugin that takes all arguments of a hook, in the opposite order, and notes them."""

    class Recorder:
        @hookimpl
        def popframe_check_attempt(self, attempt: LoginAttempt) -> None:
            got.update(attempt=attempt)

        @hookimpl
        def popframe_canonical_username(self, username: str, peer: Peer) -> None:
            got.update(peer=peer, username=username)

        @hookimpl
        def popframe_authenticate(self, credentials: PlainCredentials, peer: Peer) -> None:
            got.update(peer=peer, credentials=credentials)

        @hookimpl
        def popframe_lookup_account(self, username: str, peer: Peer) -> None:
            got.update(peer=peer, username=username)

        @hookimpl
        def popframe_lookup_secret(self, scheme: str, username: str, peer: Peer) -> None:
            got.update(peer=peer, username=username, scheme=scheme)

        @hookimpl
        def popframe_register_secret_schemes(self) -> tuple[SecretScheme, ...]:
            return ()

        @hookimpl
        def popframe_authorize(self, account: Account, peer: Peer) -> None:
            got.update(peer=peer, account=account)

        @hookimpl
        def popframe_open_session(self, account: Account, peer: Peer) -> None:
            got.update(peer=peer, account=account)

        @hookimpl
        def popframe_open_maildrop(self, account: Account) -> None:
            got.update(account=account)

        @hookimpl
        def popframe_deliver_message(self, message: IncomingMessage, account: Account) -> None:
            got.update(account=account, message=message)

        @hookimpl
        def popframe_before_maildrop_opens(self, mail: AccountMail, account: Account, peer: Peer) -> None:
            got.update(peer=peer, account=account)
            assert callable(mail.deliver)

        @hookimpl
        def popframe_session_started(self, peer: Peer, session_id: str) -> None:
            got.update(session_id=session_id, peer=peer)

        @hookimpl
        def popframe_login_failed(self, failure: LoginFailure) -> None:
            got.update(failure=failure)

        @hookimpl
        def popframe_login_succeeded(self, success: LoginSuccess) -> None:
            got.update(success=success)

        @hookimpl
        def popframe_session_ended(self, summary: SessionSummary) -> None:
            got.update(summary=summary)

    assert hook in vars(Recorder)
    return Recorder


# --- the way to the mail


class Reader:
    """Delivers a message before the maildrop opens, and looks whether it is there."""

    def __init__(self) -> None:
        self.found: list[bytes] = []
        self.errors: list[Exception] = []

    @hookimpl
    def popframe_before_maildrop_opens(self, mail: AccountMail) -> None:
        """Deliver and read."""
        try:
            mail.deliver(MESSAGE)
            maildrop = mail.open()
            self.found = [b"".join(maildrop.read_message(index)) for index in range(len(maildrop.message_octets()))]
            maildrop.close()
        except PopframeError as error:
            self.errors.append(error)
            raise


def test_plugin_reaches_the_mail_before_the_session_does() -> None:
    """popframe_before_maildrop_opens gets a way to deliver and to read, whichever plugin stores the mail."""
    reader, store = Reader(), MemoryStore()

    build(sharing(reader), sharing(store)).before_maildrop_opens(PEER, ALICE)

    assert reader.found == [MESSAGE.content]
    assert store.popframe_open_maildrop(ALICE).message_uids() == ["1"]


def test_mail_that_nobody_stores_is_a_failure_of_the_plugin_alone() -> None:
    """The plugin is told; the login is not stopped."""
    reader = Reader()

    build(sharing(reader)).before_maildrop_opens(PEER, ALICE)

    assert [str(error) for error in reader.errors] == ["no plugin delivers mail to this account"]


def test_store_that_fails_is_told_as_by_the_session() -> None:
    """A plugin sees the refusals of the store, and a defect as a temporary failure."""
    reader = Reader()

    hooks = build(sharing(reader), plugin("broken", "popframe_deliver_message", raiser(OSError("no disk"))))
    hooks.before_maildrop_opens(PEER, ALICE)

    assert [type(error) for error in reader.errors] == [TemporaryFailure]


def sharing(thing: object) -> type:
    """Return the class of a plugin whose hooks are those of an object."""
    members = {name: staticmethod(getattr(thing, name)) for name in dir(thing) if name.startswith("popframe_")}
    return type(f"shared_{type(thing).__name__.lower()}", (), members)


def test_argument_that_is_not_used_may_be_left_out() -> None:
    """A plugin names what it needs."""
    names: list[str] = []

    class Short:
        @hookimpl
        def popframe_lookup_account(self, username: str) -> None:
            names.append(username)

    build(Short).lookup_account(PEER, "alice")

    assert names == ["alice"]
