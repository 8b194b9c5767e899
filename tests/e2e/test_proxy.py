"""Connections that begin with a header of the PROXY protocol, over real sockets: whose they are, what is refused."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from popframe.server.front import MOST_UNNAMED
from popframe.testing.client import RawClient
from popframe.testing.proxy_header import block, entry, header, line, tls_entry
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite

from .tls_site import HOST, TlsSite

CLEAR_TEXT = '[login]\nclear_text = "always"\n'
MESSAGE = b"Subject: one\n\nhello\n"

needs_activate = pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="needs systemd-socket-activate (Debian: systemd)"
)


def proxy_table(*more: str, networks: str = "127.0.0.1") -> str:
    """Return a table ``[proxy]`` that listens, with passwords in clear text, since the clients come from elsewhere."""
    lines = ['listen = ["127.0.0.1:0"]', f'networks = ["{networks}"]', *more]
    return CLEAR_TEXT + "[proxy]\n" + "\n".join(lines) + "\n"


@pytest.fixture
def server(site: MailSite) -> ServerProcess:
    """Return a server with an address for proxies on 127.0.0.1, and one for everybody."""
    site.put("alice", [MESSAGE])
    site.configure(more=proxy_table())
    return site.start()


def through(server: ServerProcess, first: bytes) -> RawClient:
    """Return a client that has sent a header and read the greeting."""
    return RawClient(server.proxy_addresses[0], first=first)


@contextlib.contextmanager
def raw(server: ServerProcess, octets: bytes = b"", source: str = "127.0.0.1") -> Iterator[socket.socket]:
    """Yield a connection on which these octets were sent and nothing was read."""
    with socket.create_connection(server.proxy_addresses[0], 60, (source, 0)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(octets)
        yield connection


def everything(connection: socket.socket) -> bytes:
    """Return all octets until the server closes the connection, or resets it."""
    octets = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            octets += piece
    return octets


@pytest.mark.parametrize(
    ("octets", "address"),
    [
        (line("192.0.2.1"), "192.0.2.1"),
        (line("2001:db8::7"), "2001:db8::7"),
        (header("192.0.2.1", entries=entry(0xEE, b"unknown")), "192.0.2.1"),
        (header("2001:db8::7"), "2001:db8::7"),
        (header("::ffff:192.0.2.1"), "192.0.2.1"),
        (b"PROXY UNKNOWN whatever\r\n", "127.0.0.1"),
        (block(0x20, 0x00, b""), "127.0.0.1"),
        (block(0x20, 0x11, b"junk, not 12"), "127.0.0.1"),
        (block(0x21, 0x00, b""), "127.0.0.1"),
    ],
)
def test_a_client_is_known_by_the_address_that_the_proxy_tells(
    server: ServerProcess, octets: bytes, address: str
) -> None:
    """N-008, N-010, N-011, N-013, N-014, N-020: a mail is read, and the log has the client's address.

    Of a client that the proxy does not know, and of a connection of its own, it has the proxy's.
    """
    with through(server, octets) as client:
        assert client.log_in("alice", "secret").startswith(b"+OK")
        assert client.ask("RETR 1") == b"+OK 23 octets\r\n"
        assert client.body() == MESSAGE.replace(b"\n", b"\r\n")
        client.ask("QUIT")
    server.wait_for_log("session-ended")

    assert re.findall(r" (login|session-ended) session=\S+ address=(\S+) user=alice", server.log()) == [
        ("login", address),
        ("session-ended", address),
    ]


def test_nothing_is_said_before_the_header(site: MailSite) -> None:
    """N-008, N-017: silence gets silence, and the end after header_timeout_seconds; so does half a header."""
    site.configure(more=proxy_table("header_timeout_seconds = 3"), listen=())
    server = site.start()
    with raw(server) as silent, raw(server, b"PROXY TCP4 192.0.2.1 ") as half:
        start = time.monotonic()
        half.settimeout(2)
        with pytest.raises(TimeoutError):
            half.recv(1)
        half.settimeout(60)

        assert everything(silent) == everything(half) == b""
        assert 2.9 < time.monotonic() - start < 30
    server.wait_for_log('proxy-refused level=warning address=127.0.0.1 reason="no whole header within 3 seconds"')


def test_a_header_may_come_octet_by_octet(server: ServerProcess) -> None:
    """N-008, N-015, N-017: the greeting comes after its last octet, and a command behind it is answered."""
    with raw(server) as connection:
        for octet in header("192.0.2.1", entries=entry(0xEE, b"x")) + b"NOOP\r\nQUIT\r\n":
            connection.sendall(bytes([octet]))
            time.sleep(0.002)

        replies = everything(connection).splitlines()
    assert [reply[:4] for reply in replies] == [b"+OK ", b"-ERR", b"+OK "]


def test_commands_behind_a_header_are_answered(server: ServerProcess) -> None:
    """N-013, N-015, H-092: in the same segment, behind either version and behind LOCAL."""
    for octets in (line("192.0.2.1"), header("192.0.2.1"), block(0x20, 0x00, b"12 octets...")):
        with through(server, octets + b"CAPA\r\nQUIT\r\n") as client:
            assert client.line().startswith(b"+OK")
            assert b"TOP\r\n" in client.body()
            assert client.line().startswith(b"+OK")


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"CAPA\r\n", "something that is no PROXY header"),
        (b"\x16\x03\x01\x02\x00\x01", "something that is no PROXY header"),
        (b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", "6 fields behind PROXY instead of 5"),
        (b"PROXY TCP4 010.0.0.1 192.0.2.2 1 2\r\n", "an address that is none of TCP4"),
        (b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", "an address that is none of TCP4"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", "a port that is none"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\nQUIT\r\n", "a CR or LF that ends no line"),
        (b"PROXY UNKNOWN " + b"x" * 94, "no CRLF within 107 octets"),
        (block(0x11, 0x11, bytes(12)), "version and command 0x11"),
        (block(0x2F, 0x11, bytes(12)), "version and command 0x2f"),
        (block(0x21, 0x41, bytes(12)), "address family and protocol 0x41"),
        (block(0x21, 0x13, bytes(12)), "address family and protocol 0x13"),
        (block(0x21, 0x11, bytes(11)), "11 octets for addresses that take 12"),
        (block(0x21, 0x21, bytes(35)), "35 octets for addresses that take 36"),
        (block(0x21, 0x11, b"1234567890", length=65535), "a header of 65551 octets, more than 4096"),
        (header("192.0.2.1", entries=b"\xee\xff\xff1"), "an entry of type 0xee past the end of the header"),
        (header("192.0.2.1", entries=entry(0x03, b"\0\0\0\0")), "a wrong checksum"),
    ],
)
def test_anything_but_a_header_is_closed_without_a_word(server: ServerProcess, octets: bytes, reason: str) -> None:
    """N-008, N-010, N-012, N-014, N-015, N-016, H-092: at once, with one line in the log."""
    with raw(server, octets) as connection:
        assert everything(connection) == b""
    server.wait_for_log(" proxy-refused ")

    assert f'proxy-refused level=warning address=127.0.0.1 reason="{reason}"' in server.log()
    assert server.count_in_log(" proxy-refused ") == 1


def test_an_address_that_is_no_proxy_is_not_listened_to(server: ServerProcess) -> None:
    """N-009, H-091: its header, right or wrong, is not even waited for."""
    for octets in (b"", line("192.0.2.1"), header("192.0.2.1", entries=tls_entry())):
        with raw(server, octets, source="127.0.0.2") as connection:
            assert everything(connection) == b""
    for _ in server.until("three refusals"):
        if server.count_in_log('proxy-refused level=warning address=127.0.0.2 reason="not in proxy.networks"') == 3:
            break


@pytest.mark.parametrize("octets", [line("192.0.2.1"), b"PROXY UNKNOWN\r\n"])
def test_a_header_where_none_is_expected_is_a_bad_command(server: ServerProcess, octets: bytes) -> None:
    """N-009, H-091: on any other address, and the second one behind a proxy; the log has who it really is."""
    with RawClient(server.addresses[0]) as plain, through(server, line("192.0.2.9")) as proxied:
        for client in (plain, proxied):
            client.send(octets)
            assert client.line().startswith(b"-ERR")
            assert client.log_in("alice", "wrong").startswith(b"-ERR [AUTH]")
    server.wait_for_log("address=192.0.2.9")
    server.wait_for_log("address=127.0.0.1")

    assert "192.0.2.1 " not in server.log()


def test_a_binary_header_where_none_is_expected_ends_the_session(server: ServerProcess) -> None:
    """H-091: its signature was made so that a POP3 server reads QUIT in it."""
    with RawClient(server.addresses[0], first=header("192.0.2.1")) as client:
        replies = client.rest().splitlines()

    assert [reply[:4] for reply in replies] == [b"-ERR", b"-ERR", b"-ERR", b"+OK "]


def test_limits_are_those_of_the_clients(site: MailSite) -> None:
    """N-020: one client may fill its own share; others, and the proxy's own connections, go on."""
    site.configure("max_connections_per_address = 2\n", proxy_table(), listen=())
    server = site.start()
    with contextlib.ExitStack() as clients:
        for _ in range(2):
            assert clients.enter_context(through(server, line("192.0.2.1"))).greeting.startswith(b"+OK")
        for _ in range(4):
            checks = clients.enter_context(through(server, block(0x20, 0x00, b"")))
            assert checks.greeting.startswith(b"+OK")

        assert clients.enter_context(through(server, line("192.0.2.1"))).greeting.startswith(b"-ERR [SYS/TEMP] ")
        assert clients.enter_context(through(server, header("192.0.2.2"))).greeting.startswith(b"+OK")
    assert "connection-refused address=192.0.2.1 " in server.log()


def test_wrong_passwords_of_one_client_are_not_those_of_another(site: MailSite) -> None:
    """N-020: 50 failures from one address through the proxy, and its neighbour is served."""
    site.configure(more=proxy_table() + "[abuse]\nmax_delay_seconds = 0\n", listen=())
    server = site.start()

    def fail(number: int) -> None:
        with through(server, line("192.0.2.1")) as client:
            for each in range(5):
                client.log_in("alice", f"wrong {number} {each}")

    threads = [threading.Thread(target=fail, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with through(server, line("192.0.2.1")) as client:
        assert client.log_in("bob", "secret").startswith(b"-ERR [AUTH]")
    with through(server, line("192.0.2.2")) as client:
        assert client.log_in("alice", "secret").startswith(b"+OK")
    assert server.count_in_log("20 different wrong passwords from 192.0.2.1 ") == 31


def test_who_has_not_sent_a_header_counts_among_all_connections(site: MailSite) -> None:
    """N-020: silent connections cannot take more threads than clients may be connected; then they free their places."""
    site.configure(
        "max_connections = 3\nmax_connections_per_address = 3\nmax_connections_per_user = 3\n",
        proxy_table("header_timeout_seconds = 60"),
        listen=(),
    )
    server = site.start()
    with contextlib.ExitStack() as silent:
        for _ in range(3 + MOST_UNNAMED + 1):
            silent.enter_context(raw(server))
        server.wait_for_log("(max_connections)")
        with raw(server, line("192.0.2.1")) as another:
            assert everything(another) == b""

    for _ in server.until("a free place"):
        with contextlib.suppress(ConnectionError), through(server, line("192.0.2.1")) as client:
            if client.greeting.startswith(b"+OK"):
                break


def test_clients_of_a_proxy_make_room_for_each_other(site: MailSite) -> None:
    """H-057: whoever has connections and does not log in loses one to a client that has none."""
    site.configure(
        "max_connections = 3\nmax_connections_per_address = 2\nmax_connections_per_user = 3\nfronts = 1\n",
        proxy_table(),
        listen=(),
    )
    server = site.start()
    with contextlib.ExitStack() as idle:
        first, *others = (idle.enter_context(through(server, line(f"192.0.2.{n}"))) for n in (1, 1, 2))

        with through(server, line("192.0.2.3")) as client:
            assert client.greeting.startswith(b"+OK")
        assert first.rest() == b""
        assert all(other.ask("NOOP").startswith(b"-ERR") for other in others)


def test_what_a_proxy_says_of_tls_lets_passwords_through_only_where_it_is_trusted(site: MailSite) -> None:
    """N-019, T-039: by configuration, for this connection; not by what a client or another proxy says."""
    told, silent = header("192.0.2.1", entries=tls_entry()), header("192.0.2.1")
    local = header("127.0.0.1")
    for trust, octets, is_taken in [
        ("true", told, True),
        ("true", silent, False),
        ("true", line("192.0.2.1"), False),
        ("true", block(0x20, 0x00, tls_entry()), False),
        ("true", local, False),
        ("false", told, False),
    ]:
        site.configure(more=proxy_table(f"trust_tls = {trust}").replace(CLEAR_TEXT, ""), listen=())
        server = site.start()
        with through(server, octets) as client:
            assert client.ask("CAPA").startswith(b"+OK")
            assert (b"USER" in client.body().splitlines()) is is_taken
            assert client.log_in("alice", "secret").startswith(b"+OK" if is_taken else b"-ERR"), (trust, octets)
        assert server.stop() == 0
        assert ("tls=TLSv1.3/TLS_AES_256_GCM_SHA384" in server.log()) is is_taken
        server.log_path.unlink()


@pytest.fixture
def tls(site: MailSite) -> TlsSite:
    """Return a site with a certificate, which listens for proxies in clear text and under TLS."""
    made = TlsSite(site)
    site.put("alice", [MESSAGE])
    more = 'listen_tls = ["127.0.0.1:0"]\ntrust_tls = true\n'
    site.configure(more=proxy_table().replace(CLEAR_TEXT, "") + more + f'[tls]\ncertificate = "{made.certificate}"\n')
    return made


@pytest.mark.parametrize("octets", [line("192.0.2.1"), header("2001:db8::7"), b"PROXY UNKNOWN\r\n"])
def test_a_header_comes_before_tls(tls: TlsSite, octets: bytes) -> None:
    """N-018: header, ClientHello, handshake, greeting; the header in clear text, and none within."""
    server = tls.site.start()
    address = server.proxy_tls_addresses[0]
    with RawClient(address, first=octets, tls=tls.context(), server_name=HOST) as client:
        assert client.greeting.startswith(b"+OK")
        assert client.ask("PROXY UNKNOWN").startswith(b"-ERR")
        assert client.log_in("alice", "secret").startswith(b"+OK")
        assert client.ask("RETR 1") == b"+OK 23 octets\r\n"

    with pytest.raises(OSError, match=r"EOF|reset"):
        RawClient(address, tls=tls.context(), server_name=HOST)
    server.wait_for_log('proxy-refused level=warning address=127.0.0.1 reason="something that is no PROXY header"')


def test_stls_comes_behind_a_header(tls: TlsSite) -> None:
    """N-018, N-019: offered to a client that speaks clear text, not to one that a trusted proxy protects."""
    server = tls.site.start()
    with through(server, line("192.0.2.1")) as client:
        assert b"STLS\r\n" in (client.ask("CAPA") and client.body())
        assert client.start_tls(tls.context(), HOST).startswith(b"+OK")
        assert client.log_in("alice", "secret").startswith(b"+OK")
        client.ask("QUIT")
    with through(server, header("192.0.2.2", entries=tls_entry())) as client:
        assert b"STLS\r\n" not in (client.ask("CAPA") and client.body())
        assert client.ask("STLS").startswith(b"-ERR")
        assert client.log_in("alice", "secret").startswith(b"+OK")
        client.ask("QUIT")
    server.wait_for_log("address=192.0.2.1 user=alice tls=TLSv1.3/")
    server.wait_for_log("address=192.0.2.2 user=alice tls=TLSv1.3/")


def test_a_name_in_a_header_stays_in_its_field(site: MailSite) -> None:
    """H-095: CR, LF, ESC and a percent sign in PP2_TYPE_AUTHORITY; one line, escaped, of bounded length."""
    site.configure(more=proxy_table() + '[log]\nlevel = "debug"\n', listen=())
    server = site.start()
    name = b"a\r\nlogin session=x user=root\x1b[31m%n " + b"y" * 2000
    with through(server, header("192.0.2.1", entries=entry(0x02, name))) as client:
        client.ask("QUIT")
    server.wait_for_log(" proxied ")

    (told,) = [text for text in server.log().splitlines() if " proxied " in text]
    assert r'authority="a\r\nlogin session=x user=root\u001b[31m%n yyy' in told
    assert len(told) < 600
    assert "\x1b" not in server.log()


def test_a_reload_changes_which_proxies_are_believed(site: MailSite) -> None:
    """N-009: the table is read again with the rest."""
    site.configure(more=proxy_table(), listen=())
    server = site.start()
    with through(server, line("192.0.2.1")) as before:
        site.configure(more=proxy_table(networks="127.0.0.2"), listen=())
        server.reload()
        for _ in server.until("the new fronts alone"):
            with raw(server, line("192.0.2.1")) as connection, contextlib.suppress(TimeoutError):
                if everything_now(connection) == b"":
                    break

        assert before.ask("QUIT").startswith(b"+OK")
    for _ in server.until("the last old front has taken its last client"):
        with contextlib.suppress(ConnectionError):
            with RawClient(server.proxy_addresses[0], source="127.0.0.2", first=line("192.0.2.1")) as client:
                assert client.greeting.startswith(b"+OK")
            break


def everything_now(connection: socket.socket) -> bytes:
    """Return the first octets that come; empty for the end."""
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(100)
    return b""


def test_a_server_stops_while_headers_are_waited_for(site: MailSite) -> None:
    """N-008: whoever has not said who it is has nothing to finish."""
    site.configure(more=proxy_table("header_timeout_seconds = 60"), listen=())
    server = site.start()
    with raw(server), raw(server, b"PROXY "):
        time.sleep(0.2)
        start = time.monotonic()

        assert server.stop() == 0
        assert time.monotonic() - start < 8


@needs_activate
@pytest.mark.parametrize("name", ["pop3", "pop3-proxy", "pop3s-proxy", "a name of their own"])
def test_a_socket_of_systemd_is_for_proxies_when_its_name_says_so(tls: TlsSite, name: str) -> None:
    """N-009, N-018: FileDescriptorName= of systemd.socket(5)."""
    first = line("192.0.2.1") if name.endswith("-proxy") else b""
    context, host = (tls.context(), HOST) if name.startswith("pop3s") else (None, None)
    port = free_port()
    server = tls.site.server()
    server.start(command=("systemd-socket-activate", f"--listen=127.0.0.1:{port}", f"--fdname={name}"))
    for _ in server.until("systemd-socket-activate to listen"):
        with (
            contextlib.suppress(ConnectionRefusedError),
            RawClient(("127.0.0.1", port), first=first, tls=context, server_name=host) as client,
        ):
            if name == "pop3-proxy":
                assert client.start_tls(tls.context(), HOST).startswith(b"+OK")
            assert client.log_in("alice", "secret").startswith(b"+OK")
            break
    server.wait_for_log(f"address={'192.0.2.1' if first else '127.0.0.1'} user=alice")


@needs_activate
def test_a_socket_of_systemd_for_proxies_needs_their_networks(site: MailSite) -> None:
    """N-009: without them nobody could be believed."""
    port = free_port()
    server = site.server()
    server.start(command=("systemd-socket-activate", f"--listen=127.0.0.1:{port}", "--fdname=pop3-proxy"))
    for _ in server.until("systemd-socket-activate to listen, and the server to end"):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 5).close()
        if "proxy.networks: must name the proxies, since systemd passed a socket for them" in server.log():
            break


def test_an_address_can_be_given_to_proxies_by_a_reload(site: MailSite) -> None:
    """N-009: its socket stays, since another could not be bound beside it; clients that have come before stay too."""
    port = free_port()
    site.configure(more=CLEAR_TEXT, listen=(f"127.0.0.1:{port}",))
    server = site.start()
    with RawClient(("127.0.0.1", port)) as before:
        site.configure(more=proxy_table().replace("127.0.0.1:0", f"127.0.0.1:{port}"), listen=())
        server.reload()
        for _ in server.until("the new fronts alone"):
            with RawClient(("127.0.0.1", port), first=line("192.0.2.1")) as client:
                if client.ask("NOOP").startswith(b"-ERR command") and client.log_in("alice", "secret").startswith(
                    b"+OK"
                ):
                    client.ask("QUIT")
                if "address=192.0.2.1 user=alice" in server.log():
                    break
        assert before.log_in("bob", "secret").startswith(b"+OK")

    site.configure(more=CLEAR_TEXT, listen=(f"127.0.0.1:{port}", "127.0.0.1:0"))
    server.reload()
    assert f"reloaded listen=127.0.0.1:{port},127.0.0.1:" in server.log()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
