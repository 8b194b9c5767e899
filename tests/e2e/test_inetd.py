"""``popframe inetd``: one session on descriptor 0, whoever has accepted it."""

from __future__ import annotations

import os
import pwd
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from popframe.testing.site import RUN_AS, MailSite

from .inetd_room import (
    MESSAGES,
    Started,
    children_of,
    connections_of,
    lines_of,
    log_in,
    log_to,
    needs_root,
    per_user_site,
    started,
    status_of,
    until,
)

PLUGIN = '''
import gc
import os
import sys
import threading

from popframe import Command, Reply, hookimpl
from popframe.extension import IN_TRANSACTION


class Talkative:
    """Says whatever it is told on standard output and standard error, and what it sees."""

    @hookimpl
    def popframe_session_started(self, session_id, peer):
        print(f"started {peer.address or '-'}", flush=True)
        print("to standard error", file=sys.stderr, flush=True)
        os.write(1, b"raw output")
        os.write(2, b"raw error")
        with open(os.environ["EVENTS"], "a") as events:
            print("started", peer.address or "-", peer.port, file=events)

    @hookimpl
    def popframe_login_failed(self, failure):
        with open(os.environ["EVENTS"], "a") as events:
            print("failed", failure.username, failure.code, file=events)

    @hookimpl
    def popframe_session_ended(self, summary):
        with open(os.environ["EVENTS"], "a") as events:
            print("ended", summary.username, summary.outcome.value, summary.deleted_count, file=events)

    @hookimpl
    def popframe_register_commands(self):
        yield Command("XUSER", lambda context, arguments: Reply(f"{os.geteuid()}"), IN_TRANSACTION)
        yield Command("XGC", lambda context, arguments: Reply(f"{gc.isenabled()}"), IN_TRANSACTION)
'''


# --- one session


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_one_client_is_served_and_the_process_ends(site: MailSite, syslog: socket.socket, unix: bool) -> None:
    """Greeting, login, removal, QUIT, exit status 0; the log has the same lines as that of a server."""
    site.configure(more=log_to(site))
    site.put("alice", MESSAGES)
    with started(site.configuration, pair=socket.socketpair() if unix else None) as client:
        assert client.lines.readline() == b"+OK POP3 server ready\r\n"
        assert log_in(client).startswith(b"+OK maildrop has 2 messages")
        assert client.ask("DELE 1").startswith(b"+OK")
        assert client.ask("QUIT") == b"+OK bye, 1 messages left\r\n"
        assert client.lines.read() == b""
        assert client.end() == 0
    lines = lines_of(syslog, "session-ended")

    assert b"Subject: one" not in site.spool("alice").read_bytes()
    assert b"Subject: two" in site.spool("alice").read_bytes()
    address = "-" if unix else "127.0.0.1"
    assert re.search(rf"login session=\w+-1 address={address} user=alice", lines[0])
    assert "outcome=quit" in lines[-1]
    assert "deleted=1/" in lines[-1]


def test_an_ipv4_client_of_an_ipv6_socket_has_its_ipv4_address(site: MailSite) -> None:
    """In the log and for the plugins, whichever socket has accepted it."""
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::ffff:127.0.0.1", 0))
        listener.listen()
        ours = socket.create_connection(("127.0.0.1", listener.getsockname()[1]))
        theirs = listener.accept()[0]
    with started(site.configuration, errors_to_client=False, pair=(ours, theirs)) as client:
        client.lines.readline()
        log_in(client)
        client.ask("QUIT")

        assert " address=127.0.0.1 user=alice" in client.errors()


@pytest.mark.parametrize("target", ["stderr", "syslog"])
def test_nothing_but_replies_reaches_the_client(
    site: MailSite, syslog: socket.socket, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the log, whatever its target, nor what a plugin prints; descriptors 1 and 2 are the connection too."""
    events = site.directory / "events"
    monkeypatch.setenv("EVENTS", str(events))
    (site.directory / "talkative.py").write_text(PLUGIN)
    site.configure(plugins=("./talkative.py", "auth_file", "store_mbox"), more=log_to(site, target))
    events.touch()
    events.chmod(0o666)
    with started(site.configuration) as client:
        assert client.lines.readline() == b"+OK POP3 server ready\r\n"
        assert log_in(client, "wrong").startswith(b"-ERR [AUTH]")
        assert log_in(client).startswith(b"+OK")
        assert client.ask("QUIT").startswith(b"+OK bye")
        port = client.socket.getsockname()[1]
        assert client.lines.read() == b""
        assert client.end() == 0

    assert [line.split(" ")[0] for line in map(event_of, lines_of(syslog, "session-ended"))] == [
        "login-failed",
        "login",
        "session-ended",
    ]
    assert events.read_text().splitlines() == [f"started 127.0.0.1 {port}", "failed alice AUTH", "ended alice quit 0"]


def event_of(line: str) -> str:
    """Return a line of the system log without its head."""
    return line.partition("popframe: ")[2]


def test_the_log_is_dropped_where_it_could_only_go_to_the_client(site: MailSite) -> None:
    """Standard error is the connection, and there is no system log."""
    site.configure(more=log_to(site, "stderr"))
    with started(site.configuration) as client:
        client.lines.readline()
        assert log_in(client).startswith(b"+OK")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.lines.read() == b""
        assert client.end() == 0


def test_the_log_goes_to_standard_error_where_that_is_something_else(site: MailSite) -> None:
    """As under systemd, where it is the journal."""
    with started(site.configuration, errors_to_client=False) as client:
        client.lines.readline()
        log_in(client)
        client.ask("QUIT")
        assert client.end() == 0
        errors = client.errors()

    assert " login session=" in errors
    assert "outcome=quit" in errors
    assert "secret" not in errors


def test_a_client_that_vanishes_removes_nothing(site: MailSite) -> None:
    """Exit status 0: a session is over, however it ended (RFC 1939 section 6)."""
    site.put("alice", MESSAGES)
    with started(site.configuration) as client:
        client.lines.readline()
        log_in(client)
        client.ask("DELE 1")
        client.socket.shutdown(socket.SHUT_RDWR)
        assert client.end() == 0

    assert site.spool("alice").read_bytes().count(b"From sender") == 2


def test_sigterm_ends_the_session_without_update(site: MailSite) -> None:
    """As when systemd stops the unit."""
    site.put("alice", MESSAGES)
    with started(site.configuration, errors_to_client=False) as client:
        client.lines.readline()
        log_in(client)
        client.ask("DELE 1")
        client.process.send_signal(signal.SIGTERM)
        assert client.lines.read() == b""
        assert client.end() == 0
        assert "outcome=shut-down" in client.errors()

    assert site.spool("alice").read_bytes().count(b"From sender") == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a process that gives it up")
def test_root_becomes_run_as_before_the_session(site: MailSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one process for all users it is run_as from the greeting on, and for good."""
    monkeypatch.setenv("EVENTS", os.devnull)
    (site.directory / "talkative.py").write_text(PLUGIN)
    site.configure(plugins=("./talkative.py", "auth_file", "store_mbox"))
    with started(site.configuration) as client:
        client.lines.readline()
        nobody = str(pwd.getpwnam(RUN_AS).pw_uid)
        status = status_of(client.process.pid)
        assert status["Uid"].split() == [nobody] * 4
        log_in(client)
        assert client.ask("XUSER") == f"+OK {nobody}\r\n".encode()


# --- one session of a user of its own


@needs_root
def test_root_becomes_the_user_for_the_mail_alone() -> None:
    """The process that reads POP3 is run_as; the mail belongs to a process of its user; none is left over."""
    with per_user_site() as (site, uid), started(site.configuration, errors_to_client=False) as client:
        assert client.lines.readline().startswith(b"+OK")
        nobody = str(pwd.getpwnam(RUN_AS).pw_uid)
        assert status_of(client.process.pid)["Uid"].split() == [nobody] * 4
        assert log_in(client, "wrong").startswith(b"-ERR [AUTH]")
        assert log_in(client).startswith(b"+OK maildrop has 2 messages")
        (gate,) = children_of(client.process.pid)
        (session,) = (pid for pid in children_of(gate) if status_of(pid)["State"][0] != "Z")
        assert status_of(gate)["Uid"].split() == ["0"] * 4
        assert status_of(session)["Uid"].split() == [str(uid)] * 4
        assert status_of(session)["NoNewPrivs"] == "1"
        assert not connections_of(gate)
        assert len(connections_of(session)) == len(connections_of(client.process.pid)) == 1
        assert client.ask("DELE 2").startswith(b"+OK")
        assert client.ask("QUIT") == b"+OK bye, 1 messages left\r\n"
        assert client.lines.read() == b""
        assert client.end() == 0
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (gate, session)), "they end too")
        errors = client.errors()

        assert "outcome=quit" in errors
        assert "deleted=1/" in errors
        assert site.spool("alice").stat().st_uid == uid
        assert site.spool("alice").read_bytes().count(b"From sender") == 1


@needs_root
def test_no_process_is_left_over_when_the_first_dies() -> None:
    """The gate ends when nobody is left who could ask it, the session with its client's connection."""
    with per_user_site() as (site, _), started(site.configuration) as client:
        client.lines.readline()
        log_in(client)
        (gate,) = children_of(client.process.pid)
        (session,) = children_of(gate)
        client.process.kill()
        client.end()
        client.socket.close()
        client.lines.close()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (gate, session)), "they end too")
        assert site.spool("alice").read_bytes().count(b"From sender") == 2


@needs_root
def test_a_long_session_of_a_user_frees_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start goes without the search for what can be freed; the process of the user has it again."""
    monkeypatch.setenv("EVENTS", os.devnull)
    with per_user_site() as (site, uid):
        (site.directory / "talkative.py").write_text(PLUGIN)
        text = site.configuration.read_text()
        site.configuration.write_text(text.replace("plugins = [", 'plugins = ["./talkative.py", '))
        with started(site.configuration) as client:
            client.lines.readline()
            log_in(client)
            assert client.ask("XUSER") == f"+OK {uid}\r\n".encode()
            assert client.ask("XGC") == b"+OK True\r\n"


@needs_root
def test_sigterm_ends_the_process_of_the_user_too() -> None:
    """Without an update, and the log says why."""
    with per_user_site() as (site, _), started(site.configuration, errors_to_client=False) as client:
        client.lines.readline()
        log_in(client)
        client.ask("DELE 1")
        (gate,) = children_of(client.process.pid)
        client.process.send_signal(signal.SIGTERM)
        assert client.lines.read() == b""
        assert client.end() == 0
        until(lambda: not Path(f"/proc/{gate}").exists(), "the gate ends")
        assert "outcome=shut-down" in client.errors()
        assert site.spool("alice").read_bytes().count(b"From sender") == 2


@needs_root
def test_a_trace_shows_what_the_process_of_the_user_does() -> None:
    """The file is opened before anybody gives up root, and is root's alone."""
    with per_user_site() as (site, _):
        trace = site.directory / "trace"
        with started(site.configuration, "-t", str(trace)) as client:
            client.lines.readline()
            log_in(client)
            client.ask("STAT")
            client.ask("QUIT")
            client.end()
        text = trace.read_text()

        assert 'command="PASS ****"' in text
        assert "secret" not in text
        assert 'command=STAT reply="+OK 2 ' in text
        assert (trace.stat().st_uid, trace.stat().st_mode & 0o777) == (0, 0o600)


@pytest.mark.usefixtures("syslog")
def test_a_system_log_that_is_down_keeps_nobody_from_the_mail(site: MailSite) -> None:
    """A server of its own would not start without it; here there is a client already."""
    site.configure(more='[log]\ntarget = "syslog"\nsyslog_address = "/nowhere/log"\n')
    with started(site.configuration) as client:
        client.lines.readline()
        assert log_in(client).startswith(b"+OK")
        client.ask("QUIT")
        assert client.end() == 0


def test_a_delay_that_nobody_could_keep_is_not_announced(site: MailSite) -> None:
    """One process does not know when the user was here last; wrong passwords count for its own session (C-020)."""
    site.configure(more=log_to(site) + "[abuse]\nlogin_delay_seconds = 60\ndelay_after = 0\n")
    for _ in range(2):
        with started(site.configuration) as client:
            client.lines.readline()
            assert b"LOGIN-DELAY" not in b"".join(capabilities(client))
            assert client.ask("USER alice").startswith(b"+OK")
            assert client.ask("PASS wrong").startswith(b"-ERR [AUTH]")
            began = time.monotonic()
            assert log_in(client).startswith(b"+OK")
            assert time.monotonic() - began >= 0.5
            client.ask("QUIT")
            assert client.end() == 0


def capabilities(client: Started) -> Iterator[bytes]:
    """Ask for the capabilities, and yield their lines."""
    assert client.ask("CAPA").startswith(b"+OK")
    while (line := client.lines.readline()) not in (b".\r\n", b""):
        yield line
