"""A real server for the users of the machine, which runs as somebody who may read shadow, or may not."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from popframe.testing import MailSite, RawClient, ServerProcess, SystemUsers
from popframe_auth_shadow.account_state import AccountState

MESSAGE = b"Subject: one\n\nhello\n"

REFUSAL = b"-ERR [AUTH] user name or password not accepted\r\n"


def shadow_group_exists() -> bool:
    """Tell whether a user can be let in on shadow by its group, as on Debian."""
    try:
        return Path("/etc/shadow").stat().st_gid == grp.getgrnam("shadow").gr_gid
    except (KeyError, FileNotFoundError):
        return False


def server_for(site: MailSite, run_as: str) -> ServerProcess:
    """Return a server that becomes a user, with a configuration for the users of the machine."""
    site.configuration.write_text(
        'plugins = ["auth_shadow", "store_mbox"]\n'
        f'[server]\nlisten = ["127.0.0.1:0"]\nrun_as = "{run_as}"\nfronts = 1\n'
        '[plugin.store_mbox]\nspool_dir = "mail"\n'
    )
    owner = pwd.getpwnam(run_as)
    for path in (site.directory, *site.directory.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    return site.server()


def log_in(site: MailSite, server: ServerProcess, user: str, password: str) -> bytes:
    """Return the reply to PASS."""
    with RawClient(server.addresses[0]) as client:
        return client.log_in(user, password)


@pytest.mark.usefixtures("users")
def test_server_that_may_not_read_shadow_does_not_start() -> None:
    """What every login would fail for is told at the start, as a mistake of the configuration."""
    with MailSite({}) as site:
        server = server_for(site, "nobody")

        with pytest.raises(AssertionError, match="ended with status 2"):
            server.start()
        assert "auth_shadow" in server.log()
        assert "/etc/shadow cannot be read: Permission denied; the server must run as a user who may" in server.log()


@pytest.mark.skipif(not shadow_group_exists(), reason="/etc/shadow does not belong to a group shadow, as on Debian")
def test_server_in_group_shadow_serves_the_users_of_the_machine(users: SystemUsers, user: str) -> None:
    """The right password opens the mail; every refusal has the same octets, and a reason of its own in the log."""
    run_as = users.add("--groups", "shadow")
    with MailSite({}) as site:
        site.spool(user).write_bytes(b"From a@example.org Mon Jan  5 09:00:00 2026\n" + MESSAGE + b"\n")
        server = server_for(site, run_as)
        os.chown(site.spool(user), pwd.getpwnam(user).pw_uid, -1)
        site.spool(user).chmod(0o660)
        server.start()
        with RawClient(server.addresses[0]) as client:
            assert client.log_in(user, "correct horse").startswith(b"+OK")
            assert client.ask("STAT") == b"+OK 1 23\r\n"
            assert client.ask("QUIT").startswith(b"+OK")
        replies = {log_in(site, server, user, "x"), log_in(site, server, "no-such-user", "x")}
        users.run("chage", "--expiredate", "1", user)
        replies.add(log_in(site, server, user, "correct horse"))
        users.run("passwd", "--lock", user)
        replies.add(log_in(site, server, user, "correct horse"))

        assert replies == {REFUSAL}
        for reason in ("wrong password", AccountState.EXPIRED.value, AccountState.LOCKED.value):
            assert reason in server.log()
        assert "correct horse" not in server.log()
