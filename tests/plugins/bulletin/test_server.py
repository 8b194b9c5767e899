"""Bulletins on a whole server: under one user id, and as each user of the machine."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from popframe.testing import MailSite, RawClient, ServerProcess, SystemUsers

from .bulletin_room import FROM_LINE

PLUGINS = ("auth_file", "store_mbox", "bulletin")
HASH = "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1"
UIDS = count(50_000 + 2_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")))
"""Numbers that no account of the machine has."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a server that becomes each user")


def post(folder: Path, number: int) -> None:
    """Put a bulletin into the folder, as one that has been there for a while."""
    path = folder / f"{number}.text"
    path.write_bytes(FROM_LINE + b"To: all\nSubject: bulletin %d\n\nhi\n\n" % number)
    path.chmod(0o644)
    os.utime(path, (0, 0))


def read_all(client: RawClient) -> list[str]:
    """Return the subjects of all messages of a session."""
    subjects = []
    total = int(client.ask("STAT").split()[1])
    for number in range(1, total + 1):
        client.ask(f"RETR {number}")
        (subject,) = [line for line in client.body().split(b"\r\n") if line.startswith(b"Subject: ")]
        subjects.append(subject.removeprefix(b"Subject: ").decode())
    return subjects


def session(server: ServerProcess, user: str) -> list[str]:
    """Log in and return the subjects."""
    with RawClient(server.addresses[0]) as client:
        assert client.log_in(user, "secret").startswith(b"+OK")
        return read_all(client)


def test_users_of_one_server_each_get_each_bulletin_once() -> None:
    """New ones while it runs too; whoever comes twice at once gets none twice."""
    with MailSite({"alice": "secret", "bob": "secret"}) as site:
        folder = site.directory / "bulletins"
        folder.mkdir()
        (site.directory / "state").mkdir()
        for number in (1, 2):
            post(folder, number)
        site.put("alice", [b"Subject: own\n\nhi\n"])
        site.configure(more='[plugin.bulletin]\nfolder = "bulletins"\nstate_dir = "state"\n', plugins=PLUGINS)
        server = site.start()

        assert session(server, "alice") == ["own", "bulletin 2"]
        assert session(server, "alice") == ["own", "bulletin 2"]
        for number in (3, 4):
            post(folder, number)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda _: attempt(server, "alice"), range(12)))
        assert session(server, "alice") == ["own", "bulletin 2", "bulletin 3", "bulletin 4"]
        assert session(server, "bob") == ["bulletin 4"]
        assert "alice got 3.text, 4.text" in server.log()
        assert " level=error" not in server.log()


def attempt(server: ServerProcess, user: str) -> None:
    """Log in, which another session may prevent."""
    with RawClient(server.addresses[0]) as client:
        client.log_in(user, "secret")


def test_nothing_about_bulletins_stops_a_login() -> None:
    """No folder, no home, no store that takes them: a line in the log."""
    with MailSite({"alice": "secret"}) as site:
        site.put("alice", [b"Subject: own\n\nhi\n"])
        site.configure(more='[plugin.bulletin]\nfolder = "nowhere"\n', plugins=PLUGINS)
        server = site.start()

        assert session(server, "alice") == ["own"]
        assert "nowhere cannot be read: No such file or directory" in server.log()
        assert "no bulletins for alice: the account has no home directory" in server.log()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that everybody may enter."""
    path = Path(tempfile.mkdtemp(prefix="popframe-bulletin-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


class UserSite:
    """A server that becomes each user, with home directories."""

    def __init__(self, folder: Path, names: Mapping[str, int], more: str = "") -> None:
        self.folder = folder
        self.bulletins = folder / "bulletins"
        for name, mode in (("mail", 0o1777), ("state", 0o1777), ("bulletins", 0o755), ("home", 0o755)):
            (folder / name).mkdir()
            (folder / name).chmod(mode)
        lines = []
        self.uids = names
        for name, uid in self.uids.items():
            home = folder / "home" / name
            home.mkdir(mode=0o700)
            os.chown(home, uid, uid)
            lines.append(f"{name}:{HASH}:uid={uid} gid={uid} home={home}\n")
        (folder / "users").write_text("".join(lines))
        configuration = folder / "popframe.toml"
        configuration.write_text(
            'plugins = ["auth_file", "store_mbox", "bulletin"]\n[server]\nlisten = ["127.0.0.1:0"]\nrun_as = "nobody"\n'
            'isolation = "per-user"\nfronts = 1\n[plugin.auth_file]\npath = "users"\n[plugin.store_mbox]\n'
            f'spool_dir = "mail"\nstate_dir = "state"\n[plugin.bulletin]\nfolder = "bulletins"\n{more}\n'
        )
        self.server = ServerProcess(configuration)

    def popbull(self, name: str) -> Path:
        """Return a user's file."""
        return self.folder / "home" / name / ".popbull"


@needs_root
def test_each_user_has_a_file_in_the_home_directory(folder: Path) -> None:
    """Popper's file, at popper's place; made as the user, and with popper's content where it is there already."""
    site = UserSite(folder, {"alice": next(UIDS), "bob": next(UIDS)})
    for number in (8, 9, 10):
        post(site.bulletins, number)
    site.popbull("alice").write_text("8\n")
    os.chown(site.popbull("alice"), site.uids["alice"], site.uids["alice"])
    with site.server:
        assert session(site.server, "alice") == ["bulletin 9", "bulletin 10"]
        assert session(site.server, "bob") == ["bulletin 10"]
        post(site.bulletins, 11)
        assert session(site.server, "alice") == ["bulletin 9", "bulletin 10", "bulletin 11"]
        assert session(site.server, "alice") == ["bulletin 9", "bulletin 10", "bulletin 11"]
    for name, uid in site.uids.items():
        status = site.popbull(name).stat()
        assert (status.st_uid, status.st_mode & 0o777) == (uid, 0o600)
    assert site.popbull("alice").read_bytes() == b"11\n"
    assert site.popbull("bob").read_bytes() == b"10\n"
    assert sorted(path.name for path in site.popbull("bob").parent.iterdir()) == [".popbull", ".popbull.popframe"]


@needs_root
def test_user_touches_nothing_that_the_user_may_not(folder: Path) -> None:
    """Links in a home directory lead nowhere; a file that somebody else has put there is told and not believed."""
    site = UserSite(folder, {"alice": next(UIDS), "bob": next(UIDS)}, 'state_dir = "state"')
    post(site.bulletins, 1)
    secret = folder / "secret"
    secret.write_text("5\n")
    secret.chmod(0o600)
    (folder / "state" / "alice.popbull").symlink_to(secret)
    (folder / "state" / "bob.popbull").write_text("99\n")
    (folder / "state" / "bob.popbull").chmod(0o644)
    os.chown(folder / "state" / "bob.popbull", site.uids["alice"], -1)
    with site.server:
        assert session(site.server, "alice") == []
        assert session(site.server, "bob") == []
        assert "no bulletins for alice: " in site.server.log()
        assert f"bob.popbull belongs to user {site.uids['alice']}" in site.server.log()
    assert secret.read_text() == "5\n"


@needs_root
def test_bulletin_that_users_may_not_read_is_told(folder: Path) -> None:
    """Root posted it under a narrow umask; the login goes on."""
    site = UserSite(folder, {"alice": next(UIDS)})
    post(site.bulletins, 1)
    with site.server:
        post(site.bulletins, 2)
        (site.bulletins / "2.text").chmod(0o600)
        assert session(site.server, "alice") == []
        assert "no bulletins for alice: " in site.server.log()
        assert "2.text: Permission denied" in site.server.log()
        (site.bulletins / "2.text").chmod(0o644)
        assert session(site.server, "alice") == ["bulletin 2"]


@pytest.mark.skipif(not SystemUsers.is_possible(), reason="needs root: real users of the machine")
def test_group_bulletins_reach_the_groups_of_the_machine(folder: Path) -> None:
    """A supplementary group, and none, of real users, asked by a process that is the user."""
    with SystemUsers() as users:
        member, other = users.add("--groups", "games"), users.add()
        uids = {name: pwd.getpwnam(name).pw_uid for name in (member, other)}
        site = UserSite(folder, uids, "group_bulletins = true\nmax_old_bulletins = 9")
        for number, group in ((1, "games"), (2, "ALL"), (3, "no-such-group")):
            post(site.bulletins, number)
            (site.bulletins / f"{number}.text").rename(site.bulletins / f"{number}.{group}.text")
        with site.server:
            assert session(site.server, member) == ["bulletin 1", "bulletin 2"]
            assert session(site.server, other) == ["bulletin 2"]
            assert session(site.server, member) == ["bulletin 1", "bulletin 2"]
        assert site.popbull(member).read_bytes() == b"3\n"
