"""PAM sessions around the sessions of the whole server: begun with the login, over with it, however it ends."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from popframe.testing.client import RawClient
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite
from popframe.testing.system_users import SystemUsers

from .inetd_room import children_of, started, status_of, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make accounts: run as root")

LATER = b"-ERR [SYS/TEMP] temporary problem on the server, try again later\r\n"

each_isolation = pytest.mark.parametrize("isolation", ["shared", "per-user"])


@dataclass
class PamSite:
    """A site whose one user has a PAM session with each login.

    Attributes:
        site: The site.
        user: The user, whose password is ``secret``.
        service: The file of the PAM service.
        diary: Where its modules note who began and ended what: "open_session NAME ADDRESS".
    """

    site: MailSite
    user: str
    service: Path
    diary: Path

    def entries(self) -> list[str]:
        """Return what is noted, without the user."""
        if not self.diary.exists():
            return []
        return [line.replace(f" {self.user}", "") for line in self.diary.read_text().splitlines()]

    def logged_in(self, server: ServerProcess) -> RawClient:
        """Connect a client and log in."""
        client = RawClient(server.addresses[0])
        reply = client.log_in(self.user, "secret")
        assert reply.startswith(b"+OK maildrop has 1 messages"), reply
        return client


@contextlib.contextmanager
def pam_site(isolation: str, folder: Path, rules: str = "", server: str = "") -> Iterator[PamSite]:
    """Give a site with one message; its PAM service notes sessions, and has more rules in front of that."""
    service = Path("/etc/pam.d", f"popframe-test-{secrets.token_hex(6)}")
    diary = folder / "diary"
    program = folder / "note"
    program.write_text(f'#!/bin/sh\necho "$PAM_TYPE $PAM_USER $PAM_RHOST" >> {diary}\n')
    program.chmod(0o755)
    with SystemUsers() as users, MailSite({}) as site:
        user = users.add("--shell", "/bin/sh")
        users.run("chpasswd", stdin=f"{user}:secret\n")
        entry = pwd.getpwnam(user)
        (site.directory / "state").mkdir()
        site.configure(
            f'isolation = "{isolation}"\nfronts = 1\n{server}',
            f'[plugin.auth_pam]\nservice = "{service.name}"\nopen_session = true\ntimeout_seconds = 5\n',
            plugins=("auth_pam", "store_mbox"),
        )
        text = site.configuration.read_text()
        site.configuration.write_text(text.replace('spool_dir = "mail"', 'spool_dir = "mail"\nstate_dir = "state"'))
        site.put(user, [b"Subject: one\n\nhello\n"])
        os.chown(site.spool(user), entry.pw_uid, entry.pw_gid)
        site.spool(user).chmod(0o666)
        for name in ("mail", "state"):
            (site.directory / name).chmod(0o1777)
        try:
            service.write_text(
                "auth required pam_unix.so nodelay\naccount required pam_unix.so\n"
                f"{rules}session required pam_exec.so {program}\nsession required pam_limits.so\n"
            )
            yield PamSite(site, user, service, diary)
        finally:
            service.unlink()


def verifier_of(server: ServerProcess) -> int:
    """Return the process id of the verifier."""
    (found,) = [
        pid for pid in server.fronts() if b"popframe_auth_pam.verifier" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return found


def keepers_of(server: ServerProcess) -> list[int]:
    """Return the processes that keep PAM sessions."""
    return [keeper for worker in children_of(verifier_of(server)) for keeper in children_of(worker)]


def processes_of(user: str) -> list[int]:
    """Return the processes whose user id is that of a user."""
    uid = str(pwd.getpwnam(user).pw_uid)
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if status_of(int(name))["Uid"].split()[0] == uid:
                found.append(int(name))
    return found


OPEN, CLOSED = "open_session 127.0.0.1", "close_session 127.0.0.1"


@each_isolation
def test_session_of_pam_is_that_of_the_client(isolation: str, tmp_path: Path) -> None:
    """From the login to QUIT, one for each; the process that keeps it is root, and gone afterwards."""
    with pam_site(isolation, tmp_path) as pam:
        server = pam.site.start()
        with pam.logged_in(server) as client:
            assert pam.entries() == [OPEN]
            (keeper,) = keepers_of(server)
            assert status_of(keeper)["Uid"].split() == ["0"] * 4
            assert client.ask("RETR 1").startswith(b"+OK")
            client.body()
            assert pam.entries() == [OPEN]
            assert client.ask("QUIT").startswith(b"+OK")
        until(lambda: pam.entries() == [OPEN, CLOSED], "the PAM session is closed")
        until(lambda: not keepers_of(server), "its process ends")
        assert server.stop() == 0


@each_isolation
def test_session_of_pam_ends_with_the_connection(isolation: str, tmp_path: Path) -> None:
    """A client that goes away without QUIT."""
    with pam_site(isolation, tmp_path) as pam:
        server = pam.site.start()
        pam.logged_in(server).close()
        until(lambda: pam.entries() == [OPEN, CLOSED], "the PAM session is closed")


@each_isolation
def test_session_of_pam_is_closed_when_its_process_is_killed(isolation: str, tmp_path: Path) -> None:
    """By nobody but the kernel: with SIGKILL no process can do anything any more."""
    with pam_site(isolation, tmp_path) as pam:
        server = pam.site.start()
        with pam.logged_in(server) as client:
            if isolation == "per-user":
                (victim,) = processes_of(pam.user)
            else:
                (victim,) = set(server.fronts()) - {verifier_of(server)}
            assert pam.entries() == [OPEN]
            os.kill(victim, signal.SIGKILL)
            assert client.line() == b""
        until(lambda: pam.entries() == [OPEN, CLOSED], "the PAM session is closed")
        with pam.logged_in(server):
            assert pam.entries() == [OPEN, CLOSED, OPEN]


@each_isolation
def test_sessions_of_pam_are_closed_when_the_server_stops(isolation: str, tmp_path: Path) -> None:
    """Before the server has ended."""
    with pam_site(isolation, tmp_path) as pam:
        server = pam.site.start()
        with pam.logged_in(server):
            assert server.stop() == 0
            assert pam.entries() == [OPEN, CLOSED]


@each_isolation
def test_sessions_of_pam_are_closed_when_the_server_is_killed(isolation: str, tmp_path: Path) -> None:
    """The verifier stays until they are, and not longer."""
    with pam_site(isolation, tmp_path) as pam:
        server = pam.site.start()
        verifier = verifier_of(server)
        with pam.logged_in(server):
            os.kill(server.pid, signal.SIGKILL)
        until(lambda: pam.entries() == [OPEN, CLOSED], "the PAM session is closed")
        until(lambda: not Path(f"/proc/{verifier}/cmdline").exists(), "the verifier ends")


@each_isolation
def test_login_without_a_session_of_pam_is_refused_for_now(isolation: str, tmp_path: Path) -> None:
    """It is no wrong password; no process is left over, and the log has the reason."""
    with pam_site(isolation, tmp_path, "session requisite pam_deny.so\n") as pam:
        server = pam.site.start()
        with RawClient(server.addresses[0]) as client:
            assert client.log_in(pam.user, "secret") == LATER
            assert client.log_in(pam.user, "wrong").startswith(b"-ERR [AUTH]")
        assert pam.entries() == []
        until(lambda: not keepers_of(server), "no process is left over")
        assert server.count_in_log("no PAM session: ") >= 1


@each_isolation
def test_whoever_may_not_log_in_has_no_session_of_pam(isolation: str, tmp_path: Path) -> None:
    """The rules of [login] come first, and so does the limit on connections of a user."""
    with pam_site(isolation, tmp_path, server="max_connections_per_user = 1") as pam:
        server = pam.site.start()
        with pam.logged_in(server), RawClient(server.addresses[0]) as second:
            assert second.log_in(pam.user, "secret").startswith(b"-ERR [SYS/TEMP] too many connections")
            assert pam.entries() == [OPEN]
            until(lambda: len(keepers_of(server)) == 1, "the second attempt is over")
        until(lambda: pam.entries() == [OPEN, CLOSED], "the first session is over")
        SystemUsers().run("usermod", "--shell", "/usr/sbin/nologin", pam.user)
        with RawClient(server.addresses[0]) as third:
            assert third.log_in(pam.user, "secret").startswith(b"-ERR [AUTH]")
            until(lambda: not keepers_of(server), "its attempt is over")
        assert pam.entries() == [OPEN, CLOSED]


@each_isolation
def test_session_of_pam_ends_when_the_maildrop_cannot_be_opened(isolation: str, tmp_path: Path) -> None:
    """The login was refused, so the session is over."""
    with pam_site(isolation, tmp_path) as pam:
        server = pam.site.start()
        with pam.logged_in(server), RawClient(server.addresses[0]) as second:
            assert second.log_in(pam.user, "secret").startswith(b"-ERR [IN-USE]")
            until(lambda: pam.entries() == [OPEN, OPEN, CLOSED], "the second PAM session is closed")


@each_isolation
def test_session_of_pam_under_inetd(isolation: str, tmp_path: Path) -> None:
    """One client, one process for it, and nothing left when it has ended."""
    with pam_site(isolation, tmp_path) as pam, started(pam.site.configuration) as client:
        assert client.lines.readline() == b"+OK POP3 server ready\r\n"
        client.ask(f"USER {pam.user}")
        assert client.ask("PASS secret").startswith(b"+OK maildrop has 1 messages")
        opened = pam.entries()
        assert client.ask("QUIT").startswith(b"+OK")
        assert client.end() == 0
        assert [line.split()[0] for line in (*opened, *pam.entries())] == ["open_session"] * 2 + ["close_session"]
