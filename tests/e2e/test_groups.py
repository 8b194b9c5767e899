"""Groups of RFC 1082 on a server with a process for each user: whose files they are, and what a switch removes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .isolated_site import FROM_LINE, Site, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a server that becomes each user")

NOTHING = b"-ERR no such bboard\r\n"


@pytest.fixture
def site() -> Iterator[Site]:
    """Yield a running server for alice and bob, each with two messages, with a group for all and one for alice."""
    folder = Path(tempfile.mkdtemp(prefix="popframe-groups-"))
    folder.chmod(0o755)
    groups = folder / "groups"
    groups.mkdir()
    made = Site(folder, ["alice", "bob"], store='[plugin.xtnd]\ngroups_dir = "groups"\n')
    for name, mode in (("system", 0o644), ("private", 0o600)):
        (groups / name).write_bytes((FROM_LINE + b"Subject: news\n\nread this\n\n") * 3)
        (groups / name).chmod(mode)
    os.chown(groups / "private", made.uids["alice"], -1)
    text = made.configuration.read_text()
    made.configuration.write_text(text.replace('"store_mbox"]', '"store_mbox", "xtnd"]'))
    with made.server:
        yield made
    shutil.rmtree(folder)


def test_a_switch_is_an_update(site: Site) -> None:
    """X-016, H-094: what is marked is gone and the maildrop free, even if the session is killed right behind it."""
    with site.logged_in("alice") as client:
        client.ask("DELE 1")
        assert client.ask("XTND BBOARDS system") == b"+OK XTND\r\n"
        assert client.body() == b"system 3\r\n"
        (pid,) = site.processes_of("alice")
        with site.logged_in("alice") as other:
            assert other.ask("STAT").startswith(b"+OK 1 ")
        os.kill(pid, 9)
        until(lambda: not site.processes_of("alice"), "the session's process ends")
    with site.logged_in("alice") as client:
        assert client.ask("STAT").startswith(b"+OK 1 ")


def test_a_switch_that_is_refused_removes_nothing(site: Site) -> None:
    """X-018, H-094: all is as before, and a client that is then gone has removed nothing."""
    with site.logged_in("bob") as client:
        client.ask("DELE 1")
        client.ask("DELE 2")
        for name in ("nothing", "private", "../mail/alice"):
            assert client.ask(f"XTND BBOARDS {name}") == NOTHING
        assert client.ask("STAT") == b"+OK 0 0\r\n"
    until(lambda: not site.processes_of("bob"), "the session's process ends")
    with site.logged_in("bob") as client:
        assert client.ask("STAT").startswith(b"+OK 2 ")


def test_the_system_says_who_may_read_a_group(site: Site) -> None:
    """X-014: alice has a group of her own, which is not there for bob."""
    with site.logged_in("alice") as alice, site.logged_in("bob") as bob:
        alice.ask("XTND BBOARDS")
        bob.ask("XTND BBOARDS")
        assert alice.body() == b"private 3\r\nsystem 3\r\n"
        assert bob.body() == b"system 3\r\n"
        alice.ask("XTND BBOARDS private")
        assert alice.body() == b"private 3\r\n"
        assert alice.ask("LIST 3") == b"+OK 3 28 3\r\n"
        assert alice.ask("QUIT").startswith(b"+OK")

    assert (site.folder / "groups" / "private").stat().st_size == 3 * (len(FROM_LINE) + 26)
