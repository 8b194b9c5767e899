"""Sessions on a real server: how they begin, what they see, how they end, and what the network does to them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable

import pytest

from popframe.testing.client import RawClient
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite

MESSAGES = [b"Subject: one\n\nhello\n", b"Subject: two\n\nbye\n", b"Subject: three\n\n.\n"]

GREETING_SECONDS = 2.0
"""A client that waits longer for a greeting gives up."""

RECOVERY_SECONDS = 60.0
"""How long the maildrop of a session whose process died may stay locked; popframe needs no time for it at all."""


def listing(client: RawClient, command: str) -> bytes:
    """Return a multi-line reply without its status line."""
    assert client.ask(command).startswith(b"+OK")
    return client.body()


def reset(client: RawClient, _server: ServerProcess) -> None:
    """Break the connection off with a reset instead of a FIN."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def kill_front(_client: RawClient, server: ServerProcess) -> None:
    """Kill the process that serves the session."""
    for pid in server.fronts():
        os.kill(pid, signal.SIGKILL)


def test_the_server_speaks_first_and_says_one_line(site: MailSite) -> None:
    """The greeting comes at once and unasked, and nothing behind it (P-001, RFC 1939 section 4)."""
    server = site.start()
    started = time.monotonic()
    with RawClient(server.addresses[0]) as client:
        assert time.monotonic() - started < GREETING_SECONDS
        assert client.greeting == b"+OK POP3 server ready\r\n"
        assert select.select([client.socket], [], [], 0.5)[0] == []


def test_commands_before_login_win_no_time(site: MailSite) -> None:
    """login_timeout_seconds is for the whole time up to the login, unlike RFC 1939 section 3 (P-035, P-038)."""
    site.configure("login_timeout_seconds = 1\n")
    server = site.start()
    started = time.monotonic()
    with RawClient(server.addresses[0]) as client, contextlib.suppress(ConnectionError):
        while client.ask("USER alice"):
            assert time.monotonic() - started < 10
            time.sleep(0.1)

    assert time.monotonic() - started >= 1


@pytest.mark.parametrize("end", [reset, kill_front])
def test_a_session_that_breaks_off_removes_nothing_and_leaves_no_lock(
    site: MailSite, end: Callable[[RawClient, ServerProcess], None]
) -> None:
    """Whoever comes next finds every message, under the same unique-id (P-030, P-082, P-094, Q-029)."""
    site.put("alice", MESSAGES)
    server = site.start()
    client = site.connect(server, "alice")
    uids = listing(client, "UIDL")
    for number in (1, 2, 3):
        client.ask(f"DELE {number}")
    end(client, server)

    for _ in server.until("the maildrop to be free", RECOVERY_SECONDS):
        with contextlib.suppress(ConnectionError), RawClient(server.addresses[0]) as other:
            reply = other.log_in("alice", "secret")
            if reply.startswith(b"+OK"):
                assert listing(other, "UIDL") == uids
                break
            assert reply.startswith(b"-ERR [IN-USE]") or not reply


def test_a_maildrop_that_cannot_be_opened_can_be_opened_when_it_was_mended(site: MailSite) -> None:
    """The session stays before the login, and holds nothing (P-032, C-037)."""
    site.put("alice", MESSAGES)
    aside = site.directory / "aside"
    site.spool("alice").rename(aside)
    site.spool("alice").mkdir()
    server = site.start()
    with RawClient(server.addresses[0]) as client:
        assert client.log_in("alice", "secret").startswith(b"-ERR [SYS/PERM] ")
        assert client.ask("STAT").startswith(b"-ERR")
        site.spool("alice").rmdir()
        aside.rename(site.spool("alice"))

        assert client.log_in("alice", "secret").startswith(b"+OK")
        assert client.ask("STAT").startswith(b"+OK 3 ")


def test_mail_that_arrives_during_a_session_waits_for_the_next(site: MailSite) -> None:
    """Number, order, sizes and unique-ids stay those of the login; QUIT keeps the newcomer (P-034, P-072, P-077)."""
    site.put("alice", MESSAGES)
    server = site.start()
    client = site.connect(server, "alice")
    before = [client.ask("STAT"), listing(client, "LIST"), listing(client, "UIDL")]
    with site.spool("alice").open("ab") as spool:
        spool.write(b"From late@example.org Mon Jan  5 10:00:00 2026\nSubject: late\n\nstill here\n\n")

    assert [client.ask("STAT"), listing(client, "LIST"), listing(client, "UIDL")] == before
    assert client.ask("RETR 4").startswith(b"-ERR")
    client.ask("DELE 2")
    client.ask("RSET")
    assert [client.ask("STAT"), listing(client, "LIST"), listing(client, "UIDL")] == before
    client.ask("DELE 2")
    assert client.ask("QUIT").startswith(b"+OK")

    after = site.connect(server, "alice")
    uids = [line.split()[1] for line in listing(after, "UIDL").splitlines()]
    assert [uids[0], uids[1]] == [before[2].split()[1], before[2].split()[5]]
    assert [listing(after, f"RETR {number}").splitlines()[0] for number in (1, 2, 3)] == [
        b"Subject: one",
        b"Subject: three",
        b"Subject: late",
    ]


def test_urgent_data_is_no_part_of_a_command(site: MailSite) -> None:
    """What TCP carries beside the stream, a server of lines does not see (H-017)."""
    server = site.start()
    with RawClient(server.addresses[0]) as client:
        client.send(b"USER al")
        client.socket.send(b"!", socket.MSG_OOB)
        client.send(b"ice\r\nPASS secret\r\n")

        assert client.line() == b"+OK send PASS\r\n"
        assert client.line().startswith(b"+OK")


@pytest.mark.timeout(240)  # on a loaded machine TCP looks ever more rarely whether the window has opened
def test_a_tiny_window_and_a_slow_writer_get_the_same_replies(site: MailSite) -> None:
    """Little room to send into, and octets that come one by one, cost nothing but time (H-017, P-025)."""
    line_count = 200
    site.put("alice", [b"Subject: long\n\n" + b".a line of some length\n" * line_count])
    server = site.start()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the system makes it the least it has
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(200)
        connection.connect(server.addresses[0])
        for octet in b"USER alice\r\nPASS secret\r\nRETR 1\r\nQUIT\r\n":
            connection.send(bytes([octet]))
            time.sleep(0.01)
        with connection.makefile("rb") as lines:
            replies = lines.read().splitlines(keepends=True)

    body = replies[4:-2]
    assert replies[3] == b"+OK %d octets\r\n" % (len(b"Subject: long\r\n\r\n") + 24 * line_count)
    assert body == [b"Subject: long\r\n", b"\r\n", *[b"..a line of some length\r\n"] * line_count]
    assert replies[-2] == b".\r\n"
    assert replies[-1].startswith(b"+OK bye")
