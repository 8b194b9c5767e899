"""Clients that misbehave: each is served or sent away, and nobody else notices."""

from __future__ import annotations

import base64
import contextlib
import gzip
import os
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from popframe.testing.client import RawClient
from popframe.testing.site import MailSite

SHORT_TIMERS = "allow_short_idle_timeout = true\nidle_timeout_seconds = 1\nlogin_timeout_seconds = 1\n"

MANY = "max_connections_per_address = 500\nmax_connections_per_user = 500\n"

MESSAGE = b"Subject: one\n\nhello\n"


def resident_octets(pid: int) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_one_octet_at_a_time_gives_the_same_replies(site: MailSite) -> None:
    """TCP may deliver a session in any pieces (P-025)."""
    site.put("alice", [MESSAGE])
    server = site.start()
    session = b"USER alice\r\nPASS secret\r\nSTAT\r\nLIST\r\nRETR 1\r\nNOPE\r\nTOP 1 0\r\nQUIT\r\n"
    with RawClient(server.addresses[0]) as whole:
        whole.send(session)
        expected = whole.rest()
    with RawClient(server.addresses[0]) as pieces:
        for octet in session:
            pieces.send(bytes([octet]))

        assert pieces.rest() == expected


def test_a_hundred_thousand_pipelined_commands_are_answered_in_order(site: MailSite) -> None:
    """Replies wait for a client that only writes at first; none is lost, and memory stays flat (C-022, C-023)."""
    site.put("alice", [MESSAGE] * 3)
    site.configure("fronts = 1")
    server = site.start()
    client = site.connect(server, "alice")
    before = resident_octets(server.fronts()[0])
    count = 100_000
    writer = threading.Thread(target=client.send, args=(b"STAT\r\nLIST 2\r\n" * (count // 2),))
    writer.start()
    time.sleep(1.0)  # the client reads nothing for a while, so that all buffers on the way fill up
    replies = [client.line() for _ in range(count)]
    writer.join()

    assert set(replies[0::2]) == {b"+OK 3 69\r\n"}
    assert set(replies[1::2]) == {b"+OK 2 23\r\n"}
    assert resident_octets(server.fronts()[0]) - before < 8 << 20


def test_pipelined_retrievals_that_nobody_reads_stop_only_their_own_session(site: MailSite) -> None:
    """The server stops reading such a client, keeps no backlog in memory, and serves others (C-023, H-022, I-7)."""
    site.put("alice", [b"Subject: big\n\n" + b"x" * 70 + b"\n" + b"line\n" * 200_000])
    site.put("bob", [MESSAGE])
    site.configure("fronts = 1")
    server = site.start()
    client = site.connect(server, "alice")
    client.socket.setblocking(False)
    before = resident_octets(server.fronts()[0])
    with contextlib.suppress(BlockingIOError):
        for _ in range(100_000):
            client.socket.send(b"RETR 1\r\n" * 100)
    with contextlib.closing(site.connect(server, "bob")) as other:
        started = time.monotonic()
        assert other.ask("RETR 1").startswith(b"+OK")
        assert other.body() == MESSAGE.replace(b"\n", b"\r\n")

        assert time.monotonic() - started < 5
    assert resident_octets(server.fronts()[0]) - before < 8 << 20
    client.close()


def test_a_client_that_stops_reading_is_cut_off(site: MailSite) -> None:
    """After write_timeout_seconds without progress the session ends, and its lock is free (H-054)."""
    site.put("alice", [b"Subject: big\n\n" + b"line\n" * 4_000_000])
    site.configure("write_timeout_seconds = 1\n")
    server = site.start()
    client = site.connect(server, "alice")
    client.send(b"DELE 1\r\nRSET\r\nRETR 1\r\n")
    server.wait_for_log("outcome=timed-out")
    client.close()

    assert site.connect(server, "alice").ask("STAT").startswith(b"+OK 1 ")


def test_a_slow_reader_is_served_for_as_long_as_it_takes_something(site: MailSite) -> None:
    """Neither timer runs while a reply is being drained, and there is no least speed (P-039, H-055)."""
    site.put("alice", [b"Subject: big\n\n" + b"line\n" * 4_000_000])  # more than fits into the buffers on the way
    site.configure(SHORT_TIMERS + "write_timeout_seconds = 2\n")
    server = site.start()
    client = site.connect(server, "alice")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    client.send(b"RETR 1\r\n")
    status = client.line()
    time.sleep(1.5)  # longer than the idle timer
    left = 24_000_016 + len(b".\r\n")
    while left:
        left -= len(client.piece(1 << 20))

    assert status == b"+OK 24000016 octets\r\n"
    assert client.ask("NOOP").startswith(b"+OK")


@pytest.mark.parametrize("is_logged_in", [False, True])
def test_an_idle_client_is_closed_without_a_word(site: MailSite, *, is_logged_in: bool) -> None:
    """On expiry nothing is said and nothing removed, and the maildrop is free (P-037, P-038)."""
    site.put("alice", [MESSAGE])
    site.configure(SHORT_TIMERS)
    server = site.start()
    client = site.connect(server)
    if is_logged_in:
        client.log_in("alice", "secret")
        client.ask("DELE 1")

    assert client.rest() == b""
    if is_logged_in:
        server.wait_for_log("outcome=timed-out")
        assert b"hello" in site.spool("alice").read_bytes()


def test_only_commands_reset_the_timer(site: MailSite) -> None:
    """A trickle of octets that never becomes a command does not keep a session alive; commands do (P-036, H-053)."""
    site.configure(SHORT_TIMERS)
    server = site.start()
    client = site.connect(server, "alice")
    for _ in range(4):
        time.sleep(0.5)
        assert client.ask("FROB").startswith(b"-ERR")
    started = time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() - started < 10:
            client.send(b"N")
            time.sleep(0.1)

    assert time.monotonic() - started < 5


def test_two_hundred_clients_at_once_are_all_served(site: MailSite) -> None:
    """As many connections as there are users are no reason to refuse one (Q-032)."""
    site.put("alice", [MESSAGE])
    site.configure(MANY)
    server = site.start()
    clients = [site.connect(server) for _ in range(200)]
    for client in clients:
        client.send(b"USER alice\r\nPASS secret\r\n")
    replies = [(client.line(), client.line())[1] for client in clients]
    for client in clients:
        client.close()

    assert sum(reply.startswith(b"+OK") for reply in replies) == 1
    assert sum(reply.startswith(b"-ERR [IN-USE]") for reply in replies) == 199


def test_a_line_without_end_is_answered_once_and_cut_off(site: MailSite) -> None:
    """An endless line costs neither memory nor time (H-001)."""
    server = site.start()
    with RawClient(server.addresses[0]) as client:
        with contextlib.suppress(OSError):
            for _ in range(1000):
                client.send(b"A" * 65_536)

        assert client.rest() == b"-ERR line too long\r\n"


def test_a_browser_is_sent_away_before_its_body_is_read(site: MailSite) -> None:
    """Commands smuggled into the body of a request are never run (H-015)."""
    site.put("alice", [MESSAGE])
    server = site.start()
    with RawClient(server.addresses[0]) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nUSER alice\r\nPASS secret\r\nDELE 1\r\nQUIT\r\n")

        assert client.rest() == b"-ERR unknown command\r\n"
    assert b"hello" in site.spool("alice").read_bytes()


def test_a_flood_of_unknown_commands_ends_with_a_last_reply(site: MailSite) -> None:
    """The limit on bad commands holds, and the last reply arrives although octets are left unread (H-016)."""
    server = site.start()
    with RawClient(server.addresses[0]) as client:
        with contextlib.suppress(OSError):
            client.send(b"FROB\r\n" * 100_000)

        assert client.rest() == b"-ERR unknown command\r\n" * 20


def test_five_wrong_passwords_end_the_connection(site: MailSite) -> None:
    """Three at least are free, so that a client may try each way it knows; the sixth is not heard (Q-012, P-033)."""
    server = site.start()
    with RawClient(server.addresses[0]) as client:
        replies = [client.log_in("alice", f"wrong{number}") for number in range(5)]

        assert all(reply.startswith(b"-ERR [AUTH]") for reply in replies)
        assert client.rest() == b""


def test_half_closed_clients_still_get_their_replies(site: MailSite) -> None:
    """A client that has said all and closed its side is answered; only QUIT updates (H-056, Q-031)."""
    site.put("alice", [MESSAGE] * 2)
    server = site.start()
    for commands, is_update in ((b"DELE 1\r\nSTAT\r\n", False), (b"DELE 1\r\nQUIT\r\n", True)):
        with contextlib.closing(site.connect(server, "alice")) as client:
            client.send(commands)
            client.socket.shutdown(socket.SHUT_WR)

            assert client.rest().startswith(b"+OK message 1 deleted\r\n+OK ")
        assert site.spool("alice").read_bytes().count(b"hello") == (1 if is_update else 2)


def test_quit_counts_although_the_client_is_gone(site: MailSite) -> None:
    """Once QUIT was received the update is done, whether anybody reads the reply or not (P-078)."""
    site.put("alice", [MESSAGE] * 2)
    server = site.start()
    client = site.connect(server, "alice")
    client.send(b"DELE 1\r\nQUIT\r\n")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()  # a reset, not a FIN
    server.wait_for_log("session-ended")

    count = site.spool("alice").read_bytes().count(b"hello")
    assert count == (1 if "outcome=quit" in server.log() else 2)


@pytest.mark.parametrize("is_reset", [True, False], ids=["reset", "close"])
def test_a_connection_that_breaks_anywhere_leaves_nothing_behind(site: MailSite, *, is_reset: bool) -> None:
    """H-058: after each octet of a session up to QUIT: no descriptor, no thread, no lock, and nothing is removed."""
    site.put("alice", [MESSAGE] * 2)
    site.configure("fronts = 1", "[abuse]\nmax_connections_per_minute = 0\n")
    server = site.start()
    front = server.fronts()[0]
    script = b"CAPA\r\nUSER alice\r\nPASS secret\r\nSTAT\r\nDELE 1\r\nRETR 2\r\nQUI"
    site.connect(server, "alice").close()
    before = len(os.listdir(f"/proc/{front}/fd"))
    for length in range(len(script) + 1):
        with RawClient(server.addresses[0]) as client:
            client.send(script[:length])
            if is_reset:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for _ in server.until("the maildrop and all descriptors"):
        with RawClient(server.addresses[0]) as client:
            is_free = client.log_in("alice", "secret").startswith(b"+OK maildrop has 2 messages")
        if is_free and len(os.listdir(f"/proc/{front}/fd")) <= before + 1:
            break

    assert len(os.listdir(f"/proc/{front}/task")) < 40
    assert site.spool("alice").read_bytes().count(b"hello") == 2


def test_expensive_commands_without_end_keep_nobody_waiting(site: MailSite) -> None:
    """H-061: one client asks for listings and tops of a large maildrop all the time, another reads its mail."""
    site.put("alice", [MESSAGE] * 2000)
    site.put("bob", [MESSAGE])
    site.configure("fronts = 1")
    server = site.start()
    greedy = site.connect(server, "alice")
    is_over = threading.Event()

    def ask_on() -> None:
        while not is_over.is_set():
            greedy.send(b"UIDL\r\nLIST\r\n" + b"TOP 1 1\r\nSTAT\r\n" * 100)
            for _ in range(2):
                greedy.line()
                greedy.body()
            for _ in range(100):
                greedy.line()
                greedy.body()
                greedy.line()

    thread = threading.Thread(target=ask_on)
    thread.start()
    try:
        for _ in range(20):
            started = time.monotonic()
            with contextlib.closing(site.connect(server, "bob")) as client:
                assert client.ask("RETR 1").startswith(b"+OK")
                client.body()
                assert client.ask("QUIT").startswith(b"+OK")
            assert time.monotonic() - started < 5
    finally:
        is_over.set()
        thread.join()


def test_bombs_in_a_message_are_octets(site: MailSite) -> None:
    """H-062: parts within parts ten thousand deep, and what would unpack to gigabytes: nobody looks."""
    deep = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(10_000))
    packed = base64.encodebytes(gzip.compress(bytes(20_000_000)))
    site.put("alice", [b"Subject: deep\n" + deep, b"Content-Encoding: gzip\n\n" + packed])
    server = site.start()
    client = site.connect(server, "alice")

    for number, text in ((1, deep), (2, packed)):
        assert client.ask(f"RETR {number}").startswith(b"+OK")
        assert client.body().replace(b"\r\n", b"\n").rstrip(b"\n").endswith(text.rstrip(b"\n"))


def test_a_thousand_connections_that_say_nothing_leave_no_trace(site: MailSite) -> None:
    """Port scans and monitors neither fill the log nor leak descriptors or threads (Q-017)."""
    site.configure("fronts = 1")
    server = site.start()
    front = server.fronts()[0]
    RawClient(server.addresses[0]).close()
    before = len(os.listdir(f"/proc/{front}/fd"))
    for _ in range(1000):
        RawClient(server.addresses[0]).close()
    for _ in server.until("all descriptors to be closed"):
        if len(os.listdir(f"/proc/{front}/fd")) <= before:
            break

    assert "session-ended" not in server.log()


@pytest.mark.timeout(300)
def test_a_message_of_two_gigabytes_is_streamed(site: MailSite) -> None:
    """Sizes are 64-bit, and memory does not grow with a message (H-060, P-045)."""
    size = 2 << 30
    with site.spool("alice").open("wb") as spool:
        spool.write(b"From sender@example.org Mon Jan  5 09:00:00 2026\nSubject: big\n\n")
        spool.seek(size, os.SEEK_CUR)
        spool.write(b"\nend\n\n")
    site.hand_over()
    site.configure("fronts = 1")
    server = site.start()
    client = site.connect(server, "alice")
    octets = 14 + 2 + size + 2 + 5
    before = resident_octets(server.fronts()[0])

    assert client.ask("LIST 1") == b"+OK 1 %d\r\n" % octets
    assert client.ask("RETR 1") == b"+OK %d octets\r\n" % octets
    received = 0
    tail = b""
    while not tail.endswith(b"end\r\n.\r\n"):
        piece = client.piece(1 << 20)
        received += len(piece)
        tail = (tail + piece)[-8:]
    assert received == octets + 3
    assert resident_octets(server.fronts()[0]) - before < 8 << 20
