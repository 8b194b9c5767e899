"""``[trace]``: chosen sessions are written down, command by command, by whichever process they are in."""

from __future__ import annotations

import base64
import contextlib
import os
import pwd
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from popframe.testing import RawClient, ServerProcess
from popframe.testing.site import RUN_AS, MailSite

from .isolated_site import Site

MESSAGE = b"Subject: one\n\nhello from the message\n"
TRACED = re.compile(r' command session=(\S+) address=(\S+) command=("[^"]*"|\S+) reply=("[^"]*"|\S+)')

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sessions that become each user")


def commands(text: str) -> list[str]:
    """Return the commands of a trace."""
    return [match[3].strip('"') for match in TRACED.finditer(text)]


def test_a_trace_has_the_whole_session_of_a_user(site: MailSite) -> None:
    """From the greeting on, in a file of its own; other sessions are not in it, nor passwords, nor messages."""
    trace = site.directory / "trace"
    site.put("alice", [MESSAGE])
    site.configure(more='[trace]\nusers = ["alice"]\nfile = "trace"\n')
    server = site.start()
    for user in ("bob", "alice"):
        client = site.connect(server)
        client.ask("CAPA")
        client.body()
        assert client.log_in(user, "wrong").startswith(b"-ERR [AUTH]")
        assert client.log_in(user, "secret").startswith(b"+OK")
        client.ask("LIST 1")
        client.ask("QUIT")
    server.wait_for_log(" outcome=quit")
    server.wait_for_log("user=alice outcome=quit")
    text = trace.read_text()

    assert commands(text) == [
        "(connection)",
        "CAPA",
        "USER alice",
        "PASS ****",
        "USER alice",
        "PASS ****",
        "LIST 1",
        "QUIT",
    ]
    assert re.search(r' login-failed session=\S+ address=127\.0\.0\.1 user=alice code=AUTH reason="', text)
    assert " trace-ended " in text
    assert "secret" not in text
    assert "hello" not in text
    assert trace.stat().st_mode & 0o777 == 0o600
    assert trace.stat().st_uid == (pwd.getpwnam(RUN_AS).pw_uid if os.geteuid() == 0 else os.geteuid())


@pytest.mark.parametrize("isolation", ["shared", pytest.param("per-user", marks=needs_root)])
def test_exchanges_are_masked_and_name_their_user(folder: Path, isolation: str) -> None:
    """AUTH shows its mechanism and nothing of what is proven; a failed one belongs to whom it claimed to be."""
    user = "alice"
    trace = f'[trace]\nusers = ["{user}"]\nfile = "traces/trace"'
    with traced_server(folder, isolation, trace) as server, RawClient(server.addresses[0]) as client:
        assert client.ask("AUTH PLAIN").startswith(b"+ ")
        assert client.ask(base64.b64encode(b"\0alice\0wrong").decode()).startswith(b"-ERR [AUTH]")
        assert client.ask("AUTH c2VjcmV0").startswith(b"-ERR")
        assert client.ask("AUTH PLAIN " + base64.b64encode(b"\0alice\0secret").decode()).startswith(b"+OK")
        assert client.ask("QUIT").startswith(b"+OK")
        server.wait_for_log("user=alice outcome=quit")
        text = (folder / "traces" / "trace").read_text()

    elsewhere = ["(login)"] if isolation == "per-user" else []
    expected = ["(connection)", "AUTH PLAIN", "****", "AUTH ****", "AUTH PLAIN ****", *elsewhere, "QUIT"]
    assert commands(text) == expected
    assert " login-failed " in text
    for secret in (b"\0alice\0wrong", b"\0alice\0secret", b"secret"):
        assert base64.b64encode(secret).decode() not in text
    assert "c2VjcmV0" not in text


@contextlib.contextmanager
def traced_server(folder: Path, isolation: str, trace: str) -> Iterator[ServerProcess]:
    """Run a server that has alice, in one process for all users or one for each."""
    (folder / "traces").mkdir()
    if os.geteuid() == 0:
        os.chown(folder / "traces", pwd.getpwnam(RUN_AS).pw_uid, -1)
    if isolation == "per-user":
        with Site(folder, ["alice"], store=trace).server as server:
            yield server
        return
    with MailSite({"alice": "secret"}) as site:
        site.configure(more=trace.replace("traces/", f"{folder}/traces/"))
        yield site.start()


def test_traces_are_lines_of_the_log_without_a_file(site: MailSite) -> None:
    """At level info, for a network."""
    site.configure(more='[trace]\nnetworks = ["127.0.0.2"]\n')
    server = site.start()
    for source in ("127.0.0.1", "127.0.0.2"):
        client = site.connect(server, "alice", source=source)
        client.ask("QUIT")
    server.wait_for_log('reply="+OK bye')

    assert {match[2] for match in TRACED.finditer(server.log())} == {"127.0.0.2"}
    assert commands(server.log()) == ["(connection)", "USER alice", "PASS ****", "QUIT"]


def test_messages_are_written_only_when_that_is_wanted(site: MailSite) -> None:
    """Line by line, as they are sent, into the file."""
    site.put("alice", [MESSAGE])
    site.configure(more='[trace]\nall_sessions = true\nfile = "trace"\nbodies = true\n')
    server = site.start()
    client = site.connect(server, "alice")
    client.ask("RETR 1")
    client.body()
    client.ask("QUIT")
    lines = (site.directory / "trace").read_text().splitlines()

    assert [line.partition(" line=")[2] for line in lines if " body session=" in line] == [
        '"Subject: one"',
        '""',
        '"hello from the message"',
        ".",
    ]
    assert "hello" not in server.log()


def test_tracing_is_switched_by_a_reload(site: MailSite) -> None:
    """For sessions that begin after it; those that run stay as they are."""
    server = site.start()
    before = site.connect(server, "alice")
    site.configure(more='[trace]\nall_sessions = true\nfile = "trace"\n')
    server.reload()
    trace = site.directory / "trace"
    for _ in server.until("the new fronts, which look at the file first"):
        if trace.exists():
            break
    for _ in server.until("a session of a new front"):
        client = site.connect(server, "bob")
        client.ask("STAT")
        if "STAT" in trace.read_text():
            break
        client.close()
    before.ask("LIST")
    assert "alice" not in trace.read_text()
    site.configure()
    server.reload()
    client.ask("UIDL 7")

    assert "UIDL 7" in trace.read_text()


def test_a_moved_trace_goes_on_in_a_new_file(site: MailSite) -> None:
    """In the middle of a session."""
    site.configure(more='[trace]\nall_sessions = true\nfile = "trace"\n')
    server = site.start()
    client = site.connect(server, "alice")
    (site.directory / "trace").rename(site.directory / "trace.1")
    client.ask("STAT")

    assert commands((site.directory / "trace.1").read_text())[-1] == "PASS ****"
    assert commands((site.directory / "trace").read_text()) == ["STAT"]


def test_a_trace_that_cannot_be_written_is_told_at_the_start(site: MailSite) -> None:
    """By every front; the sessions go on."""
    site.configure(more='[trace]\nall_sessions = true\nfile = "missing/trace"\n')
    server = site.start()
    server.wait_for_log(" trace-not-written level=warning file=")
    client = site.connect(server, "alice")

    assert client.ask("STAT").startswith(b"+OK")


@pytest.mark.parametrize("is_wanted", [True, False])
def test_every_refusal_can_be_logged(site: MailSite, is_wanted: bool) -> None:
    """``log.refused_replies``: one line for each ``-ERR``, with user and address, and without secrets."""
    site.configure(more=f"[log]\nrefused_replies = {str(is_wanted).lower()}\n")
    server = site.start()
    client = site.connect(server)
    client.ask("secret")
    assert client.log_in("alice", "wrong").startswith(b"-ERR [AUTH]")
    assert client.log_in("alice", "secret").startswith(b"+OK")
    client.ask("RETR 7")
    client.ask("QUIT")
    server.wait_for_log("user=alice outcome=quit")
    found = re.findall(r" reply-refused session=\S+ address=127\.0\.0\.1 (.*)", server.log())

    assert found == is_wanted * [
        'user=- command=**** reply="-ERR unknown command"',
        'user=alice command="PASS ****" reply="-ERR [AUTH] user name or password not accepted"',
        'user=alice command="RETR 7" reply="-ERR no such message"',
    ]


@pytest.mark.parametrize(("setting", "severity"), [("", 6), ('syslog_priority = "notice"\n', 5)])
def test_the_system_log_has_popper_s_priority(
    site: MailSite, syslog: socket.socket, setting: str, severity: int
) -> None:
    """``local0.notice``, as in an old syslog.conf; failed logins are warnings, which that selects as well."""
    table = f'[log]\ntarget = "syslog"\nsyslog_address = "{site.directory / "log"}"\nsyslog_facility = "local0"\n'
    site.configure(more=table + setting)
    server = site.start()
    client = site.connect(server)
    client.log_in("alice", "wrong")
    client.log_in("alice", "secret")
    lines: list[str] = []
    while not lines or " login " not in lines[-1]:
        lines.append(syslog.recv(65_536).decode())

    local0 = 16 << 3
    assert lines[-1].startswith(f"<{local0 | severity}>popframe: login ")
    assert any(line.startswith(f"<{local0 | 4}>popframe: login-failed ") for line in lines)


# --- a process for each user


@needs_root
@pytest.mark.parametrize("more", ['users = ["alice"]', "all_sessions = true"])
def test_the_process_of_a_user_is_traced_by_the_front(folder: Path, more: str) -> None:
    """The file is of run_as; the process of the user has no way to it."""
    site = Site(folder, ["alice"], store=f'[trace]\n{more}\nfile = "traces/trace"\nbodies = true')
    (folder / "traces").mkdir()
    os.chown(folder / "traces", pwd.getpwnam("nobody").pw_uid, -1)
    trace = folder / "traces" / "trace"
    with site.server, site.logged_in("alice") as client:
        client.ask("STAT")
        client.ask("RETR 1")
        client.body()
        (process,) = site.processes_of("alice")
        held = [os.readlink(f"/proc/{process}/fd/{name}") for name in os.listdir(f"/proc/{process}/fd")]
        assert client.ask("QUIT").startswith(b"+OK")
        site.server.wait_for_log(" outcome=quit")
        text = trace.read_text()

    assert commands(text) == ["(connection)", "USER alice", "PASS ****", "(login)", "STAT", "RETR 1", "QUIT"]
    assert " body session=" in text
    assert '"Subject: 0 for alice"' in text
    assert str(trace) not in held
    assert (trace.stat().st_uid, trace.stat().st_mode & 0o777) == (pwd.getpwnam("nobody").pw_uid, 0o600)


@needs_root
def test_refusals_of_the_process_of_a_user_are_logged(folder: Path) -> None:
    """With the same words as those of a front."""
    site = Site(folder, ["alice"], store="[log]\nrefused_replies = true")
    with site.server, site.logged_in("alice") as client:
        client.ask("RETR 7")
        site.server.wait_for_log(' user=alice command="RETR 7" reply="-ERR no such message"')


def test_a_client_can_put_nothing_into_another_line(site: MailSite) -> None:
    """What it sends is one value of one line, cut when it is long."""
    site.configure(more='[trace]\nall_sessions = true\nfile = "trace"\n')
    server = site.start()
    with RawClient(server.addresses[0]) as client:
        client.ask('USER x" reply=y')
        client.ask("USER " + "ä" * 200)
        client.ask("QUIT")
    for _ in server.until("the end"):
        if " trace-ended " in (site.directory / "trace").read_text():
            break
    lines = (site.directory / "trace").read_text().splitlines()

    assert [line.split()[2] for line in lines] == ["command"] * 4 + ["trace-ended"]
    assert all(len(line) < 3000 for line in lines)
