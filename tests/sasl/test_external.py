"""EXTERNAL: who the client's certificate says that it is (RFC 4422 appendix A)."""

from __future__ import annotations

from typing import Protocol

import pytest

from popframe import AuthenticationFailed, Challenge, MechanismContext, Peer, Proven, Tls
from popframe.sasl.external import External


class AnyPeer(MechanismContext, Protocol):
    """A context whose peer may be set."""

    peer: Peer


WITH_NAME = Peer("192.0.2.7", tls=Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", client_name="alice"))
WITHOUT_NAME = Peer("192.0.2.7", tls=Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384"))
CLEAR = Peer("192.0.2.7")


def test_it_suits_only_a_client_with_a_certificate() -> None:
    """A-079: which was verified, and says a name."""
    assert [External().suits(peer) for peer in (WITH_NAME, WITHOUT_NAME, CLEAR)] == [True, False, False]


@pytest.mark.parametrize(
    ("response", "authorization"), [(b"", ""), (b"alice", "alice"), (b"bob", "bob"), (b"bo\xc2\xadb", "bob")]
)
def test_the_certificate_is_the_proof(context: AnyPeer, response: bytes, authorization: str) -> None:
    """A-081: another name needs the right to act as that one, which is not this mechanism's to give."""
    context.peer = WITH_NAME
    exchange = External().start(context)

    assert exchange.respond(None) == Challenge(b"")
    assert exchange.respond(response) == Proven("alice", authorization=authorization)


@pytest.mark.parametrize("peer", [WITHOUT_NAME, CLEAR])
def test_without_a_certificate_nothing_is_proven(context: AnyPeer, peer: Peer) -> None:
    """A-079: whoever has begun the exchange."""
    context.peer = peer

    with pytest.raises(AuthenticationFailed):
        External().start(context).respond(b"")


@pytest.mark.parametrize("response", [b"\xff", b"a\0b", b"\xc2\xad"])
def test_a_name_that_is_none_is_refused(context: AnyPeer, response: bytes) -> None:
    """A-081: not UTF-8, a control character, or nothing once it is prepared."""
    context.peer = WITH_NAME

    with pytest.raises(AuthenticationFailed):
        External().start(context).respond(response)
