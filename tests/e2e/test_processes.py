"""The server as processes: dying, stopping, reloading, limits, privileges, sockets from systemd."""

from __future__ import annotations

import contextlib
import json
import os
import poplib
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from popframe.testing.client import RawClient
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite

MESSAGE = b"Subject: one\n\nhello\n"

USERS = {f"user{number:02}": "secret" for number in range(120)}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user: run as root")
needs_activate = pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="needs systemd-socket-activate (Debian: systemd)"
)
needs_ipv6 = pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")


def front_of(server: ServerProcess, user: str) -> int:
    """Return the process id of the front that logged a user in."""
    found = re.findall(rf"popframe\[(\d+)\]: login .* user={user} ", server.log(), re.MULTILINE)
    return int(found[-1])


def test_a_front_that_is_killed_takes_no_session_of_another_with_it() -> None:
    """SIGKILL one front while 50 sessions run on the other: all go on, and the dead one is replaced."""
    with MailSite(USERS) as site:
        for user in USERS:
            site.spool(user).write_bytes(b"From a@example.org Mon Jan  5 09:00:00 2026\n" + MESSAGE + b"\n")
        site.configure("fronts = 2\nmax_connections_per_address = 500\n")
        server = site.start()
        clients: dict[int, list[RawClient]] = {pid: [] for pid in server.fronts()}
        victim, survivor = clients
        for user in USERS:
            client = site.connect(server, user)
            clients[front_of(server, user)].append(client)
            if len(clients[survivor]) >= 50 and clients[victim]:
                break
        if len(clients[survivor]) < 50:  # the kernel prefers one of them: let it be the survivor
            victim, survivor = survivor, victim
        os.kill(victim, signal.SIGKILL)
        server.wait_for_log("front-died")

        assert len(clients[survivor]) >= 50
        for client in clients[survivor]:
            assert client.ask("RETR 1") == b"+OK 23 octets\r\n"
            assert client.body() == MESSAGE.replace(b"\n", b"\r\n")
            assert client.ask("DELE 1").startswith(b"+OK")
            assert client.ask("QUIT").startswith(b"+OK")
        for client in clients[victim]:
            with contextlib.suppress(ConnectionResetError):
                assert client.rest() == b""
        for _ in server.until("a new front"):
            if len(server.fronts()) == 2:
                break
        assert victim not in server.fronts()


def test_sigterm_ends_sessions_without_update(site: MailSite) -> None:
    """A stopped server removes nothing and says nothing (P-030, H-087)."""
    site.put("alice", [MESSAGE])
    server = site.start()
    with RawClient(server.addresses[0]) as client:
        client.log_in("alice", "secret")
        client.ask("DELE 1")

        assert server.stop() == 0
        assert client.rest() == b""
    assert b"hello" in site.spool("alice").read_bytes()
    assert "outcome=shut-down" in server.log()


SLOW_REPORT = '''
import time

from popframe import SessionSummary, hookimpl


class SlowReport:
    """Takes its time to report."""

    @hookimpl
    def popframe_session_ended(self, summary: SessionSummary) -> None:
        """Be in the middle of it when the server stops."""
        time.sleep(1)
'''


def test_a_server_that_stops_reports_every_session(site: MailSite) -> None:
    """One that has just said goodbye is told in the log, and to the plugins, like every other."""
    (site.directory / "slow_report.py").write_text(SLOW_REPORT)
    site.configure(plugins=("auth_file", "./slow_report.py", "store_mbox"))
    server = site.start()
    client = site.connect(server, "alice")
    client.ask("QUIT")
    client.rest()

    assert server.stop() == 0
    assert "outcome=quit" in server.log()


def test_fronts_end_when_their_master_is_killed(site: MailSite) -> None:
    """No front stays behind that nobody could stop."""
    server = site.start()
    fronts = server.fronts()
    os.kill(server.pid, signal.SIGKILL)

    for _ in server.until("the fronts to end"):
        if not any(Path(f"/proc/{pid}/cmdline").exists() and _is_alive(pid) for pid in fronts):
            return


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_good_configuration_is_taken_over_while_old_sessions_go_on(site: MailSite) -> None:
    """After SIGHUP new sessions have the new settings; one that runs ends in its own time."""
    site.put("alice", [MESSAGE])
    server = site.start()
    old = site.connect(server, "alice")
    site.configure("fronts = 1\n", '[pop3]\ngreeting = "new words"\n')
    server.reload()
    for _ in server.until("the old fronts to stop taking connections"):
        with RawClient(server.addresses[0]) as new:
            if new.greeting == b"+OK new words\r\n" and len(server.fronts()) == 2:
                break

    assert old.ask("DELE 1").startswith(b"+OK")
    assert old.ask("QUIT").startswith(b"+OK")
    for _ in server.until("the old front to end with its last session"):
        if len(server.fronts()) == 1:
            break
    assert site.spool("alice").read_bytes() == b""


def test_a_bad_configuration_is_refused_on_reload(site: MailSite) -> None:
    """Every problem is in the log, and the server goes on as before."""
    server = site.start()
    fronts = server.fronts()
    site.configure("fonts = 1\nmax_connections = -1\n")
    server.reload()

    assert "did you mean 'fronts'" in server.log()
    assert "max_connections" in server.log()
    assert server.fronts() == fronts
    with RawClient(server.addresses[0]) as client:
        assert client.log_in("alice", "secret").startswith(b"+OK")


CLASHING = '''
from popframe import Command, Reply, hookimpl
from popframe.extension import IN_TRANSACTION


class Clash:
    """Announces what the server announces already, with other arguments."""

    @hookimpl
    def popframe_register_commands(self):
        return [Command("XFOO", lambda context, arguments: Reply("foo"), IN_TRANSACTION, capability="PIPELINING MUCH")]
'''


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ('[log]\ntarget = "syslog"\nsyslog_address = "/nowhere/log"\n', "no system log at /nowhere/log"),
        ("./clash.py", "capability PIPELINING is announced twice"),
    ],
)
def test_a_configuration_that_fails_late_is_refused_on_reload(site: MailSite, what: str, reason: str) -> None:
    """What only shows once all else is right ends no server, and its log stays where it is."""
    server = site.start()
    (site.directory / "clash.py").write_text(CLASHING)
    plugins = ("auth_file", "store_mbox", *([what] if what.endswith(".py") else []))
    site.configure(more="" if what.endswith(".py") else what, plugins=plugins)

    server.reload()

    assert " reload-refused " in server.log()
    assert reason in server.log()
    with RawClient(server.addresses[0]) as client:
        assert client.log_in("alice", "secret").startswith(b"+OK")


def test_a_reload_opens_and_closes_sockets(site: MailSite) -> None:
    """Addresses that are new are listened on, those no longer listed are closed, the others are never closed."""
    server = site.start()
    kept = server.addresses[0]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    site.configure(listen=("127.0.0.1:0", f"127.0.0.1:{port}"))
    server.reload()
    for address in (kept, ("127.0.0.1", port)):
        RawClient(address).close()
    site.configure()
    server.reload()

    RawClient(kept).close()
    for _ in server.until("the closed socket to refuse"):
        try:
            RawClient(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue  # it was still in the queue when the last front closed the socket


@needs_root
def test_nothing_runs_as_root_after_the_start(site: MailSite) -> None:
    """Real, effective and saved ids, and the groups, of every process are those of run_as."""
    server = site.start()

    for pid in (server.pid, *server.fronts()):
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert set(status["Uid"].split()) == {"65534"}
        assert set(status["Gid"].split()) == {"65534"}
        assert set(status["Groups"].split()) <= {"65534"}


@needs_root
def test_root_without_run_as_does_not_start(site: MailSite) -> None:
    """The server refuses to run as root, and says which setting to use."""
    site.configuration.write_text(site.configuration.read_text().replace('run_as = "nobody"', ""))
    command = [sys.executable, "-m", "popframe", "serve", "--config", str(site.configuration)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)

    assert result.returncode == 2
    assert "server.run_as" in result.stderr


def test_a_taken_port_is_told_with_its_setting(site: MailSite) -> None:
    """What cannot be bound is named, with exit status 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        site.configure(listen=(address,))
        command = [sys.executable, "-m", "popframe", "serve", "--config", str(site.configuration)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=30)

    assert result.returncode == 2
    assert f"server.listen: cannot listen on {address}" in result.stderr


@needs_ipv6
def test_several_addresses_and_ipv6(site: MailSite) -> None:
    """Each listed address is served, IPv6 in brackets."""
    site.configure(listen=("127.0.0.1:0", "127.0.0.2:0", "[::1]:0"))
    server = site.start()

    assert [host for host, _ in server.addresses] == ["127.0.0.1", "127.0.0.2", "::1"]
    for address in server.addresses:
        client = poplib.POP3(*address, timeout=30)
        client.user("alice")
        assert client.pass_("secret").startswith(b"+OK")
        client.quit()
    server.wait_for_log("address=::1 user=alice")


@needs_activate
def test_sockets_passed_by_systemd_are_used(site: MailSite) -> None:
    """LISTEN_FDS of sd_listen_fds(3), as systemd-socket-activate passes them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = site.server()
    server.start(command=("systemd-socket-activate", "--listen", f"127.0.0.1:{port}"))
    for _ in server.until("systemd-socket-activate to listen"):
        with contextlib.suppress(ConnectionRefusedError), RawClient(("127.0.0.1", port)) as client:
            assert client.log_in("alice", "secret").startswith(b"+OK")
            break


def test_the_service_manager_is_told_when_the_server_is_ready(site: MailSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """READY=1 arrives when clients can connect (sd_notify(3))."""
    path = site.directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        path.chmod(0o777)
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        server = site.start()

        assert manager.recv(100) == b"READY=1"
        server.stop()
        assert manager.recv(100) == b"STOPPING=1"


def test_json_lines_hold_whatever_a_client_sends(site: MailSite) -> None:
    """One object a line, the user name as sent, escaped (H-095)."""
    site.configure(more='[log]\nformat = "json"\n')
    server = site.start()
    with RawClient(server.addresses[0]) as client:
        client.send(b'USER a=b"c address=6.6.6.6\r\nUSER a=b"c,address=6.6.6.6\r\nPASS x\r\n')
        replies = [client.line() for _ in range(3)]
    server.wait_for_log("6.6.6.6")
    events = [json.loads(line) for line in server.log().splitlines()]

    assert replies[0].startswith(b"-ERR")
    assert [event["user"] for event in events if event["event"] == "login-failed"][-1] == 'a=b"c,address=6.6.6.6'


def test_the_system_log_gets_the_lines(site: MailSite) -> None:
    """With target syslog the lines go to the socket, with facility and without a clock of their own."""
    path = site.directory / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(path))
        path.chmod(0o777)
        syslog.settimeout(20)
        site.configure(more=f'[log]\ntarget = "syslog"\nsyslog_address = "{path}"\nsyslog_facility = "mail"\n')
        site.start()
        line = syslog.recv(1000)

    assert line.startswith(b"<22>popframe: started listen=127.0.0.1:")
    assert b"\0" not in line
