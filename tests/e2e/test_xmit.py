"""XTND XMIT on a whole server: from one user of the machine to another, through its real mail system."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from popframe.testing import MailSite, RawClient, ServerProcess, SystemUsers

from .inetd_room import started
from .isolated_site import HASH, PASSWORD, Site, until
from .test_tls_isolation import TlsIsolation

needs_users = pytest.mark.skipif(not SystemUsers.is_possible(), reason="needs root: makes users")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a server that becomes each user")
needs_dma = pytest.mark.skipif(not os.path.exists("/usr/sbin/dma"), reason="needs dma (Debian: apt-get install dma)")
needs_dotlockfile = pytest.mark.skipif(
    shutil.which("dotlockfile") is None, reason="needs dotlockfile (Debian: liblockfile-bin)"
)

PLUGINS = ("auth_file", "store_mbox", "xtnd")

BODY = (
    b"Subject: dots\r\nMIME-Version: 1.0\r\n\r\n.\r\n..\r\n.leading\r\nFrom here on\r\n"
    b"Gr\xc3\xbc\xc3\x9fe, latin \xe4\r\n" + b"x" * 900 + b"\r\n\r\nthe end\r\n"
)

PROBE = """#!/bin/sh
cat > {folder}/sent.$$
exec > {folder}/seen.$$
id -u; id -g; id -G; grep -e NoNewPrivs -e SigBlk -e SigIgn /proc/self/status; env; ls /proc/self/fd
mv {folder}/seen.$$ {folder}/seen
"""


def stuffed(message: bytes) -> bytes:
    """Return what a client sends for a message."""
    return message.replace(b"\r\n.", b"\r\n..") + b".\r\n"


@pytest.fixture
def folder(folder: Path) -> Path:
    """Return the folder, in which everybody may make files."""
    folder.chmod(0o1777)
    return folder


@pytest.fixture
def neighbours(folder: Path) -> Iterator[tuple[list[str], ServerProcess]]:
    """Yield two users of the machine, and a running server with a process for each and the machine's mail system."""
    (folder / "state").mkdir()
    (folder / "state").chmod(0o1777)
    with SystemUsers() as users:
        names = [users.add() for _ in range(2)]
        try:
            accounts = [pwd.getpwnam(name) for name in names]
            (folder / "users").write_text(
                "".join(f"{user.pw_name}:{HASH}:uid={user.pw_uid} gid={user.pw_gid}\n" for user in accounts)
            )
            (folder / "popframe.toml").write_text(
                'plugins = ["auth_file", "store_mbox", "xtnd"]\n'
                '[server]\nlisten = ["127.0.0.1:0"]\nrun_as = "nobody"\nisolation = "per-user"\nfronts = 1\n'
                '[plugin.auth_file]\npath = "users"\n[plugin.store_mbox]\nstate_dir = "state"\n'
                f'[plugin.xtnd]\nxmit = true\nspool_dir = "{folder}"\n'
            )
            with ServerProcess(folder / "popframe.toml") as server:
                yield names, server
        finally:
            for name in names:
                Path("/var/mail", name).unlink(missing_ok=True)
                Path("/var/mail", f"{name}.lock").unlink(missing_ok=True)


@needs_users
@needs_dma
@needs_dotlockfile
def test_a_message_arrives_in_another_maildrop(neighbours: tuple[list[str], ServerProcess]) -> None:
    """Sent with XMIT, delivered by dma, fetched over POP3: octet for octet, and the mail system knows who it was."""
    (alice, bob), server = neighbours
    with RawClient(server.addresses[0]) as client:
        assert client.log_in(alice, PASSWORD).startswith(b"+OK")
        assert client.ask("XTND XMIT").startswith(b"+OK start sending")
        client.send(stuffed(b"To: %b\r\n" % bob.encode() + BODY))
        assert client.line() == b"+OK message sent\r\n"
        assert client.ask("QUIT").startswith(b"+OK")
    spool = Path("/var/mail", bob)
    until(lambda: spool.exists() and b"the end\n" in spool.read_bytes(), "dma delivers")
    with RawClient(server.addresses[0]) as client:
        client.log_in(bob, PASSWORD)
        assert client.ask("RETR 1").startswith(b"+OK")
        message = (b"\r\n" + client.body()).replace(b"\r\n..", b"\r\n.")
        client.ask("DELE 1")
        assert client.ask("QUIT").startswith(b"+OK")
    header, _, body = message.partition(b"\r\n\r\n")

    assert body.replace(b"\n>From ", b"\nFrom ").rstrip() == BODY.partition(b"\r\n\r\n")[2].rstrip()
    assert b"\r\nTo: " + bob.encode() in header
    assert b"(account %b)" % alice.encode() in header
    assert b"(uid %d)" % pwd.getpwnam(alice).pw_uid in header  # dma's own Received field
    assert b"\r\nFrom: " + alice.encode() in header or b"\r\nFrom: <" + alice.encode() in header


@needs_users
@needs_dma
@needs_dotlockfile
def test_the_mail_system_refuses_a_message_without_recipients(neighbours: tuple[list[str], ServerProcess]) -> None:
    """The client is told, nobody gets anything, and the session goes on."""
    (alice, _), server = neighbours
    with RawClient(server.addresses[0]) as client:
        client.log_in(alice, PASSWORD)
        client.ask("XTND XMIT")
        client.send(b"Subject: to nobody\r\n\r\nhi\r\n.\r\n")

        assert client.line().startswith(b"-ERR ")
        assert client.ask("STAT") == b"+OK 0 0\r\n"


THREAD_SIGNALS = 1 << 31 | 1 << 32
"""SIGCANCEL and SIGSETXID, which posix_spawn of glibc has ignored in what it starts."""


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    """Yield a running server for alice and bob, with a process for each, and a mailer that tells what it sees."""
    (folder / "sendmail").write_text(PROBE.format(folder=folder))
    (folder / "sendmail").chmod(0o755)
    made = Site(
        folder,
        ["alice", "bob"],
        store=f'[plugin.xtnd]\nxmit = true\nsendmail = ["{folder}/sendmail"]\nspool_dir = "{folder}"\n',
    )
    text = made.configuration.read_text()
    made.configuration.write_text(text.replace('"store_mbox"]', '"store_mbox", "xtnd"]'))
    with made.server:
        yield made


@needs_root
def test_the_mailer_is_the_user_and_has_nothing_else(site: Site) -> None:
    """Ids and groups of the user, no descriptor of the session, nothing of the server's environment."""
    with site.logged_in("alice") as client:
        client.ask("XTND XMIT")
        client.send(b"To: bob\r\n\r\nhi\r\n.\r\n")
        assert client.line() == b"+OK message sent\r\n"
    uid = str(site.uids["alice"])
    seen = (site.folder / "seen").read_text().split("\n")
    (sent,) = site.folder.glob("sent.*")

    assert seen[:4] == [uid, uid, uid, "SigBlk:\t0000000000000000"]
    # SIGHUP alone is ignored, as by anything that a server starts; and what glibc keeps to itself, below make.
    assert int(seen[4].split()[1], 16) & ~(1 | THREAD_SIGNALS) == 0
    assert seen[5] == "NoNewPrivs:\t0"
    assert seen[-5:] == ["0", "1", "2", "3", ""]  # the last is the folder that ls reads
    assert {line.partition("=")[0] for line in seen[6:-5]} <= {
        *("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "USER", "PWD", "OLDPWD", "SHLVL", "_"),
    }
    assert sent.stat().st_uid == site.uids["alice"]
    assert sent.read_bytes().endswith(b"To: bob\n\nhi\n")


@needs_root
@pytest.mark.parametrize("size", [0, 1, 70_000])
def test_a_client_that_breaks_off(site: Site, size: int) -> None:
    """The session's process ends, the maildrop is free, nothing was sent and nothing is left."""
    before = sorted(site.folder.iterdir())
    client = site.logged_in("alice")
    client.ask("XTND XMIT")
    client.send(b"To: bob\r\n\r\n" + b"x" * size)
    client.close()
    until(lambda: not site.processes_of("alice"), "the session's process ends")

    assert sorted(site.folder.iterdir()) == before
    with site.logged_in("alice"):
        pass


@needs_root
def test_a_session_that_is_killed_in_the_middle(site: Site) -> None:
    """Nothing was sent and nothing is left."""
    before = sorted(site.folder.iterdir())
    with site.logged_in("alice") as client:
        client.ask("XTND XMIT")
        client.send(b"To: bob\r\n\r\n" + b"x" * 1000)
        (pid,) = site.processes_of("alice")
        os.kill(pid, 9)
        until(lambda: not site.processes_of("alice"), "the session's process ends")

    assert sorted(site.folder.iterdir()) == before


@needs_root
def test_everything_sent_ahead_of_the_login(site: Site) -> None:
    """What goes to another process with the login arrives there whole."""
    with site.connect() as client:
        body = b"To: bob\r\n\r\nDELE 1\r\n" + b"y" * 100_000 + b"\r\n.\r\n"
        client.send(b"USER alice\r\nPASS %b\r\nXTND XMIT\r\n%bSTAT\r\nQUIT\r\n" % (PASSWORD.encode(), body))
        lines = client.rest().splitlines()

    assert [line[:3] for line in lines] == [b"+OK"] * 6
    assert lines[-3] == b"+OK message sent"
    assert lines[-2].startswith(b"+OK 2 ")


@needs_root
def test_twenty_megabytes_under_tls(folder: Path) -> None:
    """Through the front, which keeps the TLS, to the process that is the user: every octet."""
    made = TlsIsolation(folder)
    (folder / "sendmail").write_text(PROBE.format(folder=folder))
    (folder / "sendmail").chmod(0o755)
    text = made.site.configuration.read_text().replace('"store_mbox"]', '"store_mbox", "xtnd"]')
    table = f'[plugin.xtnd]\nxmit = true\nsendmail = ["{folder}/sendmail"]\nspool_dir = "{folder}"\n'
    made.site.configuration.write_text(text + table + "trace_header = false\n")
    message = b"To: bob\r\n\r\n" + b"".join(b"%d %b\r\n" % (n, b"x" * 980) for n in range(20_000))
    with made.server, made.logged_in("alice") as client:
        client.ask("XTND XMIT")
        client.send(message + b".\r\n")
        assert client.line() == b"+OK message sent\r\n"
        assert client.ask("QUIT").startswith(b"+OK")
    (sent,) = folder.glob("sent.*")

    assert sent.read_bytes() == message.replace(b"\r\n", b"\n")


def test_virtual_users_send_only_where_the_site_wants_it(site_of_virtual_users: MailSite) -> None:
    """Isolation ``shared``: refused, and the log says what to set; where that is set, sent."""
    made = site_of_virtual_users
    mailer = made.directory / "sendmail"
    mailer.write_text(f"#!/bin/sh\ncat > {made.directory}/mail/sent\n")
    mailer.chmod(0o755)
    table = f'[plugin.xtnd]\nxmit = true\nsendmail = ["{mailer}", "-t"]\n'
    for allowed in (False, True):
        made.configure(more=table + f"as_server_user = {str(allowed).lower()}\n", plugins=PLUGINS)
        server = made.server()
        server.start()
        client = made.connect(server, "alice")
        reply = client.ask("XTND XMIT")
        if allowed:
            client.send(b"To: bob\r\n\r\nhi\r\n.\r\n")
            assert client.line() == b"+OK message sent\r\n"
        else:
            assert reply.startswith(b"-ERR [SYS/PERM]")
            assert server.count_in_log("as_server_user is not set") == 1
        assert client.ask("QUIT").startswith(b"+OK")
        server.stop()

    assert (made.directory / "mail" / "sent").read_bytes().endswith(b"To: bob\n\nhi\n")


@pytest.fixture
def site_of_virtual_users() -> Iterator[MailSite]:
    """Yield a site where alice has the password ``secret``."""
    with MailSite({"alice": "secret"}) as made:
        yield made


def test_a_client_of_inetd(site_of_virtual_users: MailSite) -> None:
    """The program's output never reaches the client, though the connection was descriptor 1."""
    made = site_of_virtual_users
    mailer = made.directory / "sendmail"
    mailer.write_text(f"#!/bin/sh\necho +OK talkative; echo more >&2\ncat > {made.directory}/mail/sent\n")
    mailer.chmod(0o755)
    table = f'[plugin.xtnd]\nxmit = true\nsendmail = ["{mailer}"]\nas_server_user = true\n'
    made.configure(more=table, plugins=PLUGINS)
    with started(made.configuration) as client:
        client.lines.readline()
        client.ask("USER alice")
        assert client.ask("PASS secret").startswith(b"+OK")
        assert client.ask("XTND XMIT").startswith(b"+OK start sending")
        client.socket.sendall(b"To: bob\r\n\r\nhi\r\n.\r\n")
        assert client.lines.readline() == b"+OK message sent\r\n"
        assert client.ask("STAT") == b"+OK 0 0\r\n"
        assert client.ask("QUIT").startswith(b"+OK")
        assert client.end() == 0

    assert (made.directory / "mail" / "sent").read_bytes().endswith(b"To: bob\n\nhi\n")


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_server_that_is_stopped(site_of_virtual_users: MailSite, is_whole: bool) -> None:
    """A message that has not come whole is not sent; one that the mailer has already is sent."""
    made = site_of_virtual_users
    mailer = made.directory / "sendmail"
    mailer.write_text(f"#!/bin/sh\ntouch {made.directory}/mail/begun; sleep 2\ncat > {made.directory}/mail/sent\n")
    mailer.chmod(0o755)
    table = f'[plugin.xtnd]\nxmit = true\nsendmail = ["{mailer}"]\nas_server_user = true\n'
    made.configure(more=table, plugins=PLUGINS)
    server = made.start()
    client = made.connect(server, "alice")
    client.ask("XTND XMIT")
    client.send(b"To: bob\r\n\r\nhi\r\n" + b".\r\n" * is_whole)
    if is_whole:
        until((made.directory / "mail" / "begun").exists, "the mailer begins")
    server.stop()
    sent = made.directory / "mail" / "sent"
    if is_whole:
        until(lambda: sent.exists() and sent.read_bytes().endswith(b"hi\n"), "the mailer ends")

    assert sent.exists() is is_whole
