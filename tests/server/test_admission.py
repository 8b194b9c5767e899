"""Who is let in, by which proof, and as whom; and what the log and the plugins are told."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterable

import pytest

from popframe import (
    Account,
    AuthenticationFailed,
    Challenge,
    LoginFailure,
    Maildrop,
    Mechanism,
    MechanismContext,
    Peer,
    PlainCredentials,
    Proven,
    ScramKeys,
    SecretScheme,
    StoredSecret,
    Tls,
    hookimpl,
)
from popframe.authorization import LoginRules
from popframe.config import AbuseSettings, LoginSettings
from popframe.engine import ClearText, CommandTable, Policy, Session
from popframe.plugins import FoundPlugin, Hooks, build_hooks
from popframe.plugins.inspection import inspect_class
from popframe.server.abuse.guard import LoginGuard
from popframe.server.abuse.memory import memory_alone
from popframe.server.abuse.spacing import Spacing
from popframe.server.backend import Doorkeeper, HookBackend, Place
from popframe.server.log import TextFormatter
from popframe.server.sasl.mechanisms import by_name, offered_mechanisms, offers_apop, unknown_mechanisms
from popframe.server.scoreboard import FrontBoard, Scoreboard
from popframe.testing import MemoryStore

AFAR = Peer("192.0.2.7", 50_110)
CERTIFIED = Peer("192.0.2.7", 50_110, tls=Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", client_name="Alice"))
FAILED = b"-ERR [AUTH] user name or password not accepted\r\n"
KEYS = ScramKeys.made(b"secret", iterations=4096).text.encode()
PASSWORD = b"secret"
"""Everybody's."""


class Ticket:
    """A mechanism of a plugin: a ticket is good for one name."""

    name = "X-TICKET"
    reveals_password = False
    needs_secret = ""

    def suits(self, peer: Peer) -> bool:
        """Be there for everybody."""
        return True

    def start(self, context: MechanismContext) -> Ticket:
        """Begin; everybody claims to be carol."""
        context.claim("carol")
        return self

    def respond(self, response: bytes | None) -> Challenge | PlainCredentials | Proven | Account:
        """Take ``ticket:name``."""
        if response is None:
            return Challenge(b"ticket?")
        ticket, _, name = response.decode().partition(":")
        match ticket:
            case "account":
                return Account(name)
            case "name":
                return Proven(name)
            case "other":
                return Proven(name, authorization="bob")
            case "password":
                return PlainCredentials(name, PASSWORD)
            case "nothing":
                return None  # type: ignore[return-value]  # that is the mistake
            case "defect":
                raise ZeroDivisionError("oops")
        raise AuthenticationFailed("no such ticket")


class Accounts:
    """Knows some people by name, one password, and what SCRAM needs; notes what it is told."""

    asked: list[str]
    failures: list[LoginFailure]
    store: MemoryStore

    @hookimpl
    def popframe_canonical_username(self, username: str) -> str:
        """Fold the case."""
        return username.lower()

    @hookimpl
    def popframe_authenticate(self, credentials: PlainCredentials) -> Account | None:
        """Take the one password."""
        assert credentials.authorization == ""
        if credentials.username not in NAMES:
            return None
        if credentials.password != PASSWORD:
            raise AuthenticationFailed("wrong password")
        return Account(credentials.username)

    @hookimpl
    def popframe_lookup_account(self, username: str) -> Account | None:
        """Know everybody."""
        self.asked.append(f"account {username}")
        if username == "closed":
            raise AuthenticationFailed("the account is closed")
        return Account(username) if username in NAMES else None

    @hookimpl
    def popframe_lookup_secret(self, username: str, scheme: str) -> StoredSecret | None:
        """Give what everybody has."""
        value = KEYS if scheme == "scram-sha-256" else PASSWORD
        return StoredSecret(Account(username), scheme, value) if username in NAMES else None

    @hookimpl
    def popframe_register_secret_schemes(self) -> Iterable[SecretScheme]:
        """Name what there is."""
        yield SecretScheme("scram-sha-256", 4096)
        yield SecretScheme("plain")

    @hookimpl
    def popframe_register_mechanisms(self) -> Iterable[Mechanism]:
        """Offer tickets."""
        yield Ticket()

    @hookimpl
    def popframe_authorize(self, account: Account) -> None:
        """Take note."""
        self.asked.append(f"authorize {account.username}")

    @hookimpl
    def popframe_open_maildrop(self, account: Account) -> Maildrop:
        """Open a maildrop."""
        self.asked.append(f"open {account.username}")
        return self.store.popframe_open_maildrop(account)

    @hookimpl
    def popframe_login_failed(self, failure: LoginFailure) -> None:
        """Take note."""
        self.failures.append(failure)


NAMES = frozenset({"alice", "bob", "boss", "banned", "closed"})


class Server:
    """A server without sockets.

    Attributes:
        asked: What its plugin was asked.
        failures: What it was told of refused logins.
        waited: How long attempts were delayed.
    """

    def __init__(self, settings: LoginSettings, abuse: AbuseSettings | None = None) -> None:
        """Open."""
        self.asked: list[str] = []
        self.failures: list[LoginFailure] = []
        notes = {"asked": self.asked, "failures": self.failures, "store": MemoryStore()}
        plugin = type("Noting", (Accounts,), notes)
        found = FoundPlugin("accounts", plugin, "accounts 1", None, inspect_class(plugin).hooks)
        self.hooks: Hooks = build_hooks([found], {})
        self._settings = settings
        self._rules = LoginRules(settings)
        scoreboard = Scoreboard()
        region = scoreboard.take_region()
        assert region is not None
        self._board = FrontBoard(scoreboard, region)
        attempts, limits = memory_alone(), abuse or AbuseSettings()
        self._door = Doorkeeper(LoginGuard(attempts, limits), Spacing(attempts, limits), self._wait)
        self.waited: list[float] = []

    def _wait(self, seconds: float) -> bool:
        """Take note, and wait for nothing."""
        self.waited.append(seconds)
        return True

    def session(self, peer: Peer = AFAR) -> Session:
        """Return a session of a new connection."""
        mechanisms = offered_mechanisms(self._settings, self.hooks)
        has_apop = offers_apop(self._settings, self.hooks)
        place = Place(self._board, self._board.enter(), 10)
        offered = by_name(mechanisms, with_apop=has_apop)
        backend = HookBackend("s1", peer, self.hooks, self._rules, place, self._door, offered)
        policy = Policy(clear_text=ClearText.ALWAYS, offers_apop=has_apop)
        return Session(peer, backend, policy, CommandTable(policy, mechanisms=mechanisms), "<1@2>")

    def said(self, *lines: str, peer: Peer = AFAR) -> bytes:
        """Return the last thing that a client of a new connection is told."""
        return said(self.session(peer), *lines)


def said(session: Session, *lines: str) -> bytes:
    """Return the last thing that a client is told."""
    session.receive_data("".join(f"{line}\r\n" for line in lines).encode())
    replies = b"".join(octets for buffers in session.output() for octets in buffers)
    return replies.splitlines(keepends=True)[-1]


def log_of(caplog: pytest.LogCaptureFixture) -> str:
    """Return the lines that an operator would read."""
    formatter = TextFormatter(with_time=False)
    return "".join(formatter.format(record) + "\n" for record in caplog.records)


def coded(text: str) -> str:
    """Return a text in base64."""
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def server() -> Server:
    """Return a server with a master user."""
    return Server(LoginSettings(master_users=("boss",), deny_users=("banned",), respect_nologin=False, apop=True))


@pytest.fixture
def strict() -> Server:
    """Return a server without one."""
    return Server(LoginSettings(respect_nologin=False))


# --- proofs


@pytest.mark.parametrize("ticket", ["account", "name", "password"])
def test_whatever_proves_a_name_leads_to_its_maildrop(server: Server, ticket: str) -> None:
    """A-010, A-036: an account, a name for which an account is looked up, or a password."""
    assert server.said(f"AUTH X-TICKET {coded(f'{ticket}:alice')}").startswith(b"+OK maildrop")
    looked_up = ["account alice"] if ticket == "name" else []
    assert server.asked == [*looked_up, "authorize alice", "open alice"]


@pytest.mark.parametrize("ticket", ["account", "name", "password"])
def test_rules_hold_for_whatever_proves_a_name(server: Server, ticket: str) -> None:
    """A-009: nobody comes by them."""
    assert server.said(f"AUTH X-TICKET {coded(f'{ticket}:banned')}") == FAILED
    assert [failure.reason for failure in server.failures] == ["the user is in login.deny_users"]


@pytest.mark.parametrize(
    ("name", "reason"), [("nobody", "no plugin knows an account 'nobody'"), ("closed", "the account is closed")]
)
def test_a_proven_name_without_an_account_is_refused(server: Server, name: str, reason: str) -> None:
    """A-009: in the words of a wrong password."""
    assert server.said(f"AUTH X-TICKET {coded(f'name:{name}')}") == FAILED
    assert [(failure.username, failure.reason) for failure in server.failures] == [(name, reason)]


def test_a_certificate_leads_to_the_maildrop_of_its_name(server: Server) -> None:
    """A-011, A-081: the canonical one, as with a password."""
    assert server.said("AUTH EXTERNAL =", peer=CERTIFIED).startswith(b"+OK maildrop")
    assert server.asked == ["account alice", "authorize alice", "open alice"]
    assert server.said("AUTH EXTERNAL " + coded("Alice"), peer=CERTIFIED).startswith(b"-ERR [IN-USE]")
    assert server.said("AUTH EXTERNAL " + coded("bob"), peer=CERTIFIED) == FAILED


def test_names_are_the_same_in_all_mechanisms(server: Server) -> None:
    """A-011: PASS, PLAIN, SCRAM and APOP know the same people."""
    assert server.said("USER Alice", "PASS secret").startswith(b"+OK maildrop")
    assert server.said(f"AUTH PLAIN {coded('Alice' + chr(0) + 'ALICE' + chr(0) + 'secret')}").startswith(
        b"-ERR [IN-USE]"
    )
    assert server.said("APOP ALICE 00").startswith(b"-ERR [AUTH]")
    session = server.session()
    assert said(session, "AUTH SCRAM-SHA-256 " + coded("n,,n=ALICE,r=x")).startswith(b"+ ")
    assert [failure.code for failure in server.failures] == ["IN-USE", "AUTH"]


# --- a plugin's mechanism that is not as it should be


@pytest.mark.parametrize(("ticket", "reply"), [("nothing", b"-ERR [SYS/PERM]"), ("defect", b"-ERR [SYS/TEMP]")])
def test_a_defect_of_a_mechanism_is_no_wrong_password(
    server: Server, caplog: pytest.LogCaptureFixture, ticket: str, reply: bytes
) -> None:
    """C-037, C-038: it is told to the operator by name."""
    session = server.session()

    assert said(session, f"AUTH X-TICKET {coded(f'{ticket}:alice')}").startswith(reply)
    assert "mechanism X-TICKET" in log_of(caplog)
    assert server.asked == []
    assert said(session, f"AUTH X-TICKET {coded('name:alice')}").startswith(b"+OK maildrop")


# --- master users


@pytest.mark.parametrize(
    "lines",
    [
        ("USER boss*bob", "PASS secret"),
        ("USER boss*BOB", "PASS secret"),
        (f"AUTH LOGIN {coded('boss*bob')}", coded("secret")),
        (f"AUTH PLAIN {coded('bob' + chr(0) + 'boss' + chr(0) + 'secret')}",),
        (f"AUTH PLAIN {coded(chr(0) + 'boss*bob' + chr(0) + 'secret')}",),
        (f"AUTH X-TICKET {coded('other:boss')}",),
    ],
)
def test_a_master_user_logs_in_as_somebody_else(
    server: Server, caplog: pytest.LogCaptureFixture, lines: tuple[str, ...]
) -> None:
    """A-044, A-064: with the master's own password; the log has both names."""
    caplog.set_level(logging.INFO)

    assert server.said(*lines).startswith(b"+OK maildrop")
    assert server.asked[-4:] == ["authorize boss", "account bob", "authorize bob", "open bob"]
    (login,) = [line for line in log_of(caplog).splitlines() if line.startswith("login ")]
    assert " user=bob master=boss tls=no mechanism=" in login
    assert "secret" not in log_of(caplog)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("USER boss*bob", "PASS wrong"), "wrong password"),
        (("USER boss*nobody", "PASS secret"), "no plugin knows an account 'nobody'"),
        (("USER boss*closed", "PASS secret"), "the account is closed"),
        (("USER boss*banned", "PASS secret"), "the user is in login.deny_users"),
        (("USER alice*bob", "PASS secret"), "unknown user"),
        (
            (f"AUTH PLAIN {coded('bob' + chr(0) + 'alice' + chr(0) + 'secret')}",),
            "'alice' is not in login.master_users, and wants to be 'bob'",
        ),
        (
            (f"AUTH PLAIN {coded('../x' + chr(0) + 'alice' + chr(0) + 'secret')}",),
            "'alice' is not in login.master_users, and wants to be '../x'",
        ),
        ((f"AUTH X-TICKET {coded('other:alice')}",), "'alice' is not in login.master_users, and wants to be 'bob'"),
    ],
)
def test_whoever_is_no_master_user_is_only_one_user(server: Server, lines: tuple[str, ...], reason: str) -> None:
    """A-044, H-042: nor does a master user get where the other could not."""
    assert server.said(*lines) == FAILED
    assert [failure.reason for failure in server.failures] == [reason]
    assert not any(asked.startswith("open") for asked in server.asked)


def test_a_refused_master_user_is_told_with_both_names(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """So that an operator sees who wanted to be whom."""
    server.said(f"AUTH PLAIN {coded('bob' + chr(0) + 'alice' + chr(0) + 'secret')}")

    assert re.search(r" user=alice code=AUTH reason=.* mechanism=PLAIN as=bob\n", log_of(caplog))


def test_without_master_users_nobody_is_one(strict: Server) -> None:
    """A-044: which is how it is unless a site says otherwise."""
    assert strict.said("USER boss*bob", "PASS secret") == FAILED
    assert strict.said(f"AUTH PLAIN {coded('bob' + chr(0) + 'boss' + chr(0) + 'secret')}") == FAILED
    assert strict.said(f"AUTH PLAIN {coded('Boss' + chr(0) + 'boss' + chr(0) + 'secret')}").startswith(b"+OK maildrop")


def test_a_password_of_sasl_is_prepared(strict: Server) -> None:
    """A-039: what SASLprep makes of it is tried, and what was sent if that is wrong, as with PASS (RFC 4616)."""
    for name, password in (("alice", "s\u00adecret"), ("bob", "\uff53ecret")):
        assert strict.said(f"AUTH PLAIN {coded(chr(0) + name + chr(0) + password)}").startswith(b"+OK maildrop")
    assert strict.said(f"AUTH PLAIN {coded(chr(0) + 'boss' + chr(0) + 'secre' + chr(0x7F))}") == FAILED
    assert [failure.reason for failure in strict.failures] == ["wrong password"]


# --- the log


@pytest.mark.parametrize(
    ("lines", "user", "mechanism", "reason"),
    [
        (("USER alice", "PASS wrong"), "alice", "PASS", "wrong password"),
        ((f"AUTH PLAIN {coded(chr(0) + 'alice' + chr(0) + 'wrong')}",), "alice", "PLAIN", "wrong password"),
        (("AUTH LOGIN", "*"), "", "LOGIN", "cancelled by the client"),
        (("AUTH PLAIN", "wrong!"), "", "PLAIN", "not base64"),
        ((f"AUTH X-TICKET {coded('none')}",), "carol", "X-TICKET", "no such ticket"),
        (
            (f"AUTH SCRAM-SHA-256 {coded('n,,n=alice,r=x')}", coded("c=biws,r=x,p=AAAA")),
            "alice",
            "SCRAM-SHA-256",
            "SCRAM",
        ),
        ((f"AUTH SCRAM-SHA-256 {coded('n,,n=alice,r=x')}", "*"), "alice", "SCRAM-SHA-256", "cancelled by the client"),
        (("APOP alice wrong",), "alice", "APOP", "APOP: wrong digest"),
        (("APOP eve wrong",), "eve", "APOP", "APOP: unknown user, or one without a readable password"),
    ],
)  # fmt: skip
def test_a_failure_is_told_with_name_and_mechanism(
    server: Server, caplog: pytest.LogCaptureFixture, lines: tuple[str, ...], user: str, mechanism: str, reason: str
) -> None:
    """I-6, A-027, A-033: as far as there is a name; no word of what was sent."""
    caplog.set_level(logging.DEBUG)
    session = server.session()

    assert said(session, *lines).startswith(b"-ERR")
    (failure,) = server.failures
    assert (failure.username, failure.code) == (user, "AUTH")
    assert failure.reason.startswith(reason)
    assert re.search(f" code=AUTH reason=.* mechanism={mechanism}\\n", log_of(caplog))
    for sent in ("wrong", "d3Jvbmc", "AAAA"):
        assert sent not in log_of(caplog).replace("wrong password", "").replace("wrong digest", "")


def test_an_exchange_that_breaks_off_is_told_once(server: Server) -> None:
    """H-041: and the session is over."""
    session = server.session()
    said(session, f"AUTH LOGIN {coded('alice')}")
    session.abort(session.outcome)
    session.abort(session.outcome)

    assert [failure.reason for failure in server.failures] == ["the session ended: disconnected"]


# --- what was tried too often

WRONG_PROOFS = [
    (1, f"AUTH PLAIN {coded(chr(0) + 'alice' + chr(0) + 'wrong')}"),
    (1, f"AUTH LOGIN {coded('alice')}", coded("wrong")),
    (3, f"AUTH SCRAM-SHA-256 {coded('n,,n=alice,r=x')}", coded("c=biws,r=x,p=AAAA")),
    (3, "APOP alice 00000000000000000000000000000000"),
    (3, "AUTH CRAM-MD5", coded("alice 00000000000000000000000000000000")),
]
"""How many of three count, the same password being one; and what is said."""


@pytest.mark.parametrize("proof", WRONG_PROOFS, ids=lambda proof: proof[1].split()[1])
def test_wrong_proofs_are_counted_and_end_in_none_being_looked_at(proof: tuple[int, ...]) -> None:
    """H-046, H-048: by each mechanism; then nobody learns from any whether a proof is right."""
    names = ("CRAM-MD5", "PLAIN", "LOGIN", "SCRAM-SHA-256", "X-TICKET")
    settings = LoginSettings(respect_nologin=False, apop=True, mechanisms=names)
    server = Server(settings, AbuseSettings(max_wrong_passwords=3, delay_after=1))
    counted, *lines = proof
    for _ in range(3):
        assert server.said(*map(str, lines)) == FAILED
    for number in range(3 - counted):
        assert server.said(f"AUTH PLAIN {coded(chr(0) + 'alice' + chr(0) + str(number))}") == FAILED
    server.asked.clear()

    for last in (
        ("USER alice", "PASS secret"),
        (f"AUTH PLAIN {coded(chr(0) + 'alice' + chr(0) + 'secret')}",),
        (f"AUTH SCRAM-SHA-256 {coded('n,,n=alice,r=x')}",),
        (f"AUTH X-TICKET {coded('account:alice')}",),
    ):
        assert server.said(*last) == FAILED
        assert "the password was not looked at" in server.failures[-1].reason
        assert server.failures[-1].username == "alice"
    assert server.asked == []


def test_a_right_proof_clears_what_was_counted(server: Server) -> None:
    """H-048: as a right password does; the challenges of an exchange count as nothing."""
    session = server.session()
    for _ in range(30):
        assert said(session, "AUTH SCRAM-SHA-256 " + coded("n,,n=alice,r=x")).startswith(b"+ ")
        session._authentication._let_go("enough")

    assert server.waited == []
    assert server.said(f"AUTH PLAIN {coded(chr(0) + 'alice' + chr(0) + 'secret')}").startswith(b"+OK")


# --- what is offered


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (
            LoginSettings(),
            ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "EXTERNAL", "PLAIN", "LOGIN", "X-TICKET"],
        ),
        (LoginSettings(mechanisms=("X-TICKET", "PLAIN")), ["X-TICKET", "PLAIN"]),
        (LoginSettings(mechanisms=("CRAM-MD5", "SCRAM-SHA-1", "PLAIN", "PLAIN")), ["CRAM-MD5", "PLAIN"]),
        (LoginSettings(mechanisms=()), []),
    ],
)
def test_a_site_says_what_is_offered(strict: Server, settings: LoginSettings, names: list[str]) -> None:
    """A-053, A-083: all that is safe unless it does; what needs secrets that nobody has is left out."""
    assert [mechanism.name for mechanism in offered_mechanisms(settings, strict.hooks)] == names


def test_apop_needs_passwords_and_the_wish_for_it(strict: Server) -> None:
    """A-012, A-018: both."""
    nothing = Hooks({})

    assert not offers_apop(LoginSettings(), strict.hooks)
    assert not offers_apop(LoginSettings(apop=True), nothing)
    assert offers_apop(LoginSettings(apop=True), strict.hooks)
    assert set(by_name([Ticket()], with_apop=True)) == {"X-TICKET", "APOP"}


def test_a_mechanism_that_does_not_exist_is_named(strict: Server) -> None:
    """With the one that was meant."""
    settings = LoginSettings(mechanisms=("PLAIN", "SCRAM-SHA256", "X-TICKET"))

    (text,) = unknown_mechanisms(settings, strict.hooks)
    assert text.startswith("there is no SASL mechanism 'SCRAM-SHA256'")
    assert "SCRAM-SHA-256" in text
