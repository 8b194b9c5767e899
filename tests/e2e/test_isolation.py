"""A process for each user: who runs as whom, what is left of root, and what a death costs."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from popframe.password import hash_password
from popframe.testing import RawClient, proxy_header

from .isolated_site import FROM_LINE, HASH, PASSWORD, Site, children_of, running, status_of, uid_of, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a server that becomes each user")

LONG = os.environ.get("POPFRAME_LONG") == "1"

SHUTDOWN_SECONDS = 10
"""The default of server.shutdown_timeout_seconds."""


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    """Return a running server for alice and bob."""
    made = Site(folder, ["alice", "bob"])
    with made.server:
        yield made


def test_each_session_is_a_process_of_its_user(site: Site) -> None:
    """H-096: all ids and groups, nothing to gain, no core file; fronts are nobody, and only master and gate root."""
    with site.logged_in("alice") as alice, site.logged_in("bob"):
        (pid,) = site.processes_of("alice")
        status = status_of(pid)
        uid = str(site.uids["alice"])
        assert status["Uid"].split() == status["Gid"].split() == [uid] * 4
        assert status["Groups"].split() == [uid]
        assert status["NoNewPrivs"] == "1"
        assert [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0, 0, 0, 0]
        assert os.stat(f"/proc/{pid}/mem").st_uid == 0  # not dumpable: no other process of the user may look into it
        assert re.search(r"Max core file size +0 +0 ", Path(f"/proc/{pid}/limits").read_text())
        assert len(site.processes_of("bob")) == 1
        nobody = pwd.getpwnam("nobody").pw_uid
        assert sorted(uid_of(child) for child in site.server.fronts()) == [0, nobody, nobody]
        assert alice.ask("QUIT").startswith(b"+OK")
        until(lambda: not site.processes_of("alice"), "the session's process ends")
        assert len(site.processes_of("bob")) == 1


def test_a_session_has_no_descriptor_but_its_own(site: Site) -> None:
    """Its connection, the way back, the log, and what it has opened itself: no listener, no way to the gate."""
    with site.logged_in("alice"):
        (pid,) = site.processes_of("alice")
        places = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        opened = {place for fd, place in places.items() if fd > 2}
        files = {place for place in opened if place.startswith("/")}
        sockets = opened - files
        assert files == {
            "/dev/null",
            str(site.mail / "alice"),
            *(place for place in files if place.startswith(str(site.folder / "state" / ".alice-"))),
        }
        assert len(sockets) == 2
        listening = Path("/proc/net/tcp").read_text()
        inodes = {place[8:-1] for place in sockets}
        states = {line.split()[9]: line.split()[3] for line in listening.splitlines()[1:]}
        assert sorted(states[inode] for inode in inodes & states.keys()) == ["01"]  # one, established


@pytest.mark.parametrize("attempt", ["root", "seteuid", "groups"])
def test_nothing_becomes_root_again(site: Site, attempt: str) -> None:
    """Whatever code runs in a session."""
    with site.logged_in("alice") as client:
        assert client.ask(f"XTRY {attempt}") == b"-ERR Operation not permitted\r\n"


def test_a_session_reads_its_own_mail_alone(site: Site) -> None:
    """The system itself keeps it from the others'."""
    with site.logged_in("alice") as alice, site.logged_in("bob") as bob:
        assert alice.ask(f"XTRY open {site.mail / 'alice'}") == b"+OK it worked\r\n"
        for path in (site.mail / "bob", "/etc/shadow", "/proc/1/mem", site.folder / "secret"):
            (site.folder / "secret").write_text("")
            (site.folder / "secret").chmod(0o600)
            assert alice.ask(f"XTRY open {path}") == b"-ERR Permission denied\r\n"
        alice.ask("RETR 1")
        assert b"for alice" in alice.body()
        bob.ask("RETR 2")
        assert b"1 for bob" in bob.body()


def test_what_was_sent_with_the_password_is_answered(site: Site) -> None:
    """A client may send all at once; the front has taken some of it, and the session goes on behind that."""
    with site.connect() as client:
        client.send(b"USER alice\r\nPASS wrong\r\nUSER alice\r\nPASS secret\r\nSTAT\r\nDELE 1\r\nSTAT\r\nQU")
        replies = [client.line() for _ in range(7)]
        client.send(b"IT\r\n")
        replies += [client.line(), client.line()]

    assert replies[1] == b"-ERR [AUTH] user name or password not accepted\r\n"
    assert replies[3].startswith(b"+OK maildrop has 2 messages")
    assert [reply[:5] for reply in replies[4:7]] == [b"+OK 2", b"+OK m", b"+OK 1"]
    assert replies[7].startswith(b"+OK bye")
    assert replies[8] == b""
    assert (site.mail / "alice").read_bytes() == FROM_LINE + b"Subject: 1 for alice\n\nhi\n\n"
    assert (site.mail / "alice").stat().st_uid == site.uids["alice"]
    site.server.wait_for_log("outcome=quit")
    (ended,) = [line for line in site.server.log().splitlines() if "session-ended" in line and "user=alice" in line]
    assert "commands=8" in ended
    assert "deleted=1/" in ended
    assert PASSWORD not in site.server.log()


def test_refusals_are_those_of_one_process_for_all(site: Site) -> None:
    """The same words, and a reason in the log."""
    with site.connect() as client, site.logged_in("alice"):
        assert client.log_in("alice", PASSWORD).startswith(b"-ERR [IN-USE]")
        assert client.log_in("nobody-knows", PASSWORD) == client.log_in("bob", "wrong")
        assert client.log_in("virtual", PASSWORD).startswith(b"-ERR [SYS/PERM]")
        assert client.log_in("bob", PASSWORD).startswith(b"+OK")
    site.server.wait_for_log("has no user id: isolation = 'per-user' needs one")
    assert 'reason="unknown user"' in site.server.log()


def test_a_session_keeps_what_it_has_negotiated(site: Site) -> None:
    """U-004, U-026: UTF-8 mode and language go with it into the process of the user; commands sent ahead do too."""
    letter = FROM_LINE + b"Received: so that there is room for encoded-words\nSubject: caf\xc3\xa9\n\nhi\n\n"
    site.write("alice", letter)
    with site.connect() as client:
        commands = ["UTF8", "LANG de", "USER alice", f"PASS {PASSWORD}", "TOP 1 0", "DELE 1", "RSET"]
        client.send("".join(f"{command}\r\n" for command in commands).encode())
        replies = [client.line() for _ in range(4)]
        assert replies[3] == b"+OK im Postfach sind 1 Nachrichten (73 Oktette)\r\n"
        assert client.line() == b"+OK Anfang der Nachricht folgt\r\n"
        assert b"\r\nSubject: caf\xc3\xa9\r\n" in client.body()
        assert client.line() == "+OK Nachricht 1 gel\u00f6scht\r\n".encode()
        client.line()
        client.ask("QUIT")
    with site.logged_in("alice") as client:
        assert client.ask("TOP 1 0") == b"+OK top of message follows\r\n"
        assert b"Subject: =?utf-8?b?Y2Fmw6k=?=\r\n" in client.body()
        assert client.ask("LANG DE") == b"+OK de das ist Deutsch\r\n"


def test_a_login_that_hangs_keeps_nobody_else_out(site: Site) -> None:
    """A module may sleep for ever; each login has a process of its own."""
    slow = [site.connect() for _ in range(20)]
    for client in slow:
        client.send(b"USER slow\r\nPASS secret\r\n")
    with site.logged_in("alice") as client:
        assert client.ask("STAT").startswith(b"+OK 2")
    for client in slow:
        client.close()


def test_a_login_that_hangs_ends_at_the_login_timer(folder: Path) -> None:
    """With its process."""
    site = Site(folder, ["alice"], more="login_timeout_seconds = 1")
    with site.server, site.connect() as client:
        client.send(b"USER slow\r\nPASS secret\r\n")
        until(lambda: len(children_of(site.gate())) == 1, "the login's process")
        assert client.line().startswith(b"+OK")
        assert client.line() in {b"-ERR [SYS/TEMP] temporary problem on the server, try again later\r\n", b""}
        until(lambda: not children_of(site.gate()), "it ends")


def test_a_session_that_dies_costs_nothing_but_itself(site: Site) -> None:
    """Its client sees the end of the connection, the log says so, and the maildrop is free."""
    with site.logged_in("alice") as alice, site.logged_in("bob") as bob:
        alice.send(b"XTRY die\r\n")
        assert alice.line() == b""
        assert bob.ask("STAT").startswith(b"+OK 2")
    site.server.wait_for_log("user=alice outcome=storage-failed")
    with site.logged_in("alice") as again:
        assert again.ask("STAT").startswith(b"+OK 2")


def test_a_gate_that_dies_is_replaced(site: Site) -> None:
    """Sessions go on without it, and logins with the next one."""
    with site.logged_in("alice") as alice:
        before = site.gate()
        os.kill(before, signal.SIGKILL)
        site.server.wait_for_log("gate-died")
        assert alice.ask("STAT").startswith(b"+OK 2")
        with site.logged_in("bob") as bob:
            assert bob.ask("STAT").startswith(b"+OK 2")
        assert site.gate() != before
        assert alice.ask("QUIT").startswith(b"+OK")


def test_a_front_that_dies_takes_its_own_sessions_alone(site: Site) -> None:
    """Those of the other front, and those that come, are served."""
    clients = [site.logged_in(name) for name in ("alice", "bob")]
    nobody = pwd.getpwnam("nobody").pw_uid
    victim = next(pid for pid in site.server.fronts() if uid_of(pid) == nobody)
    os.kill(victim, signal.SIGKILL)
    site.server.wait_for_log("front-died")
    for client in clients:
        client.close()
    until(lambda: not site.processes_of("alice") and not site.processes_of("bob"), "no process is left over")
    with site.logged_in("alice") as client:
        assert client.ask("STAT").startswith(b"+OK 2")


def test_a_reload_replaces_the_gate_and_leaves_sessions_alone(site: Site) -> None:
    """The new one has the new configuration."""
    with site.logged_in("alice") as alice:
        before = site.gate()
        lines = (site.folder / "users").read_text()
        (site.folder / "users").write_text(lines.replace("bob:", "robert:"))
        site.server.reload()
        until(lambda: len(site.gates()) == 2, "a new gate beside the old one")
        with site.connect() as client:
            assert client.log_in("bob", PASSWORD).startswith(b"-ERR [AUTH]")
        assert alice.ask("DELE 1").startswith(b"+OK")
        assert alice.ask("QUIT").startswith(b"+OK")
        until(lambda: site.gates() and before not in site.gates(), "the old gate ends with its last session")
    assert (site.mail / "alice").read_bytes().count(b"From ") == 1


def test_a_server_that_stops_ends_every_process(site: Site) -> None:
    """Sessions end without an update, and the log says why."""
    with site.logged_in("alice") as alice, site.connect() as slow:
        slow.send(b"USER slow\r\nPASS secret\r\n")
        until(lambda: len(children_of(site.gate())) == 2, "a login under way")
        alice.ask("DELE 1")
        pids = [site.server.pid, *site.server.fronts(), *children_of(site.gate())]
        assert site.server.stop() == 0
        assert alice.line() == b""
    until(lambda: not set(pids) & set(running()), "all processes end")
    assert (site.mail / "alice").read_bytes().count(b"From ") == 2
    assert "user=alice outcome=shut-down" in site.server.log()


def test_a_login_that_hangs_does_not_hold_up_the_end(site: Site) -> None:
    """The gate ends with the logins that are under way, before the fronts are waited for."""
    with site.connect() as slow:
        slow.send(b"USER slow\r\nPASS secret\r\n")
        until(lambda: children_of(site.gate()), "a login under way")
        started = time.monotonic()
        assert site.server.stop() == 0
    assert time.monotonic() - started < SHUTDOWN_SECONDS / 2
    assert "gate-died" not in site.server.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_ends_no_update_in_the_middle(site: Site, number: signal.Signals) -> None:
    """A service manager, or a terminal, tells every process to end: what has begun is finished, and nothing more."""
    with site.logged_in("alice") as alice, site.logged_in("bob") as bob, (site.mail / "alice").open("rb+") as spool:
        pids = [site.server.pid, *site.server.fronts(), *children_of(site.gate())]
        alice.ask("DELE 1")
        bob.ask("DELE 1")
        fcntl.lockf(spool, fcntl.LOCK_EX)
        alice.send(b"QUIT\r\n")
        until(lambda: (site.mail / "alice.lock").exists(), "an update that has begun, and waits for the lock")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # the first one may have told it before
                os.kill(pid, number)
        assert bob.line() == b""
        fcntl.lockf(spool, fcntl.LOCK_UN)
        assert site.server.stop() == 0
        until(lambda: not set(pids) & set(running()), "all processes end")
    assert (site.mail / "alice").read_bytes().count(b"From ") == 1
    assert (site.mail / "bob").read_bytes().count(b"From ") == 2
    assert "user=alice outcome=quit" in site.server.log()
    assert "user=bob outcome=shut-down" in site.server.log()


def test_limits_count_over_all_processes(folder: Path) -> None:
    """A user has so many connections, whichever process serves them."""
    site = Site(folder, ["alice"], more="max_connections_per_user = 1")
    with site.server, site.logged_in("alice") as first, site.connect() as second:
        assert second.log_in("alice", PASSWORD).startswith(b"-ERR [SYS/TEMP]")
        first.ask("QUIT")
        until(lambda: second.log_in("alice", PASSWORD).startswith(b"+OK"), "the place is free")


def test_without_root_it_does_not_start(folder: Path) -> None:
    """Nobody else can become each user."""
    site = Site(folder, ["alice"])
    for path in (folder, folder / "users"):
        os.chown(path, 65534, -1)
    program = (
        "import importlib, os, sys, popframe.server.master; from popframe.cli import main\n"
        "for module in popframe.server.master.NEEDED_LATER: importlib.import_module(module)\n"
        f"main(['check-config', {str(site.configuration)!r}])\n"  # has everything imported that only root may read
        "os.setgroups([]); os.setresgid(*[65534] * 3); os.setresuid(*[65534] * 3)\n"
        f"sys.exit(main(['serve', '--config', {str(site.configuration)!r}]))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert result.returncode == 2
    assert "'per-user' needs root" in result.stderr


@pytest.mark.skipif(shutil.which("dotlockfile") is None, reason="needs dotlockfile (Debian: liblockfile-bin)")
def test_spools_as_debian_has_them(folder: Path) -> None:
    """Mode 0660, group mail, in a directory where only that group may create files; no session is in it."""
    site = Site(folder, ["alice"], mode=0o2775)
    mail = grp.getgrnam("mail").gr_gid
    os.chown(site.mail, 0, mail)
    site.mail.chmod(0o2775)
    spool = site.mail / "alice"
    os.chown(spool, -1, mail)
    spool.chmod(0o660)
    with site.server, site.logged_in("alice") as client:
        (pid,) = site.processes_of("alice")
        assert status_of(pid)["Groups"].split() == [str(site.uids["alice"])]
        assert status_of(pid)["NoNewPrivs"] == "0"  # the dot-lock is made by a setgid program
        client.ask("DELE 1")
        assert client.ask("QUIT").startswith(b"+OK")
    assert spool.read_bytes().count(b"From ") == 1
    assert (spool.stat().st_mode & 0o777, spool.stat().st_gid) == (0o660, mail)
    assert os.listdir(site.mail) == ["alice"]


def test_many_logins_at_once_are_not_mixed_up(folder: Path) -> None:
    """500 of 50 users in the long form: none refused, each with the mail of its user, and no process left over."""
    names = [f"user{number}" for number in range(50 if LONG else 20)]
    each = 10 if LONG else 3
    site = Site(folder, names, more="max_connections_per_address = 1024", store='session_lock = "shared"')
    failures: list[object] = []
    start = threading.Barrier(len(names) * each)

    def use(name: str) -> None:
        try:
            with contextlib.closing(site.connect()) as client:
                start.wait(60)
                reply = client.log_in(name, PASSWORD)
                client.ask("RETR 1")
                if not reply.startswith(b"+OK") or f"for {name}\r\n".encode() not in client.body():
                    failures.append((name, reply))
                client.ask("QUIT")
        except Exception as error:
            failures.append((name, error))

    with site.server:
        threads = [threading.Thread(target=use, args=(name,)) for name in names * each]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert failures == []
        until(lambda: not any(site.processes_of(name) for name in names), "no process is left over")
        assert children_of(site.gate()) == []


def test_a_password_is_hashed_slowly_only_once(site: Site) -> None:
    """Each login has a process of its own, and all know what the first has found out; a new hash counts at once."""
    users = site.folder / "users"
    slow = hash_password(b"other", "bcrypt")
    users.write_text(users.read_text().replace(f"alice:{HASH}", f"alice:{slow}"))
    seconds = []
    for _ in range(3):
        with site.connect() as client:
            client.ask("USER alice")
            before = hashing_seconds(site)
            assert client.ask("PASS other").startswith(b"+OK")
            client.ask("QUIT")
        until(lambda: not children_of(site.gate()), "the session's process ends")
        seconds.append(hashing_seconds(site) - before)

    assert max(seconds[1:]) < seconds[0] / 2, seconds
    with site.connect() as client:
        assert client.log_in("alice", PASSWORD).startswith(b"-ERR [AUTH]")


def hashing_seconds(site: Site) -> float:
    """Return the processor time of the gate's children that have ended."""
    fields = Path(f"/proc/{site.gate()}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def test_the_address_that_a_proxy_tells_reaches_the_process_of_the_user(folder: Path) -> None:
    """N-020: gate and session see the client, not the proxy; so do rules."""
    more = '\n[proxy]\nlisten = ["127.0.0.1:0"]\nnetworks = ["127.0.0.1"]\n[login]\nclear_text = "always"\n'
    site = Site(folder, ["alice"], more=f'{more}deny_networks = ["192.0.2.2"]\n')
    with site.server as server:
        (address,) = server.proxy_addresses
        with RawClient(address, first=proxy_header.line("192.0.2.1")) as client:
            assert client.log_in("alice", PASSWORD).startswith(b"+OK")
            assert client.ask("QUIT").startswith(b"+OK")
        with RawClient(address, first=proxy_header.line("192.0.2.2")) as client:
            assert client.log_in("alice", PASSWORD).startswith(b"-ERR [AUTH]")
        server.wait_for_log("session-ended")

    assert re.findall(r" login session=\S+ address=(\S+) user=alice", server.log()) == ["192.0.2.1"]
    assert "address 192.0.2.2 is in login.deny_networks" in server.log()


def test_guesses_are_counted_in_the_front(folder: Path) -> None:
    """The gate is not asked about what is refused; the user at home comes in, and the file is run_as's own (H-048)."""
    counting = '[abuse]\nmax_wrong_passwords = 3\nmax_delay_seconds = 0\nstate_file = "state/attempts"\n'
    site = Site(folder, ["alice", "bob"], store=counting)
    with site.server:
        with site.logged_in("alice"):
            pass
        for number in range(5):
            with site.connect() as client:
                assert client.log_in("bob", f"guess {number}").startswith(b"-ERR [AUTH]")
        with site.connect() as client:
            assert client.log_in("bob", PASSWORD).startswith(b"-ERR [AUTH]")
        with site.logged_in("alice") as client:
            assert client.ask("STAT").startswith(b"+OK")

        assert site.server.count_in_log("the password was not looked at") == 3
        status = (folder / "state" / "attempts").stat()
        assert (status.st_uid, status.st_mode & 0o777) == (pwd.getpwnam("nobody").pw_uid, 0o600)


def test_a_delay_between_logins_holds_for_every_process(folder: Path) -> None:
    """It is the front that knows when the user was here last (C-020)."""
    site = Site(folder, ["alice"], store="[abuse]\nlogin_delay_seconds = 60\n")
    with site.server:
        with site.logged_in("alice"):
            pass
        for _ in range(3):
            with site.connect() as client:
                assert client.log_in("alice", PASSWORD).startswith(b"-ERR [LOGIN-DELAY]")
