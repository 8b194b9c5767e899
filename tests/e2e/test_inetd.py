"""``popframe inetd``: one session on descriptor 0, whoever has accepted it."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from popframe.testing.site import RUN_AS, MailSite

from .inetd_programs import POPFRAME, Started, free_port, running, started

MESSAGES = [b"Subject: one\n\nhello\n", b"Subject: two\n\n.\nworld\n"]

BROKEN = b"-ERR [SYS/PERM] problem on the server, ask its operator for help\r\n"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sessions that become each user")

PLUGIN = '''
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
        return [Command("XUSER", lambda context, arguments: Reply(f"{os.geteuid()}"), IN_TRANSACTION)]
'''


@pytest.fixture
def syslog(site: MailSite) -> Iterator[socket.socket]:
    """Return a system log for the site's configuration."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(site.directory / "log"))
        (site.directory / "log").chmod(0o777)
        end.settimeout(20)
        yield end


def log_to(site: MailSite, target: str = "syslog") -> str:
    """Return the table ``[log]`` that names the system log of the fixture."""
    return f'[log]\ntarget = "{target}"\nsyslog_address = "{site.directory / "log"}"\n'


def lines_of(syslog: socket.socket, last: str) -> list[str]:
    """Return the lines of the system log up to the first with a text."""
    lines: list[str] = []
    while not lines or last not in lines[-1]:
        lines.append(syslog.recv(65_536).decode())
    return lines


def log_in(client: Started, word: str = "secret") -> bytes:
    """Send USER and PASS as alice and return the reply to PASS."""
    assert client.ask("USER alice").startswith(b"+OK")
    return client.ask(f"PASS {word}")


# --- one session


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_one_client_is_served_and_the_process_ends(site: MailSite, syslog: socket.socket, unix: bool) -> None:
    """Greeting, login, removal, QUIT, exit status 0; the log has the same lines as that of a server."""
    site.configure(more=log_to(site))
    site.put("alice", MESSAGES)
    with started(site.configuration, unix=unix) as client:
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


@contextlib.contextmanager
def per_user_site() -> Iterator[tuple[MailSite, int]]:
    """Give a site whose alice has a user id, with two messages, and that id."""
    uid = 31_000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    with MailSite({"alice": "secret"}) as site:
        (site.directory / "state").mkdir()
        site.configure('isolation = "per-user"')
        text = site.configuration.read_text()
        site.configuration.write_text(text.replace('spool_dir = "mail"', 'spool_dir = "mail"\nstate_dir = "state"'))
        site.put("alice", MESSAGES)
        users = site.directory / "users"
        users.write_text(users.read_text().strip() + f":uid={uid} gid={uid}\n")
        os.chown(users, 0, 0)
        for folder in ("mail", "state"):
            (site.directory / folder).chmod(0o1777)
        os.chown(site.spool("alice"), uid, uid)
        site.spool("alice").chmod(0o600)
        yield site, uid


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


def status_of(pid: int) -> dict[str, str]:
    """Return what /proc says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def children_of(pid: int) -> list[int]:
    """Return the children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def connections_of(pid: int) -> set[str]:
    """Return the TCP sockets that a process holds."""
    inodes = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]}
    held = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    return {place for place in held if place.startswith("socket:") and place[8:-1] in inodes}


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


# --- what is wrong with the start


@pytest.mark.parametrize("kind", ["file", "pipe", "device", "datagram", "listener"])
def test_standard_input_that_is_no_client_is_explained(site: MailSite, kind: str) -> None:
    """What it is, what the command is for, and how to start it."""
    with contextlib.ExitStack() as stack:
        descriptor = stack.enter_context(open_kind(kind, site.directory))
        result = subprocess.run(
            [*POPFRAME, "inetd", "--config", str(site.configuration)], stdin=descriptor, capture_output=True, text=True
        )

    words = {"file": "a file", "pipe": "a pipe", "device": "a terminal or another device"}
    words |= {"datagram": "a socket for datagrams", "listener": "a socket that listens"}
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"standard input is {words[kind]}")
    assert "popframe serve" in result.stderr
    assert "Traceback" not in result.stderr


@contextlib.contextmanager
def open_kind(kind: str, folder: Path) -> Iterator[int]:
    """Give a descriptor of some kind."""
    if kind == "file":
        with (folder / "users").open() as stream:
            yield stream.fileno()
    elif kind == "device":
        yield subprocess.DEVNULL
    elif kind == "pipe":
        ends = os.pipe()
        yield ends[0]
        for end in ends:
            os.close(end)
    else:
        with socket.socket(type=socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM) as bound:
            bound.bind(("127.0.0.1", 0))
            if kind == "listener":
                bound.listen()
            yield bound.fileno()


def test_a_client_that_has_gone_already_is_no_failure(site: MailSite) -> None:
    """A port scan must not fill a log with failed units."""
    with socket.socket() as never_connected:
        result = subprocess.run(
            [*POPFRAME, "inetd", "--config", str(site.configuration)],
            stdin=never_connected.fileno(),
            capture_output=True,
            text=True,
        )

    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr.startswith("the client is gone: ")


def test_a_mistake_in_the_configuration_is_told_to_the_client_without_details(site: MailSite) -> None:
    """[SYS/PERM] (RFC 3206 section 4); the reasons go to standard error, unless that is the client too."""
    site.configuration.write_text(site.configuration.read_text() + "\n[pop3]\ngreetings = 1\n[bogus]\n")
    for errors_to_client in (True, False):
        with started(site.configuration, errors_to_client=errors_to_client) as client:
            assert client.lines.read() == BROKEN
            assert client.end() == 2
            if not errors_to_client:
                errors = client.errors()

    assert "pop3.greetings: unknown key; did you mean 'greeting'?" in errors
    assert ": bogus: unknown" in errors


def test_a_plugin_that_does_not_start_is_told_to_the_log(site: MailSite, syslog: socket.socket) -> None:
    """The configured one, once it is known."""
    site.configure(more=log_to(site))
    (site.directory / "users").write_text("no colon\n")
    with started(site.configuration) as client:
        assert client.lines.read() == BROKEN
        assert client.end() == 2

    assert "start-refused level=error address=127.0.0.1 reason=" in syslog.recv(65_536).decode()


def test_a_wrong_switch_is_told_to_the_client_without_details(site: MailSite) -> None:
    """Its usage text is nothing for a client."""
    with started(site.configuration, "--bogus") as client:
        assert client.lines.read() == BROKEN
        assert client.end() == 2
    with started(site.configuration, "-T", "soon", errors_to_client=False) as client:
        assert client.lines.read() == BROKEN
        assert client.errors() == "popframe inetd: argument -T: must be a number from 0 to 86400\n"


@needs_root
def test_root_without_run_as_is_refused(site: MailSite) -> None:
    """Nothing that talks to a client runs as root."""
    for isolation in ("shared", "per-user"):
        site.configure(f'isolation = "{isolation}"')
        site.configuration.write_text(site.configuration.read_text().replace(f'run_as = "{RUN_AS}"', ""))
        with started(site.configuration, errors_to_client=False) as client:
            assert client.lines.read() == BROKEN
            assert client.end() == 2
            assert "server.run_as" in client.errors()


# --- popper's switches


def test_the_time_out_of_popper_is_the_idle_timeout(site: MailSite) -> None:
    """``-T 1``; the server's own least does not hold for it (RFC 1939 section 3 wants ten minutes)."""
    with started(site.configuration, "-T", "1", errors_to_client=False) as client:
        client.lines.readline()
        log_in(client)
        assert client.lines.read() == b""
        assert client.end() == 0
        assert "outcome=timed-out" in client.errors()


def test_debugging_traces_commands_without_secrets_or_mail(site: MailSite) -> None:
    """``-d``: each command with the first line of its reply; no password, no line that is none of ours, no message."""
    site.put("alice", MESSAGES)
    with started(site.configuration, "-d", errors_to_client=False) as client:
        client.lines.readline()
        client.ask("sEcReTs")
        client.ask("STAT")
        log_in(client)
        client.socket.sendall(b"RETR 1\r\nRETR 9\r\nQUIT\r\n")
        client.lines.read()
        errors = client.errors()
    traced = re.findall(r' command session=\w+-1 command=("[^"]*"|\S+) reply="([^"]*)"', errors)

    assert traced == [
        ("****", "-ERR (not a command in this state)"),
        ("STAT", "-ERR (not a command in this state)"),
        ('"USER alice"', "+OK send PASS"),
        ('"PASS ****"', f"+OK maildrop has 2 messages ({octets_of(MESSAGES)} octets)"),
        ('"RETR 1"', f"+OK {octets_of(MESSAGES[:1])} octets"),
        ('"RETR 9"', "-ERR no such message"),
        ("QUIT", "+OK bye, 2 messages left"),
    ]
    assert "secret" not in errors.lower()
    assert "hello" not in errors


def octets_of(messages: list[bytes]) -> int:
    """Return the size of messages with CRLF line ends."""
    return sum(len(message) + message.count(b"\n") for message in messages)


def test_a_trace_file_gets_the_whole_log(site: MailSite) -> None:
    """``-t FILE``: appended to, and nothing goes where the log else goes; a link that somebody put there is refused."""
    trace = site.directory / "trace"
    trace.write_text("before\n")
    with started(site.configuration, "-t", str(trace), errors_to_client=False) as client:
        client.lines.readline()
        log_in(client)
        client.ask("QUIT")
        client.end()
        assert client.errors() == ""
    lines = trace.read_text().splitlines()
    (site.directory / "link").symlink_to(trace)
    with started(site.configuration, "-t", str(site.directory / "link")) as client:
        assert client.lines.read() == BROKEN

    assert lines[0] == "before"
    assert any(" login session=" in line for line in lines)
    assert any(" command session=" in line for line in lines)


def test_statistics_are_logged_whatever_the_level(site: MailSite) -> None:
    """``-s``: the line of the ended session, also where only warnings are wanted."""
    site.configure(more='[log]\nlevel = "warning"\n')
    logged = []
    for switches in ((), ("-s",)):
        with started(site.configuration, *switches, errors_to_client=False) as client:
            client.lines.readline()
            log_in(client)
            client.ask("QUIT")
            client.end()
            logged.append(client.errors())

    assert logged[0] == ""
    assert "session-ended" in logged[1]


def test_bulletins_are_accepted_with_a_warning(site: MailSite) -> None:
    """``-b DIR`` has no effect, and an old line works all the same."""
    with started(site.configuration, "-b", "/var/bulletins", errors_to_client=False) as client:
        assert client.lines.readline().startswith(b"+OK")
        client.ask("QUIT")
        assert 'switch-without-effect level=warning switch="-b /var/bulletins"' in client.errors()


def test_help_names_every_switch_and_its_setting(site: MailSite) -> None:
    """For whoever has an old line of inetd.conf."""
    result = subprocess.run([*POPFRAME, "inetd", "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True)

    assert (result.returncode, result.stderr) == (0, "")
    for text in ("-d ", "-t FILE", "-s ", "-b DIR", "-T SECONDS", "log.level", "server.idle_timeout_seconds"):
        assert text in result.stdout
    assert str(site.configuration) not in result.stdout


# --- the real programs


def curl(port: int, path: str, *options: str) -> bytes:
    """Run curl as alice and return what it wrote."""
    command = ["curl", "--silent", "--show-error", "--max-time", "30", "--user", "alice:secret", *options]
    return subprocess.run([*command, f"pop3://127.0.0.1:{port}/{path}"], check=True, capture_output=True).stdout


def fetch_and_delete(site: MailSite, port: int) -> None:
    """Let curl read both messages and delete the first."""
    assert curl(port, "").split() == [b"1", b"23", b"2", b"26"]
    assert curl(port, "1") == b"Subject: one\r\n\r\nhello\r\n"
    curl(port, "1", "--request", "DELE", "--list-only")
    until(lambda: site.spool("alice").read_bytes().count(b"From sender") == 1, "one message is left")
    assert b"Subject: two" in curl(port, "1")


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="needs systemd-socket-activate (systemd)")
def test_systemd_starts_sessions(site: MailSite) -> None:
    """``systemd-socket-activate --inetd --accept``; curl fetches and deletes."""
    site.put("alice", MESSAGES)
    port = free_port()
    program = [*POPFRAME, "inetd", "--config", str(site.configuration)]
    activate = ["systemd-socket-activate", "--inetd", "--accept", f"--listen=127.0.0.1:{port}"]
    with running([*activate, *program], port, site.directory / "activate.log"):
        fetch_and_delete(site, port)


@pytest.mark.skipif(shutil.which("inetd", path="/usr/sbin") is None, reason="needs inetd (openbsd-inetd)")
@needs_root
@pytest.mark.parametrize("isolation", ["shared", "per-user"])
def test_inetd_starts_sessions(isolation: str) -> None:
    """Debian's inetd, with a line for popper of which only the path was changed; curl fetches and deletes."""
    with per_user_site() if isolation == "per-user" else shared_site() as (site, _):
        port = free_port()
        lines = site.directory / "inetd.conf"
        command = Path(sys.executable).with_name("popframe-inetd")
        trace = site.directory / "trace"
        switches = f"-s -t {trace} -T 600 --config {site.configuration}"
        lines.write_text(f"127.0.0.1:{port} stream tcp nowait root {command} popper {switches}\n")
        with running(["/usr/sbin/inetd", "-i", str(lines)], port, site.directory / "inetd.log"):
            fetch_and_delete(site, port)
            until(lambda: trace.read_text().count("outcome=quit") == 4, "each session has its line")


@contextlib.contextmanager
def shared_site() -> Iterator[tuple[MailSite, int]]:
    """Give a site whose mail is run_as's, with two messages, and that user's id."""
    with MailSite({"alice": "secret"}) as site:
        site.put("alice", MESSAGES)
        yield site, pwd.getpwnam(RUN_AS).pw_uid
