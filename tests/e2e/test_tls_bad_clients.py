"""Clients that misuse TLS, or are misused through it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable

import pytest

from popframe.testing.client import RawClient
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite

from .tls_site import HOST, TlsSite

SILENCE_SECONDS = 1.0
"""How long nothing has to come for a test to believe that nothing will."""


@pytest.fixture
def tls(site: MailSite) -> TlsSite:
    """Return a site with a certificate."""
    made = TlsSite(site)
    made.configure(tls="handshake_timeout_seconds = 3")
    return made


def under_tls(plain: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Make the handshake."""
    plain.settimeout(30)
    return context.wrap_socket(plain, server_hostname=HOST)


KEY_UPDATES = 100

READ_PAUSE_SECONDS = 0.01
"""s_client takes one letter of what it reads at once as a command, so each has to come alone."""


def is_silent(client: socket.socket) -> bool:
    """Tell whether nothing comes for a while."""
    client.settimeout(SILENCE_SECONDS)
    try:
        client.recv(1)
    except TimeoutError:
        client.settimeout(30)
        return True
    return False


@pytest.mark.parametrize("rest", [b"CAPA\r\n", b"USER alice\r\nPASS secret\r\n", b"QU"])
def test_commands_behind_stls_are_not_carried_out_inside(tls: TlsSite, rest: bytes) -> None:
    """T-007, T-008, H-025, H-027 (CVE-2011-0411): silence, and then one reply for each command."""
    server = tls.site.start()

    with socket.create_connection(server.addresses[0]) as plain:
        plain.recv(512)
        plain.sendall(b"STLS\r\n" + rest)
        assert plain.recv(512) == b"+OK begin TLS negotiation\r\n"
        with under_tls(plain, tls.context()) as client:
            assert is_silent(client)
            client.sendall(b"IT\r\n")
            assert client.recv(512) == b"-ERR unknown command\r\n"
            client.sendall(b"STAT\r\n")
            assert client.recv(512) == b"-ERR command not valid in this state\r\n"


def test_commands_behind_the_reply_to_stls_end_the_connection(tls: TlsSite) -> None:
    """T-011, H-026: what is not TLS after +OK is answered with nothing that is POP3."""
    server = tls.site.start()

    with socket.create_connection(server.addresses[0]) as plain:
        plain.recv(512)
        plain.sendall(b"STLS\r\n")
        assert plain.recv(512) == b"+OK begin TLS negotiation\r\n"
        plain.sendall(b"NOOP\r\nUSER alice\r\nPASS secret\r\n")
        plain.settimeout(30)
        assert b"+OK" not in rest_of(plain)


def rest_of(plain: socket.socket) -> bytes:
    """Return all that comes until the connection is closed."""
    said = b""
    while True:
        try:
            octets = plain.recv(65536)
        except ConnectionResetError:
            return said
        if not octets:
            return said
        said += octets


@pytest.mark.parametrize(
    "said", [b"CAPA\r\n", b"\x80\x2e\x01\x00\x02" + bytes(60), b"\x16\x03\x01\xff\xff" + bytes(100)]
)
def test_what_is_no_tls_gets_no_word_of_pop3(tls: TlsSite, said: bytes) -> None:
    """T-021, H-031: an alert, or nothing; and the next client is served."""
    server = tls.site.start()

    with socket.create_connection(server.tls_addresses[0]) as plain:
        plain.settimeout(30)
        plain.sendall(said)
        answer = rest_of(plain)

    assert b"+OK" not in answer
    assert b"-ERR" not in answer
    with tls.connect(server) as client:
        assert client.greeting.startswith(b"+OK")


def test_one_connection_too_many_gets_no_word_in_clear_text(site: MailSite) -> None:
    """T-016, T-021: where TLS comes first it is closed; on port 110 it is told why."""
    tls = TlsSite(site)
    tls.configure(server="max_connections_per_address = 1")
    server = site.start()

    with tls.connect(server):
        with socket.create_connection(server.tls_addresses[0]) as plain:
            plain.settimeout(30)
            assert rest_of(plain) == b""
        with socket.create_connection(server.addresses[0]) as plain:
            plain.settimeout(30)
            assert rest_of(plain).startswith(b"-ERR [SYS/TEMP]")


def test_who_only_connects_is_not_worth_a_line(tls: TlsSite) -> None:
    """Q-017: port scans and monitors do not fill the log where TLS comes first; who says something wrong is told of."""
    server = tls.site.start()

    for _ in range(5):
        socket.create_connection(server.tls_addresses[0]).close()
    with socket.create_connection(server.tls_addresses[0]) as plain:
        plain.settimeout(30)
        plain.sendall(b"CAPA\r\n")
        rest_of(plain)
    server.wait_for_log("tls-failed")

    assert server.count_in_log("tls-failed") == 1
    assert "session-ended" not in server.log()


def test_random_octets_end_in_an_alert(tls: TlsSite) -> None:
    """H-031: 64 KiB of them, and a first message that never ends."""
    server = tls.site.start()
    octets = hashlib.shake_256(b"any").digest(65536)

    for said in (octets, b"\x16\x03\x01\x40\x00\x01\x00\xff\xff" + octets):
        with socket.create_connection(server.tls_addresses[0]) as plain:
            plain.settimeout(30)
            try:
                plain.sendall(said)
            except (ConnectionResetError, BrokenPipeError):
                continue
            assert b"+OK" not in rest_of(plain)
    with tls.connect(server) as client:
        assert client.greeting.startswith(b"+OK")


def test_a_client_hello_on_port_110_is_a_bad_command(tls: TlsSite) -> None:
    """T-022: -ERR, and the client can still do better."""
    server = tls.site.start()
    outgoing = ssl.MemoryBIO()
    started = tls.context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=HOST)
    with pytest.raises(ssl.SSLWantReadError):
        started.do_handshake()

    with RawClient(server.addresses[0]) as client:
        client.send(outgoing.read() + b"\r\n")
        assert client.line().startswith(b"-ERR")


@pytest.mark.parametrize("by_stls", [False, True])
def test_a_handshake_that_is_not_finished_ends_by_itself(tls: TlsSite, by_stls: bool) -> None:
    """T-040, H-031: after handshake_timeout_seconds, in silence or octet by octet, and nobody else waits for it."""
    server = tls.site.start()
    with socket.create_connection((server.addresses if by_stls else server.tls_addresses)[0]) as plain:
        plain.settimeout(30)
        if by_stls:
            plain.recv(512)
            plain.sendall(b"STLS\r\n")
            plain.recv(512)
        started = time.monotonic()
        plain.sendall(b"\x16\x03\x01")
        with tls.connect(server) as other:
            assert other.log_in("alice", "secret").startswith(b"+OK")
            assert time.monotonic() - started < 2.5
        for octet in b"\x02\x00\x01":
            time.sleep(0.7)
            plain.sendall(bytes([octet]))
        assert rest_of(plain) == b""
        assert 2.5 < time.monotonic() - started < 20


def slowly(plain: socket.socket, octets: bytes) -> None:
    """Send octet by octet, each in a packet of its own."""
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for octet in octets:
        plain.sendall(bytes([octet]))


def test_tls_in_the_smallest_pieces_works(tls: TlsSite) -> None:
    """T-041, H-035: the handshake in segments of one octet, and commands in records of one octet."""
    server = tls.site.start()

    with socket.create_connection(server.tls_addresses[0]) as plain:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = tls.context().wrap_bio(incoming, outgoing, server_hostname=HOST)

        def patiently(step: Callable[[], bytes | None]) -> bytes | None:
            while True:
                try:
                    done = step()
                except ssl.SSLWantReadError:
                    slowly(plain, outgoing.read())
                    incoming.write(plain.recv(65536))
                else:
                    slowly(plain, outgoing.read())
                    return done

        patiently(client.do_handshake)
        assert (patiently(client.read) or b"").startswith(b"+OK")
        for octet in b"CAPA\r\n":
            client.write(bytes([octet]))
        assert (patiently(client.read) or b"").startswith(b"+OK capability list")


def test_octets_that_never_become_a_command_do_not_keep_a_session(site: MailSite) -> None:
    """H-053: under TLS as without: records arrive, and the time runs."""
    tls = TlsSite(site)
    tls.configure(server="login_timeout_seconds = 3")
    server = site.start()
    started = time.monotonic()

    with tls.connect(server) as client:
        try:
            while time.monotonic() - started < 20:
                client.send(b"x")
                time.sleep(0.3)
        except OSError:
            pass
        assert 2.5 < time.monotonic() - started < 15


@pytest.mark.parametrize("hostname", ["x" * 63 + "." + "y" * 63 + "." + "z" * 63 + ".example", "unknown.example"])
def test_unknown_names_get_the_default_certificate(tls: TlsSite, hostname: str) -> None:
    """T-032, H-034: no name is a reason to end the connection."""
    server = tls.site.start()
    context = tls.context()
    context.check_hostname = False

    with RawClient(server.tls_addresses[0], tls=context, server_name=hostname) as client:
        assert client.greeting.startswith(b"+OK")


@pytest.fixture
def flood(tls: TlsSite) -> tuple[ServerProcess, ssl.SSLContext]:
    """Return a server, and what its clients need."""
    return tls.site.start(), tls.context()


def test_a_flood_of_records_that_nobody_has_sealed_ends_the_connection(
    flood: tuple[ServerProcess, ssl.SSLContext],
) -> None:
    """H-035: empty ones, put in by somebody on the way; the first is one too many, and others are served."""
    server, context = flood
    with socket.create_connection(server.tls_addresses[0]) as plain, under_tls(plain, context) as client:
        client.recv(512)
        junk = b"\x17\x03\x03\x00\x00" * 10_000
        raw = socket.socket(fileno=os.dup(client.fileno()))
        with raw:
            raw.settimeout(30)
            with contextlib.suppress(OSError):
                raw.sendall(junk)
            assert b"+OK" not in rest_of(raw)
    with RawClient(server.tls_addresses[0], tls=context, server_name=HOST) as other:
        assert other.greeting.startswith(b"+OK")


def test_a_record_that_is_too_long_ends_the_connection(flood: tuple[ServerProcess, ssl.SSLContext]) -> None:
    """H-035: 16 KiB and more than a cipher may add (RFC 8446 section 5.2)."""
    server, context = flood
    with socket.create_connection(server.tls_addresses[0]) as plain, under_tls(plain, context) as client:
        client.recv(512)
        with socket.socket(fileno=os.dup(client.fileno())) as raw:
            raw.settimeout(30)
            raw.sendall(b"\x17\x03\x03\x48\x01" + bytes(0x4801))
            assert b"+OK" not in rest_of(raw)


def test_key_updates_without_end_are_bounded(tls: TlsSite) -> None:
    """H-035: s_client asks for new keys again and again; the session goes on, or ends, and nobody else waits for it."""
    server = tls.site.start()
    host, port = server.tls_addresses[0]
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", HOST, "-tls1_3"]

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        assert client.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            for _ in range(KEY_UPDATES):
                client.stdin.write(b"K\n")
                client.stdin.flush()
                time.sleep(READ_PAUSE_SECONDS)
        with tls.connect(server) as other:
            assert other.log_in("alice", "secret").startswith(b"+OK")
        told = client.communicate(timeout=30)[0]

    assert told.count(b"KEYUPDATE") > KEY_UPDATES // 2
