"""TLS between a real server and real clients."""

from __future__ import annotations

import poplib

import pytest

from popframe.testing.site import MailSite

from .tls_site import HOST, TlsSite

MESSAGE = b"Subject: hello\n\nHow are you?\n"


@pytest.fixture
def tls(site: MailSite) -> TlsSite:
    """Return a site with a certificate and a message for alice."""
    made = TlsSite(site)
    made.configure()
    site.put("alice", [MESSAGE])
    return made


def test_a_client_reads_and_removes_under_tls_from_the_first_octet(tls: TlsSite) -> None:
    """T-016: the greeting comes after the handshake, and a session is like any other."""
    server = tls.site.start()

    client = poplib.POP3_SSL(HOST, server.tls_addresses[0][1], context=tls.context())
    client.user("alice")
    client.pass_("secret")
    assert client.retr(1)[1] == [b"Subject: hello", b"", b"How are you?"]
    client.dele(1)
    assert client.quit().startswith(b"+OK")

    assert tls.site.spool("alice").read_bytes() == b""
    assert "user=alice tls=TLSv1.3/" in server.log()


def test_a_client_begins_in_clear_text_and_goes_on_under_tls(tls: TlsSite) -> None:
    """T-001: STLS, the handshake, and everything in it."""
    server = tls.site.start()

    client = poplib.POP3(*server.addresses[0])
    assert "STLS" in client.capa()
    client.stls(tls.context())
    assert "STLS" not in client.capa()
    client.user("alice")
    assert client.pass_("secret").startswith(b"+OK")
    assert client.retr(1)[1] == [b"Subject: hello", b"", b"How are you?"]
    client.quit()
