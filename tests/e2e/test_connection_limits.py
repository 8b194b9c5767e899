"""How many may be connected: over all processes, from one address, as one user; and who makes room for whom."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

from popframe.testing.client import RawClient
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite

from .tls_site import HOST, TlsSite


def refused(server: ServerProcess, source: str | None = None) -> bool:
    """Tell whether a new connection is turned away politely."""
    with RawClient(server.addresses[0], source=source) as client:
        return client.greeting == b"-ERR [SYS/TEMP] too many connections, try again later\r\n"


def test_connections_of_one_address_are_limited_and_others_are_not(site: MailSite) -> None:
    """The limit counts over all fronts, and goes away with the connections (Q-032, H-057)."""
    site.configure("max_connections_per_address = 5\n")
    server = site.start()
    clients = [site.connect(server) for _ in range(5)]

    assert refused(server)
    assert not refused(server, "127.0.0.2")
    server.wait_for_log("connection-refused address=127.0.0.1")
    for client in clients:
        client.close()
    for _ in server.until("the places to be free again"):
        if not refused(server):
            return


FEW = "fronts = 1\nmax_connections = 3\nmax_connections_per_address = 2\nmax_connections_per_user = 3\n"


def test_connections_in_all_are_limited(site: MailSite) -> None:
    """One beyond max_connections is turned away, wherever it comes from, when all others are logged in."""
    site.configure(FEW, 'session_lock = "shared"\n')
    server = site.start()
    clients = [site.connect(server, source=f"127.0.0.{number}") for number in (1, 2, 3)]
    for client in clients:
        assert client.log_in("alice", "secret").startswith(b"+OK")

    assert refused(server, "127.0.0.4")
    assert all(client.ask("NOOP").startswith(b"+OK") for client in clients)


def test_who_does_not_log_in_gives_way(site: MailSite) -> None:
    """H-057: of the address that has most of such connections, the oldest; a login is never ended for others."""
    site.configure(FEW)
    server = site.start()
    known = site.connect(server, source="127.0.0.1")
    assert known.log_in("alice", "secret").startswith(b"+OK")
    older, newer = (site.connect(server, source="127.0.0.2") for _ in range(2))

    assert not refused(server, "127.0.0.3")
    assert older.rest() == b""
    assert "connection-dropped session=" in server.log()
    assert newer.ask("NOOP").startswith(b"-ERR")
    assert known.ask("NOOP").startswith(b"+OK")
    assert server.count_in_log("connection-refused") == 0


def test_whoever_is_refused_for_its_address_takes_no_place(site: MailSite) -> None:
    """An address beyond its own limit does not end what others have begun."""
    site.configure(FEW)
    server = site.start()
    mine = [site.connect(server, source="127.0.0.2") for _ in range(2)]
    other = site.connect(server, source="127.0.0.3")

    assert refused(server, "127.0.0.2")
    assert all(client.ask("NOOP").startswith(b"-ERR") for client in (*mine, other))


def test_many_that_come_at_once_each_get_a_place(site: MailSite) -> None:
    """Each of them ends another one."""
    site.configure(
        "fronts = 1\nmax_connections = 20\nmax_connections_per_address = 10\nmax_connections_per_user = 20\n"
    )
    server = site.start()
    idle = [site.connect(server, source=f"127.0.0.{2 + number % 2}") for number in range(20)]
    with ThreadPoolExecutor(10) as pool:
        assert not any(pool.map(lambda number: refused(server, f"127.0.0.{10 + number}"), range(10)))
    poll = select.poll()
    for client in idle:
        poll.register(client.socket, select.POLLRDHUP)
    dropped = server.count_in_log("connection-dropped")
    assert 0 < dropped <= 10
    assert len(poll.poll(0)) == dropped


def test_sessions_of_one_user_are_limited(site: MailSite) -> None:
    """A user beyond max_connections_per_user is told so with a right password, and it is in the log."""
    site.configure("max_connections_per_user = 1\n")
    server = site.start()
    with RawClient(server.addresses[0]) as first, RawClient(server.addresses[0]) as second:
        assert first.log_in("alice", "secret").startswith(b"+OK")

        assert second.log_in("alice", "secret") == b"-ERR [SYS/TEMP] too many connections, try again later\r\n"
        assert first.ask("QUIT").startswith(b"+OK")
        for _ in server.until("the place to be free again"):
            if second.log_in("alice", "secret").startswith(b"+OK"):
                break
    server.wait_for_log("max_connections_per_user")


def test_a_dead_front_frees_its_places(site: MailSite) -> None:
    """Sessions that died with a front no longer count."""
    site.configure("fronts = 1\nmax_connections_per_address = 2\n")
    server = site.start()
    for _ in range(2):
        site.connect(server)
    assert refused(server)
    os.kill(server.fronts()[0], signal.SIGKILL)
    server.wait_for_log("front-died")
    for _ in server.until("a new front with free places"):
        with contextlib.suppress(ConnectionError):
            if not refused(server):
                break


def test_who_does_not_speak_tls_where_it_comes_first_gives_way(site: MailSite) -> None:
    """T-040, H-057: also one that is in the middle of a handshake; that is no failure of TLS."""
    tls = TlsSite(site)
    tls.configure(server=FEW.replace("per_address = 2", "per_address = 3"))
    server = site.start()
    with contextlib.ExitStack() as opened:
        silent = [
            opened.enter_context(socket.create_connection(server.tls_addresses[0], 30, ("127.0.0.2", 0)))
            for _ in range(3)
        ]
        poll = select.poll()
        for connection in silent:
            poll.register(connection, select.POLLRDHUP)
        for _ in server.until("all three to be counted, and one to give way"):
            with RawClient(server.tls_addresses[0], source="127.0.0.4", tls=tls.context(), server_name=HOST) as client:
                assert client.greeting.startswith(b"+OK")
            if gone := poll.poll(0):
                break
    assert len(gone) == server.count_in_log("connection-dropped") == 1
    assert "tls-failed" not in server.log()
