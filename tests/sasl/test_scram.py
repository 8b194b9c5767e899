"""SCRAM: the published exchanges, and everything that a client may get wrong, or try (RFC 5802, RFC 7677)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramClient

from popframe import (
    Account,
    AuthenticationFailed,
    Challenge,
    HookContractError,
    MechanismContext,
    Peer,
    Proven,
    ScramKeys,
    StoredSecret,
    TemporaryFailure,
    Tls,
)
from popframe.sasl.scram import Scram, ScramExchange


class Secrets(MechanismContext, Protocol):
    """The context of these tests."""

    secrets: dict[tuple[str, str], bytes]
    asked: list[tuple[str, str]]
    peer: Peer


RIGHT = "pencil"
"""The password of the examples."""

OTHER_SCHEME = ScramKeys.made(b"x", "scram-sha-1", 4096, bytes(16)).text.encode()
BINDING = hashlib.sha256(b"a certificate").digest()
BOUND = Peer("192.0.2.7", tls=Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", end_point=BINDING.hex()))

SHA_1 = (
    "scram-sha-1",
    "QSXCR+Q6sek8bf92",
    "3rfcNHYJY1ZVvWVs7j",
    b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
    b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
    b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
    b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
)
SHA_256 = (
    "scram-sha-256",
    "W22ZaJ0SNY7soEsUEjb6gQ==",
    "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
    b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
)


@pytest.fixture
def pencil(context: Secrets) -> Secrets:
    """Return a context in which ``user`` has the password of the examples."""
    for scheme, salt, *_ in (SHA_1, SHA_256):
        keys = ScramKeys.made(b"pencil", scheme, 4096, base64.b64decode(salt))
        context.secrets["user", scheme] = keys.text.encode()
    return context


def started(context: Secrets, *, plus: bool = False, offers_plus: bool = True) -> ScramExchange:
    """Begin an exchange of SCRAM-SHA-256."""
    return Scram("scram-sha-256", is_plus=plus, has_plus=offers_plus).start(context)


def client(username: str = "user", password: str = RIGHT, *, plus: bool = False) -> ScramClient:
    """Return the other side."""
    name = "SCRAM-SHA-256-PLUS" if plus else "SCRAM-SHA-256"
    return ScramClient([name], username, password, ("tls-server-end-point", BINDING) if plus else None)


def run(exchange: ScramExchange, other: ScramClient) -> Proven:
    """Let both sides talk to the end; the client verifies the server."""
    first = exchange.respond(other.get_client_first().encode())
    assert isinstance(first, Challenge)
    other.set_server_first(first.content.decode())
    final = exchange.respond(other.get_client_final().encode())
    assert isinstance(final, Challenge)
    other.set_server_final(final.content.decode())
    end = exchange.respond(b"")
    assert isinstance(end, Proven)
    return end


def proof(context: Secrets, header: bytes, first_bare: bytes, server_first: bytes, channel: bytes = b"") -> bytes:
    """Return a final message for the password of the examples, computed here, whatever header it is made for."""
    salt, iterations = base64.b64decode(SHA_256[1]), 4096
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    nonce = server_first.split(b",")[0]
    bare = b"c=" + base64.b64encode(header + channel) + b"," + nonce
    signature = hmac.digest(stored_key, b",".join((first_bare, server_first, bare)), "sha256")
    answer = bytes(left ^ right for left, right in zip(client_key, signature, strict=True))
    return bare + b",p=" + base64.b64encode(answer)


@pytest.mark.parametrize("vector", [SHA_1, SHA_256], ids=["SHA-1", "SHA-256"])
def test_the_published_exchanges_are_reproduced(
    pencil: Secrets, vector: tuple[str, str, str, bytes, bytes, bytes, bytes]
) -> None:
    """A-054, A-035, A-065: RFC 5802 section 5 and RFC 7677 section 3; the server's proof comes as a challenge."""
    scheme, _, nonce, first, server_first, final, server_final = vector
    exchange = ScramExchange(pencil, scheme, nonce, None, is_plus=False)

    assert exchange.respond(first) == Challenge(server_first)
    assert exchange.respond(final) == Challenge(server_final)
    assert exchange.respond(b"") == Proven("user", Account("user"))


def test_the_client_speaks_first(pencil: Secrets) -> None:
    """A-022: where no initial response came, an empty challenge asks for it."""
    exchange = started(pencil)

    assert exchange.respond(None) == Challenge(b"")
    assert run(exchange, client()).username == "user"


def test_the_nonce_is_the_clients_and_the_servers(pencil: Secrets) -> None:
    """A-055: the server's part is random."""
    answer = started(pencil).respond(b"n,,n=user,r=abc")

    assert isinstance(answer, Challenge)
    assert answer.content.startswith(b"r=abc" + base64.b64encode(bytes(range(18))) + b",s=")


@pytest.mark.parametrize("last", [b"x", b"v=x"])
def test_nothing_follows_the_servers_proof(pencil: Secrets, last: bytes) -> None:
    """A-030, A-065: only an empty message ends the exchange."""
    exchange, other = started(pencil), client()
    first = exchange.respond(other.get_client_first().encode())
    assert isinstance(first, Challenge)
    other.set_server_first(first.content.decode())
    exchange.respond(other.get_client_final().encode())

    with pytest.raises(AuthenticationFailed):
        exchange.respond(last)


def test_a_wrong_password_fails_at_the_last_message(pencil: Secrets) -> None:
    """A-036: the proof is wrong."""
    exchange, other = started(pencil), client(password="pen")
    first = exchange.respond(other.get_client_first().encode())
    assert isinstance(first, Challenge)
    other.set_server_first(first.content.decode())

    with pytest.raises(AuthenticationFailed):
        exchange.respond(other.get_client_final().encode())


def test_a_user_who_does_not_exist_looks_like_one_who_does(pencil: Secrets) -> None:
    """A-057, A-066, H-046: the same salt each time, another for each name, and the failure at the same message."""
    salts = []
    for name in ("nobody", "nobody", "stranger"):
        exchange, other = started(pencil), client(name)
        first = exchange.respond(other.get_client_first().encode())
        assert isinstance(first, Challenge)
        _, salt, iterations = first.content.split(b",")
        salts.append(salt)
        assert iterations == b"i=4096"
        assert len(base64.b64decode(salt[2:])) == 16
        other.set_server_first(first.content.decode())
        with pytest.raises(AuthenticationFailed):
            exchange.respond(other.get_client_final().encode())

    assert salts[0] == salts[1] != salts[2]


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"n", b"n,", b"n,,", b"x,,n=user,r=a", b"n,,n=user", b"n,,r=a,n=user", b"n,,n=,r=a", b"n,,n=user,r="),
        *(b"n,,m=x,n=user,r=a", b"n,,n=user,n=user,r=a", b"n,,n=user,r=a,r=b", b"n,,n=us=er,r=a", b"n,,n=a=2cb,r=a"),
        *(b"n,b=x,n=user,r=a", b"n,a=,n=user,r=a", b"n,a=x=y,n=user,r=a", b"n,a=x=3=2CD,n=user,r=a"),
        *(b"n,,n=\xff,r=a", b"n,,n=\xc2\xad,r=a", b"n,,n=\x07,r=a", b"n,,n=user,r=\x07", b"n,,n=user,r=a\0"),
        *(b"n,,n=user,s=QSXCR,i=1,r=a", b"n,,n=user,r=a,s=QSXCR", b"n,,,n=user,r=a", b"n ,,n=user,r=a"),
        b"p=tls-server-end-point,,n=user,r=a",
    ],
)
def test_what_is_no_first_message_is_refused(pencil: Secrets, message: bytes) -> None:
    """A-058, A-060, A-062, A-063, H-043: order, attributes, escapes, what only the server says, another mechanism."""
    with pytest.raises(AuthenticationFailed):
        started(pencil).respond(message)


def test_attributes_that_nobody_knows_are_passed_over(pencil: Secrets) -> None:
    """A-062: they are optional ones (RFC 5802 section 5.1)."""
    assert isinstance(started(pencil).respond(b"n,,n=user,r=a,z=1"), Challenge)


def test_commas_and_equals_signs_in_a_name_are_escaped(context: Secrets) -> None:
    """A-063: RFC 5802 section 5.1."""
    started(context).respond(b"n,,n=a=2Cb=3D2C,r=a")

    assert context.asked == [("a,b=2C", "scram-sha-256")]


@pytest.mark.parametrize(
    "change",
    [
        (b"c=biws", b"c=biwt"), (b"c=biws", b"c=eSws"), (b"c=biws", b"c="), (b",r=", b",r=x"), (b",p=", b"x,p="),
        (b",p=", b",p=A"), (b",p=", b",m=x,p="), (b",p=", b",c=biws,p="), (b"c=biws,", b""), (b",p=", b",q="),
    ],
)  # fmt: skip
def test_a_final_message_that_was_changed_is_refused(pencil: Secrets, change: tuple[bytes, bytes]) -> None:
    """A-055, A-061, H-043: header, nonce, proof, and attributes."""
    scheme, _, nonce, first, _, final, _ = SHA_256
    exchange = ScramExchange(pencil, scheme, nonce, None, is_plus=False)
    exchange.respond(first)

    with pytest.raises(AuthenticationFailed):
        exchange.respond(final.replace(*change))


@pytest.mark.parametrize("octets", [0, 1, 31, 33, 40_000])
def test_a_proof_of_another_length_is_refused(pencil: Secrets, octets: int) -> None:
    """H-043: it is compared in constant time, and only when it has the length."""
    scheme, _, nonce, first, _, final, _ = SHA_256
    exchange = ScramExchange(pencil, scheme, nonce, None, is_plus=False)
    exchange.respond(first)

    with pytest.raises(AuthenticationFailed):
        exchange.respond(final.partition(b",p=")[0] + b",p=" + base64.b64encode(bytes(octets)))


def test_a_name_to_act_as_is_part_of_the_proof(pencil: Secrets) -> None:
    """A-061, A-064: whether the one may act as the other is for the server to say."""
    first_bare = b"n=user,r=abc"
    for header in (b"n,a=alice,", b"n,,"):
        exchange = started(pencil)
        first = exchange.respond(b"n,a=alice," + first_bare)
        assert isinstance(first, Challenge)
        message = proof(pencil, header, first_bare, first.content)
        if header == b"n,,":
            with pytest.raises(AuthenticationFailed):
                exchange.respond(message)
        else:
            assert isinstance(exchange.respond(message), Challenge)
            assert exchange.respond(b"") == Proven("user", Account("user"), "alice")


# --- channel binding


def test_plus_suits_only_a_channel_with_a_binding() -> None:
    """A-067: and the other one suits all."""
    plus = Scram("scram-sha-256", is_plus=True, has_plus=True)
    plain = Scram("scram-sha-256", is_plus=False, has_plus=True)
    unbound = Peer("192.0.2.7", tls=Tls("TLSv1.3", "x"))

    assert (plus.name, plain.name) == ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256")
    assert [plus.suits(peer) for peer in (BOUND, unbound, Peer("192.0.2.7"))] == [True, False, False]
    assert [plain.suits(peer) for peer in (BOUND, unbound, Peer("192.0.2.7"))] == [True] * 3
    assert not plus.reveals_password


def test_a_client_is_bound_to_its_channel(pencil: Secrets) -> None:
    """A-070: by a hash of the certificate that it was shown (RFC 5929 section 4)."""
    pencil.peer = BOUND

    assert run(started(pencil, plus=True), client(plus=True)).username == "user"


def test_a_client_that_was_shown_another_certificate_is_refused(pencil: Secrets) -> None:
    """A-061, A-070, H-043: somebody is in the middle."""
    pencil.peer = BOUND
    first_bare = b"n=user,r=abc"
    header = b"p=tls-server-end-point,,"
    exchange = started(pencil, plus=True)
    first = exchange.respond(header + first_bare)
    assert isinstance(first, Challenge)
    other = hashlib.sha256(b"another certificate").digest()

    with pytest.raises(AuthenticationFailed):
        exchange.respond(proof(pencil, header, first_bare, first.content, other))


def test_binding_and_a_name_to_act_as_go_together(pencil: Secrets) -> None:
    """A-064: both stand in what the proof is of."""
    pencil.peer = BOUND
    first_bare = b"n=user,r=abc"
    header = b"p=tls-server-end-point,a=alice,"
    exchange = started(pencil, plus=True)
    first = exchange.respond(header + first_bare)
    assert isinstance(first, Challenge)
    assert isinstance(exchange.respond(proof(pencil, header, first_bare, first.content, BINDING)), Challenge)
    assert exchange.respond(b"") == Proven("user", Account("user"), "alice")


@pytest.mark.parametrize(
    ("plus", "flag"),
    [
        (False, b"y"),
        (False, b"p=tls-server-end-point"),
        (True, b"y"),
        (True, b"n"),
        (True, b"p=tls-unique"),
        (True, b"p=tls-exporter"),
        (True, b"p=x"),
        (True, b"p="),
    ],
)
def test_flags_that_do_not_fit_are_refused(pencil: Secrets, plus: bool, flag: bytes) -> None:
    """A-059, A-060, A-068, H-043: a downgrade, another binding, and the wrong mechanism for either."""
    pencil.peer = BOUND

    with pytest.raises(AuthenticationFailed):
        started(pencil, plus=plus).respond(flag + b",,n=user,r=a")


def test_a_client_may_see_no_binding_where_none_is_offered(pencil: Secrets) -> None:
    """A-059: "y" is a lie only where there was something to see."""
    assert isinstance(started(pencil).respond(b"y,,n=user,r=a"), Challenge)
    pencil.peer = BOUND
    assert isinstance(started(pencil, offers_plus=False).respond(b"y,,n=user,r=a"), Challenge)


# --- what plugins do


@pytest.mark.parametrize(
    "error", [TemporaryFailure("down"), AuthenticationFailed("no such form"), HookContractError("x")]
)
def test_a_failure_of_a_plugin_is_told_as_it_is(
    pencil: Secrets, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Nobody is told of a wrong password because a disk was full."""

    def fail(username: str, scheme: str) -> StoredSecret:
        raise error

    monkeypatch.setattr(pencil, "lookup_secret", fail)
    with pytest.raises(type(error), match=str(error)):
        started(pencil).respond(b"n,,n=user,r=a")


@pytest.mark.parametrize(
    "value",
    [b"pencil", b"\xff", b"SCRAM-SHA-256$1:QSXCR+Q6sek8bf92$AAAA:AAAA", OTHER_SCHEME],
)
def test_keys_that_are_none_are_the_plugins_fault(context: Secrets, value: bytes) -> None:
    """The message says nothing of them."""
    context.secrets["user", "scram-sha-256"] = value

    with pytest.raises(HookContractError) as caught:
        started(context).respond(b"n,,n=user,r=a")
    assert "pencil" not in str(caught.value)


@given(
    st.lists(
        st.one_of(st.none(), st.binary(max_size=80), st.sampled_from([b"n,,n=user,r=a", SHA_256[5], b""])), max_size=4
    )
)
def test_any_messages_are_answered_or_refused(messages: list[bytes | None]) -> None:
    """H-043: and nobody is ever in without a proof."""

    class Nobody:
        peer = Peer("192.0.2.7")

        def claim(self, username: str) -> None:
            pass

        def lookup_secret(self, username: str, scheme: str) -> StoredSecret | None:
            return None

        def random_octets(self, count: int) -> bytes:
            return bytes(count)

        def decoy_octets(self, label: str, count: int) -> bytes:
            return bytes(count)

        def typical_iterations(self, scheme: str) -> int:
            return 4096

    exchange = Scram("scram-sha-256", is_plus=False, has_plus=True).start(Nobody())
    for message in messages:
        try:
            assert isinstance(exchange.respond(message), Challenge)
        except AuthenticationFailed:
            return
