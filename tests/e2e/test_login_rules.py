"""The rules of [login] on a whole server with the users of auth_file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from popframe.password import hash_password
from popframe.testing.client import RawClient
from popframe.testing.server import ServerProcess
from popframe.testing.site import QUICK_SCHEME, MailSite

USERS = {
    "virtual": "",
    "alice": "uid=1000 gid=1000 shell=/bin/sh",
    "no-field": "uid=1001 gid=1001",
    "no-shell": "uid=1002 gid=1002 shell=/usr/sbin/nologin",
    "service": "uid=33 gid=33 shell=/bin/sh",
    "root": "uid=0 gid=0 shell=/bin/sh",
    "wheel": "uid=1003 gid=0 shell=/bin/sh",
    "banned": "",
}

LOGIN = """\
[abuse]
max_wrong_passwords = 0
[login]
shells_file = "shells"
nologin_file = "nologin"
deny_users = ["banned"]
deny_groups = ["root"]
deny_networks = ["127.0.0.2/32"]
"""

WRONG = b"-ERR [AUTH] user name or password not accepted\r\n"


@pytest.fixture
def ruled_site() -> Iterator[MailSite]:
    """Yield a site whose users all have the password ``secret``."""
    with MailSite(dict.fromkeys(USERS, "secret")) as made:
        stored = hash_password(b"secret", QUICK_SCHEME)
        lines = [f"{name}:{stored}:{fields}\n" for name, fields in USERS.items()]
        (made.directory / "users").write_text("".join(lines))
        (made.directory / "shells").write_text("# ours\n/bin/sh\n")
        made.configure("fronts = 1\n", LOGIN)
        yield made


def reply(server: ServerProcess, user: str, password: str = "", *, source: str = "127.0.0.1") -> bytes:
    """Return the last line of a login; with the right password unless another is given."""
    with RawClient(server.addresses[0], source=source) as client:
        return client.log_in(user, password or "secret")


def test_rules_hold_whichever_plugin_found_the_password_right(ruled_site: MailSite) -> None:
    """Whoever is refused hears what a wrong password hears, and only the log says why (C-038)."""
    server = ruled_site.start()
    told = {name: reply(server, name) for name in USERS}
    told |= {f"{name} by a wrong password": reply(server, name, "wrong") for name in USERS}
    told["alice from elsewhere"] = reply(server, "alice", source="127.0.0.2")

    assert {name for name, line in told.items() if line.startswith(b"+OK")} == {"virtual", "alice", "no-field"}
    assert {line for line in told.values() if not line.startswith(b"+OK")} == {WRONG}
    reasons = {
        "no-shell": f"login shell '/usr/sbin/nologin' is not in {ruled_site.directory}/shells",
        "service": "user id 33 is below login.min_uid, which is 1000",
        "root": "root may not log in",
        "wheel": "the user is in group root, which is in login.deny_groups",
        "banned": "the user is in login.deny_users",
        "alice": "address 127.0.0.2 is in login.deny_networks",
    }
    assert [server.count_in_log(f'user={name} code=AUTH reason="{why}"') for name, why in reasons.items()] == [1] * 6
    assert server.count_in_log('reason="wrong password"') == len(USERS)


def test_files_of_the_machine_count_while_the_server_runs(ruled_site: MailSite) -> None:
    """A shell that is added, and logins that are closed and opened again, need no signal (C-038)."""
    server = ruled_site.start()
    assert reply(server, "no-shell") == WRONG
    (ruled_site.directory / "shells").write_text("/POPPER/ANY/SHELL/\n")
    assert reply(server, "no-shell").startswith(b"+OK")
    (ruled_site.directory / "nologin").touch()
    assert reply(server, "no-shell") == b"-ERR [SYS/TEMP] temporary problem on the server, try again later\r\n"
    assert reply(server, "no-shell", "wrong") == WRONG
    assert reply(server, "virtual").startswith(b"+OK")
    (ruled_site.directory / "nologin").unlink()

    assert reply(server, "no-shell").startswith(b"+OK")


def test_list_of_shells_that_the_server_may_not_read_is_trouble_of_ours(ruled_site: MailSite) -> None:
    """Told to those whose password was right, with the reason in the log; virtual users need no shell (C-038)."""
    (ruled_site.directory / "shells").chmod(0)
    server = ruled_site.start()

    assert reply(server, "alice") == b"-ERR [SYS/TEMP] temporary problem on the server, try again later\r\n"
    assert reply(server, "alice", "wrong") == WRONG
    assert reply(server, "virtual").startswith(b"+OK")
    assert (
        server.count_in_log(f"the list of shells {ruled_site.directory}/shells cannot be read: Permission denied") == 1
    )


def test_reload_takes_the_rules_over(ruled_site: MailSite) -> None:
    """New rules hold for new sessions; a mistake in one changes nothing."""
    server = ruled_site.start()
    ruled_site.configure("fronts = 1\n", LOGIN + 'allow_networks = ["127.0.0.1/8"]\n')
    server.reload()
    assert server.count_in_log("has bits behind its prefix") == 1
    assert reply(server, "alice", source="127.0.0.3").startswith(b"+OK")
    ruled_site.configure("fronts = 1\n", LOGIN + 'allow_networks = ["127.0.0.1"]\n')
    server.reload()

    for _ in server.until("the new rules"):
        if reply(server, "alice", source="127.0.0.3") == WRONG:
            break
    assert reply(server, "alice").startswith(b"+OK")
