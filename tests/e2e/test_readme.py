"""What the README promises, done as it says."""

from __future__ import annotations

import poplib
import re
from pathlib import Path

import pytest

from popframe.testing.client import RawClient
from popframe.testing.site import MailSite

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[2]
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_plugin_of_the_readme_works_with_one_line_of_configuration(site: MailSite) -> None:
    """Ten lines of Python beside the configuration decide who may log in."""
    example = PYTHON_BLOCK.findall((ROOT / "README.md").read_text("utf-8"))[0]
    (site.directory / "lab_accounts.py").write_text(example)
    site.configure(plugins=("./lab_accounts.py", "store_mbox"))
    site.put("alice", [b"Subject: one\n\nhello\n"])
    server = site.start()
    client = poplib.POP3(*server.addresses[0], timeout=30)
    client.user("alice")

    assert client.pass_("tuesday").startswith(b"+OK")
    assert client.stat() == (1, 23)
    client.quit()
    with RawClient(server.addresses[0]) as other:
        assert other.log_in("alice", "wednesday").startswith(b"-ERR [AUTH]")
        assert other.log_in("carol", "tuesday").startswith(b"-ERR [AUTH]")


def test_the_command_of_the_plugin_guide_works(site: MailSite) -> None:
    """A command extension is in CAPA and answers in the TRANSACTION state."""
    example = next(
        text
        for text in PYTHON_BLOCK.findall((ROOT / "docs" / "plugins.md").read_text("utf-8"))
        if "register_commands" in text
    )
    (site.directory / "heaviest.py").write_text(example)
    site.configure(plugins=("auth_file", "./heaviest.py", "store_mbox"))
    site.put("alice", [b"Subject: one\n\nhello\n", b"Subject: two\n\n" + b"x" * 100 + b"\n"])
    server = site.start()
    with RawClient(server.addresses[0]) as client:
        assert client.ask("XHEAVY").startswith(b"-ERR")
        client.log_in("alice", "secret")
        client.ask("CAPA")

        assert b"XHEAVY\r\n" in client.body()
        assert client.ask("XHEAVY") == b"+OK 2 118\r\n"
        client.ask("DELE 2")
        assert client.ask("XHEAVY") == b"+OK 1 23\r\n"


def test_the_command_with_a_body_of_the_plugin_guide_works(site: MailSite) -> None:
    """It takes a note, refuses one that is too long when all of it has come, and forgets one that breaks off."""
    example = next(
        text for text in PYTHON_BLOCK.findall((ROOT / "docs" / "plugins.md").read_text("utf-8")) if "receive=" in text
    )
    (site.directory / "notes.py").write_text(example)
    site.configure(plugins=("auth_file", "./notes.py", "store_mbox"))
    server = site.start()
    with RawClient(server.addresses[0]) as client:
        client.log_in("alice", "secret")
        assert client.ask("XNOTE") == b"+OK go on, end with a dot\r\n"
        client.send(b"QUIT\r\n..\r\n.\r\n")
        assert client.line() == b"+OK noted, 9 octets\r\n"
        client.ask("XNOTE")
        client.send(b"x" * 1_000_000 + b"\r\n.\r\nNOOP\r\n")
        assert client.line() == b"-ERR note too long\r\n"
        assert client.line().startswith(b"+OK")
        client.ask("XNOTE")


def test_the_test_of_the_plugin_guide_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The example for plugin authors starts a server and talks to it."""
    example = next(
        text for text in PYTHON_BLOCK.findall((ROOT / "docs" / "plugins.md").read_text("utf-8")) if "MailSite(" in text
    )
    exec(compile(example, "docs/plugins.md", "exec"), {})  # noqa: S102 - running the documentation is the point

    assert "+OK 1 " in capsys.readouterr().out
