"""Hundreds of logins that hang in a PAM module, in the whole server: whom that keeps waiting, and what is left over."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from popframe.testing.client import RawClient
from popframe.testing.site import MailSite
from popframe.testing.system_users import SystemUsers

from .inetd_room import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make accounts: run as root")

LONG = os.environ.get("POPFRAME_LONG") == "1"

HUNG = 500 if LONG else 200
"""Fewer than the attempts that auth_pam has at once, which is 512."""

ATTEMPT_SECONDS = 30 if LONG else 15
"""What a hung attempt is given; long enough for all of them to be there at the same time on a loaded machine."""

QUICK_SECONDS = 1.0
"""What the login of somebody else may take meanwhile, at its best of a few."""

OTHERS = 5

SETTLE_SECONDS = 1.0
"""How long a server may take to end what a session needed."""


@pytest.fixture
def user() -> Iterator[str]:
    """Yield a real user with the password ``secret``."""
    with SystemUsers() as users:
        name = users.add("--shell", "/bin/sh")
        users.run("chpasswd", stdin=f"{name}:secret\n")
        yield name


@pytest.fixture
def service(user: str, tmp_path: Path) -> Iterator[str]:
    """Yield a PAM service that never has done with users called hung; what it runs for them notes its process id."""
    name = f"popframe-test-{secrets.token_hex(6)}"
    program = tmp_path / "hang"
    program.write_text(f'#!/bin/sh\n[ "$PAM_USER" = hung ] || exit 0\necho $$ >> {tmp_path}/hung\nexec sleep 600\n')
    program.chmod(0o755)
    path = Path("/etc/pam.d", name)
    try:
        path.write_text(
            f"auth required pam_exec.so quiet {program}\nauth required pam_unix.so nodelay\n"
            "account required pam_unix.so\n"
        )
        yield name
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def site_of(user: str, service: str, isolation: str) -> Iterator[MailSite]:
    """Give a site with a message for the user, on which this many may hang."""
    entry = pwd.getpwnam(user)
    with MailSite({}) as site:
        (site.directory / "state").mkdir()
        site.configure(
            f'isolation = "{isolation}"\nmax_connections_per_address = 1024\n',
            f'[plugin.auth_pam]\nservice = "{service}"\ntimeout_seconds = {ATTEMPT_SECONDS}\n'
            "[abuse]\nmax_wrong_passwords = 0\n",  # all come from one address
            plugins=("auth_pam", "store_mbox"),
        )
        text = site.configuration.read_text()
        site.configuration.write_text(text.replace('spool_dir = "mail"', 'spool_dir = "mail"\nstate_dir = "state"'))
        site.put(user, [b"Subject: one\n\nhello\n"])
        os.chown(site.spool(user), entry.pw_uid, entry.pw_gid)
        site.spool(user).chmod(0o666)
        for folder in ("mail", "state"):
            (site.directory / folder).chmod(0o1777)
        yield site


def descendants_of(pid: int) -> list[int]:
    """Return all processes below one."""
    found = []
    with contextlib.suppress(OSError):
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            found += [child, *descendants_of(child)]
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("isolation", ["shared", "per-user"])
def test_hundreds_of_logins_that_hang_keep_nobody_else_out(
    isolation: str, user: str, service: str, tmp_path: Path
) -> None:
    """All of them at the same time; others log in as if there were none, and when their time is over, all is gone."""
    with site_of(user, service, isolation) as site:
        server = site.start()
        seconds_of_a_session(server.addresses[0], user)  # whatever is started late is there then
        time.sleep(SETTLE_SECONDS)
        idle = len(descendants_of(server.pid))
        hung: list[RawClient] = []
        try:
            for _ in range(HUNG):
                hung.append(RawClient(server.addresses[0]))
                hung[-1].send(b"USER hung\r\nPASS secret\r\n")
            pids = tmp_path / "hung"
            until(lambda: pids.exists() and pids.read_text().count("\n") == HUNG, "all of them hang")
            seconds = [seconds_of_a_session(server.addresses[0], user) for _ in range(OTHERS)]
            programs = [int(pid) for pid in pids.read_text().split()]
            assert all(Path(f"/proc/{pid}").exists() for pid in programs), "they hang no more"
            assert min(seconds) < QUICK_SECONDS, seconds
            replies = replies_to(hung)
        finally:
            for client in hung:
                client.close()

        assert replies == [b"-ERR [SYS/TEMP] temporary problem on the server, try again later\r\n"] * HUNG
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in programs), "what the modules ran has ended")
        until(lambda: len(descendants_of(server.pid)) <= idle, "no process is left over")
        assert server.count_in_log(f"no answer from PAM within {ATTEMPT_SECONDS} s") >= HUNG
        assert seconds_of_a_session(server.addresses[0], user) < QUICK_SECONDS


def seconds_of_a_session(address: tuple[str, int], user: str) -> float:
    """Log in, read, and quit; return how long it took."""
    started = time.monotonic()
    with RawClient(address) as client:
        assert client.log_in(user, "secret").startswith(b"+OK maildrop has 1 messages")
        assert client.ask("QUIT").startswith(b"+OK")
    return time.monotonic() - started


def replies_to(clients: list[RawClient]) -> list[bytes]:
    """Return what each is told of its password."""
    replies = [b""] * len(clients)

    def wait(number: int) -> None:
        clients[number].line()
        replies[number] = clients[number].line()

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies
