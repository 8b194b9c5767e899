"""The accounts of a Debian machine on port 110, a process for each, as in examples/system-users-apart.toml."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from popframe.testing import SystemUsers

pytestmark = [
    pytest.mark.checkout,
    pytest.mark.skipif(not SystemUsers.is_possible(), reason="needs root: makes users"),
    pytest.mark.skipif(shutil.which("dotlockfile") is None, reason="needs dotlockfile (Debian: liblockfile-bin)"),
]

ROOT = Path(__file__).parents[2]
MESSAGE = b"From a@example.org Mon Jan  5 09:00:00 2026\nSubject: for %b\n\nhello %b\n\n"
PASSWORD = "correct horse"
START_SECONDS = 20.0


@dataclass
class Machine:
    """A network of its own, in which a server has port 110 of 127.0.0.1.

    Attributes:
        users: Two users of this machine, each with two messages in /var/mail.
        configuration: The configuration of the server.
        server: Its process.
    """

    users: list[str]
    configuration: Path
    server: subprocess.Popen[bytes]

    def run(self, *command: str, stdin: str = "", user: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program in that network."""
        as_user = ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups"] if user else []
        inside = ["nsenter", f"--net=/proc/{self.server.pid}/ns/net", "--", *as_user, *command]
        return subprocess.run(inside, input=stdin, capture_output=True, text=True, check=False, timeout=60)

    def curl(self, user: str, *arguments: str) -> str:
        """Let curl do something, as a user who knows the password."""
        done = self.run("curl", "--silent", "--show-error", "--user", f"{user}:{PASSWORD}", *arguments)
        assert done.returncode == 0, done
        return done.stdout


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Yield the machine with its server running, as the comments of the example say."""
    with tempfile.TemporaryDirectory(prefix="popframe-system-") as folder:  # pytest keeps others out of its own
        Path(folder).chmod(0o755)
        yield from _serving(Path(folder))


def _serving(folder: Path) -> Iterator[Machine]:
    state_dir, service = folder / "state", Path("/etc/pam.d", f"popframe-test-{os.getpid()}")
    state_dir.mkdir()
    state_dir.chmod(0o1777)
    example = (ROOT / "examples" / "system-users-apart.toml").read_text("utf-8")
    configuration = folder / "popframe.toml"
    configuration.write_text(
        example.replace(', "[::1]:110"', "").replace("/var/lib/popframe/sessions", str(state_dir))
        + f'\n[plugin.auth_pam]\nservice = "{service.name}"\n'
    )
    spools: list[Path] = []
    with SystemUsers() as users:
        try:
            shutil.copy(ROOT / "packaging" / "pam.d" / "popframe", service)
            names = [users.add("--shell", "/bin/sh") for _ in range(2)]
            for name in names:
                users.run("chpasswd", stdin=f"{name}:{PASSWORD}\n")
                spools.append(spool := Path("/var/mail", name))
                spool.write_bytes((MESSAGE % (name.encode(), b"one")) + (MESSAGE % (name.encode(), b"two")))
                os.chown(spool, pwd.getpwnam(name).pw_uid, grp.getgrnam("mail").gr_gid)
                spool.chmod(0o660)
            inside = 'ip link set lo up && exec "$@"'
            serve = (sys.executable, "-m", "popframe", "serve", "--config", str(configuration))
            with (folder / "log").open("wb") as log:
                server = subprocess.Popen(["unshare", "--net", "sh", "-c", inside, "sh", *serve], stderr=log)
            try:
                made = Machine(names, configuration, server)
                deadline = time.monotonic() + START_SECONDS
                while b" started " not in (folder / "log").read_bytes():
                    assert time.monotonic() < deadline, (folder / "log").read_text()
                    time.sleep(0.05)
                yield made
            finally:
                server.terminate()
                assert server.wait(START_SECONDS) == 0
                print((folder / "log").read_text())  # shown when a test fails
        finally:
            service.unlink(missing_ok=True)
            for path in spools:
                path.unlink(missing_ok=True)


def subjects(text: str) -> list[str]:
    """Return the lines of a message that tell whose it is."""
    return [line for line in text.splitlines() if line.startswith(("Subject: ", "hello "))]


def test_curl_reads_and_deletes_mail_of_the_machine(machine: Machine) -> None:
    """Each user's own, which nobody else gets."""
    first, second = machine.users
    for user in machine.users:
        assert [line.split()[0] for line in machine.curl(user, "pop3://127.0.0.1/").splitlines()] == ["1", "2"]
        assert subjects(machine.curl(user, "pop3://127.0.0.1/2")) == [f"Subject: for {user}", "hello two"]
    machine.curl(first, "--head", "--request", "DELE 1", "pop3://127.0.0.1/")

    assert b"hello one" not in Path("/var/mail", first).read_bytes()
    assert Path("/var/mail", second).read_bytes().count(b"\nhello ") == 2
    wrong = machine.run("curl", "--silent", "--user", f"{first}:wrong", "pop3://127.0.0.1/")
    assert wrong.returncode == 67  # CURLE_LOGIN_DENIED


@pytest.mark.skipif(shutil.which("fetchmail") is None, reason="needs fetchmail (Debian: apt-get install fetchmail)")
def test_fetchmail_fetches_and_deletes_it(machine: Machine, tmp_path: Path) -> None:
    """Everything, once."""
    user = machine.users[0]
    fetched, control = tmp_path / "fetched", tmp_path / "fetchmailrc"
    fetched.touch()
    fetched.chmod(0o666)
    lines = [
        f'set idfile "{tmp_path}/ids"',
        f'set pidfile "{tmp_path}/pid"',
        "poll 127.0.0.1 protocol pop3 auth password",
        f'  user "{user}" password "{PASSWORD}" sslproto "" fetchall mda "cat >> {fetched}"',
    ]
    control.write_text("\n".join(lines) + "\n")
    control.chmod(0o600)
    done = machine.run("fetchmail", "--nodetach", "--nosyslog", "--fetchmailrc", str(control))

    assert done.returncode == 0, done
    assert subjects(fetched.read_text()) == [f"Subject: for {user}", "hello one", f"Subject: for {user}", "hello two"]
    assert Path("/var/mail", user).read_bytes() == b""
    status = Path("/var/mail", user).stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o660, pwd.getpwnam(user).pw_uid)


def test_processes_are_under_the_right_users(machine: Machine) -> None:
    """As ps shows them while a session is open."""
    user = machine.users[0]
    client = (
        "import poplib, subprocess, sys; pop = poplib.POP3('127.0.0.1')\n"
        "pop.user(sys.argv[1]); pop.pass_(sys.argv[2])\n"
        "print(subprocess.run(['ps', '-eww', '-o', 'user:32,args'], capture_output=True, text=True).stdout)\n"
    )
    done = machine.run(sys.executable, "-c", client, user, PASSWORD)
    lines = [line for line in done.stdout.splitlines() if f"--config {machine.configuration}" in line]
    owners = [line.split()[0] for line in lines]

    assert done.returncode == 0, done
    assert owners.count(user) == 1
    assert owners.count("nobody") == len(os.sched_getaffinity(0))
    assert owners.count("root") == 2  # master and gate
    assert len(owners) == 3 + len(os.sched_getaffinity(0))
