"""The whole server with the accounts of the machine: started as root, serving as nobody, asking PAM as root."""

from __future__ import annotations

import contextlib
import os
import poplib
import pwd
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from popframe.testing.client import RawClient
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite
from popframe.testing.system_users import SystemUsers

from .inetd_room import children_of, connections_of, started, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make accounts: run as root")

MESSAGE = b"Subject: one\n\nhello\n"


@pytest.fixture
def user() -> Iterator[str]:
    """Yield a real user with the password ``secret``."""
    with SystemUsers() as users:
        name = users.add()
        users.run("chpasswd", stdin=f"{name}:secret\n")
        yield name


@pytest.fixture
def service() -> Iterator[str]:
    """Yield the name of a PAM service that lets in whoever comes from 127.0.0.1 with the right password."""
    name = f"popframe-test-{secrets.token_hex(6)}"
    path = Path("/etc/pam.d", name)
    try:
        path.write_text("auth required pam_unix.so nodelay\naccount required pam_unix.so\n")
        yield name
    finally:
        path.unlink(missing_ok=True)


@pytest.fixture
def pam_site(user: str, service: str) -> Iterator[MailSite]:
    """Yield a site with one message for the user, in a spool that belongs to the user and that the server may write."""
    with MailSite({}) as made:
        configure(made, service)
        made.put(user, [MESSAGE])
        os.chown(made.spool(user), pwd.getpwnam(user).pw_uid, -1)
        made.spool(user).chmod(0o666)
        yield made


def configure(site: MailSite, service: str, more: str = "") -> None:
    """Write a configuration with auth_pam; nothing changes hands that is there already."""
    spools = [(path, path.stat().st_uid) for path in (site.directory / "mail").iterdir()]
    site.configure(
        "fronts = 2\n", f'[plugin.auth_pam]\nservice = "{service}"\n{more}', plugins=("auth_pam", "store_mbox")
    )
    for path, uid in spools:
        os.chown(path, uid, -1)


def verifier_of(server: ServerProcess) -> int:
    """Return the process id of the verifier."""
    (found,) = [pid for pid in server.fronts() if b"popframe_auth_pam.verifier" in command_line(pid)]
    return found


def command_line(pid: int) -> bytes:
    """Return the command line of a process; empty when there is none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def uids_of(pid: int) -> list[str]:
    """Return the real, effective, saved and file system user ids of a process."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in status if line.startswith("Uid:")]
    return line.split()[1:]


def test_user_of_the_machine_reads_and_removes_mail(pam_site: MailSite, user: str) -> None:
    """Log in over a socket with the password of the machine; nothing that talks to clients is root."""
    server = pam_site.start()
    host, port = server.addresses[0]
    client = poplib.POP3(host, port, timeout=60)
    client.user(user)
    with pytest.raises(poplib.error_proto, match=r"^b'-ERR \[AUTH\] user name or password not accepted'$"):
        client.pass_("wrong")
    client.user(user)
    client.pass_("secret")
    assert client.retr(1)[1] == [b"Subject: one", b"", b"hello"]
    client.dele(1)
    client.quit()

    assert pam_site.spool(user).read_bytes() == b""
    verifier = verifier_of(server)
    nobody = str(pwd.getpwnam("nobody").pw_uid)
    assert uids_of(verifier) == ["0"] * 4
    assert [uids_of(pid) for pid in (server.pid, *server.fronts()) if pid != verifier] == [[nobody] * 4] * 3
    assert 'reason="wrong password, or locked (PAM_AUTH_ERR)"' in server.log()
    assert server.stop() == 0
    assert not command_line(verifier)


def test_one_session_on_descriptor_0_asks_pam(pam_site: MailSite, user: str) -> None:
    """Started by inetd: the verifier is the process's own, does not hold the client's connection, and ends with it."""
    with started(pam_site.configuration) as client:
        assert client.lines.readline() == b"+OK POP3 server ready\r\n"
        client.ask(f"USER {user}")
        assert client.ask("PASS secret").startswith(b"+OK maildrop has 1 messages")
        children = children_of(client.process.pid)
        (verifier,) = [pid for pid in children if b"popframe_auth_pam.verifier" in command_line(pid)]
        assert uids_of(verifier) == ["0"] * 4
        assert not connections_of(verifier)
        assert client.ask("QUIT").startswith(b"+OK")
        assert client.end() == 0
        until(lambda: not command_line(verifier), "the verifier ends")


def test_debians_spools_are_served_as_user_mail(pam_site: MailSite, user: str, service: str) -> None:
    """Where mail is 0660 user:mail in a 2775 root:mail directory, user mail serves all; owner, group and mode stay."""
    mail = pwd.getpwnam("mail")
    spool_dir = pam_site.directory / "var-mail"
    spool_dir.mkdir()
    os.chown(spool_dir, 0, mail.pw_gid)
    spool_dir.chmod(0o2775)
    spool = spool_dir / user
    spool.write_bytes(pam_site.spool(user).read_bytes())
    os.chown(spool, pwd.getpwnam(user).pw_uid, mail.pw_gid)
    spool.chmod(0o660)
    before = spool.stat()
    pam_site.configuration.write_text(
        'plugins = ["auth_pam", "store_mbox"]\n[server]\nlisten = ["127.0.0.1:0"]\nrun_as = "mail"\n'
        f'[plugin.auth_pam]\nservice = "{service}"\n[plugin.store_mbox]\nspool_dir = "{spool_dir}"\n'
    )
    server = pam_site.start()
    with RawClient(server.addresses[0]) as client:
        assert client.log_in(user, "secret").startswith(b"+OK")
        assert client.ask("DELE 1").startswith(b"+OK")
        assert client.ask("QUIT").startswith(b"+OK")

    after = spool.stat()
    assert after.st_size == 0
    assert (after.st_ino, after.st_uid, after.st_gid, after.st_mode) == (
        before.st_ino,
        before.st_uid,
        before.st_gid,
        before.st_mode,
    )


def test_trouble_with_pam_is_no_wrong_password(pam_site: MailSite, user: str, service: str) -> None:
    """The client is told to try again later, and the log says at level error what is wrong."""
    server = pam_site.start()
    Path("/etc/pam.d", service).write_text("auth required pam_no_such_module.so\n")
    with RawClient(server.addresses[0]) as client:
        assert client.log_in(user, "secret") == b"-ERR [SYS/TEMP] temporary problem on the server, try again later\r\n"
    assert "PAM cannot tell whether a user may log in" in server.log()
    assert "secret" not in server.log()


def test_reload_keeps_the_verifier_and_refuses_another_service(pam_site: MailSite, user: str, service: str) -> None:
    """Nobody is root any more who could start one; with the settings of the start, everything works on."""
    server = pam_site.start()
    verifier = verifier_of(server)
    server.reload()
    assert server.count_in_log(" reloaded ") == 1
    configure(pam_site, service, "timeout_seconds = 5\n")
    server.reload()
    assert server.count_in_log("what it prepares at start has changed: restart the server") == 1

    for _ in server.until("the old fronts to end"):
        if len(server.fronts()) == 3:
            break
    assert verifier_of(server) == verifier
    with RawClient(server.addresses[0]) as client:
        assert client.log_in(user, "secret").startswith(b"+OK")


def test_verifier_ends_when_the_server_is_killed(pam_site: MailSite) -> None:
    """No root process stays behind."""
    server = pam_site.start()
    verifier = verifier_of(server)
    os.kill(server.pid, signal.SIGKILL)

    for _ in server.until("the verifier to end"):
        if not command_line(verifier):
            break


def test_server_does_not_start_without_the_service(pam_site: MailSite, service: str) -> None:
    """The message names the file; check-config finds it too."""
    Path("/etc/pam.d", service).unlink()
    with pytest.raises(AssertionError, match=f"status 2:\n.*no PAM service file '{service}'"):
        pam_site.start()


def test_user_without_a_login_shell_is_refused_though_pam_accepts(pam_site: MailSite, user: str) -> None:
    """The rules of [login] hold behind PAM too; the client hears what a wrong password hears (C-038)."""
    SystemUsers().run("usermod", "--shell", "/usr/sbin/nologin", user)
    server = pam_site.start()
    with RawClient(server.addresses[0]) as client:
        replies = [client.log_in(user, password) for password in ("secret", "wrong")]

    assert replies == [b"-ERR [AUTH] user name or password not accepted\r\n"] * 2
    assert server.count_in_log("reason=\"login shell '/usr/sbin/nologin' is not in /etc/shells\"") == 1
    assert server.count_in_log('reason="wrong password, or locked (PAM_AUTH_ERR)"') == 1


@pytest.mark.parametrize("isolation", ["shared", "per-user"])
def test_every_refusal_takes_the_time_that_is_set(pam_site: MailSite, user: str, service: str, isolation: str) -> None:
    """Wrong, unknown, or right and refused by PAM or by a rule, though pam_unix wants a delay for some (A-009)."""
    Path("/etc/pam.d", service).write_text("auth required pam_unix.so\naccount required pam_unix.so\n")
    with SystemUsers() as users:
        states = {"expired": ["chage", "--expiredate", "2020-01-01"], "shell": ["usermod", "--shell", "/bin/false"]}
        tries = [(user, "wrong"), (users.new_name(), "secret")]
        for program, *options in states.values():
            tries.append((users.add("--shell", "/bin/sh"), "secret"))
            users.run("chpasswd", stdin=f"{tries[-1][0]}:secret\n")
            users.run(program, *options, tries[-1][0])
        configure(pam_site, service, "[login]\nrefusal_seconds = 1.0\n")
        text = pam_site.configuration.read_text()
        pam_site.configuration.write_text(text.replace("fronts = 2", f'fronts = 2\nisolation = "{isolation}"'))
        server = pam_site.start()
        for name, password in tries:
            seconds = [seconds_of_a_refusal(server, name, password) for _ in range(3)]
            assert 1.0 <= min(seconds) < 1.2, (name, password)

    for reason in ("wrong password, or locked", "unknown user", "the account has expired", "login shell '/bin/false'"):
        assert server.count_in_log(reason) == 3


def seconds_of_a_refusal(server: ServerProcess, name: str, password: str) -> float:
    """Be refused, with the words that all get, and return how long it took."""
    with RawClient(server.addresses[0]) as client:
        client.ask(f"USER {name}")
        started = time.monotonic()
        assert client.ask(f"PASS {password}") == b"-ERR [AUTH] user name or password not accepted\r\n"
        return time.monotonic() - started
