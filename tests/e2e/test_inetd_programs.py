"""``popframe inetd`` under those that start it: inetd, xinetd and systemd."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from popframe.testing.site import MailSite

from .inetd_room import MESSAGES, POPFRAME, free_port, needs_root, per_user_site, running, shared_site, until

PACKAGING = Path(__file__).parents[2] / "packaging"

UNPACKED = Path(sys.prefix) / "debian" / "usr" / "sbin"
"""Where make unpacks programs that cannot be installed beside others."""

XINETD = shutil.which("xinetd", path=f"/usr/sbin:{UNPACKED}")


# --- the real programs


def curl(port: int, path: str, *options: str) -> bytes:
    """Run curl as alice and return what it wrote."""
    command = ["curl", "--silent", "--show-error", "--max-time", "30", "--user", "alice:secret", *options]
    return subprocess.run([*command, f"pop3://127.0.0.1:{port}/{path}"], check=True, capture_output=True).stdout


def fetch_and_delete(site: MailSite, port: int) -> None:
    """Let curl read both messages and delete the first."""
    assert curl(port, "").split() == [b"1", b"23", b"2", b"26"]
    assert curl(port, "1") == b"Subject: one\r\n\r\nhello\r\n"
    curl(port, "1", "--request", "DELE", "--list-only")
    until(lambda: site.spool("alice").read_bytes().count(b"From sender") == 1, "one message is left")
    assert b"Subject: two" in curl(port, "1")


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="needs systemd-socket-activate (systemd)")
def test_systemd_starts_sessions(site: MailSite) -> None:
    """``systemd-socket-activate --inetd --accept``; curl fetches and deletes."""
    site.put("alice", MESSAGES)
    port = free_port()
    program = [*POPFRAME, "inetd", "--config", str(site.configuration)]
    activate = ["systemd-socket-activate", "--inetd", "--accept", f"--listen=127.0.0.1:{port}"]
    with running([*activate, *program], port, site.directory / "activate.log"):
        fetch_and_delete(site, port)


@pytest.mark.skipif(shutil.which("inetd", path="/usr/sbin") is None, reason="needs inetd (openbsd-inetd)")
@needs_root
@pytest.mark.parametrize("isolation", ["shared", "per-user"])
def test_inetd_starts_sessions(isolation: str) -> None:
    """Debian's inetd, with a line for popper of which only the path was changed; curl fetches and deletes."""
    with per_user_site() if isolation == "per-user" else shared_site() as (site, _):
        port = free_port()
        trace = site.directory / "trace"
        line = f"127.0.0.1:pop3 stream tcp nowait root /opt/popframe/bin/popframe-inetd popper -s -t {trace} -T 600"
        with inetd(f"{line} --config {site.configuration}", site.directory, port):
            fetch_and_delete(site, port)
            until(lambda: trace.read_text().count("outcome=quit") == 4, "each session has its line")


@contextlib.contextmanager
def inetd(line: str, folder: Path, port: int) -> Iterator[None]:
    """Run inetd with a line of which the place of the programs and the port are changed."""
    line = line.replace("/opt/popframe/bin/", f"{Path(sys.executable).parent}/").replace("pop3", str(port), 1)
    (folder / "inetd.conf").write_text(f"{line}\n")
    with running(["/usr/sbin/inetd", "-i", str(folder / "inetd.conf")], port, folder / "inetd.log"):
        yield


@pytest.mark.checkout
@pytest.mark.skipif(shutil.which("inetd", path="/usr/sbin") is None, reason="needs inetd (openbsd-inetd)")
@needs_root
@pytest.mark.parametrize("number", [0, 1])
def test_each_shipped_line_of_inetd_conf_works(number: int) -> None:
    """packaging/inetd/inetd.conf, but for the place of the configuration."""
    shipped = (PACKAGING / "inetd" / "inetd.conf").read_text()
    line = re.findall(r"^#?(\S+\tstream\t.*)$", shipped, re.MULTILINE)[number]
    with shared_site() as (site, _):
        port = free_port()
        line = line.replace(" --config /etc/popframe.toml", "") + f" --config {site.configuration}"
        with inetd(line if line.startswith("127.0.0.1:") else f"127.0.0.1:{line}", site.directory, port):
            fetch_and_delete(site, port)


@pytest.mark.checkout
@pytest.mark.skipif(XINETD is None, reason="needs xinetd, installed, or unpacked into .venv by make test")
@needs_root
@pytest.mark.parametrize("isolation", ["shared", "per-user"])
def test_xinetd_starts_sessions(isolation: str) -> None:
    """packaging/xinetd/popframe, but for port, program and configuration; curl fetches and deletes."""
    with per_user_site() if isolation == "per-user" else shared_site() as (site, _):
        port = free_port()
        with xinetd(site, port):
            fetch_and_delete(site, port)


@contextlib.contextmanager
def xinetd(site: MailSite, port: int) -> Iterator[None]:
    """Run xinetd with the shipped file, which is in a folder that its own configuration includes, as Debian's does."""
    shipped = (PACKAGING / "xinetd" / "popframe").read_text()
    changes = {
        "service pop3\n": "service popframe-test\n",  # a service that /etc/services does not know has its port with it
        "\tprotocol        = tcp\n": f"\tprotocol = tcp\n\ttype = UNLISTED\n\tport = {port}\n",
        "/opt/popframe/bin/popframe": str(Path(sys.executable).with_name("popframe")),
        "/etc/popframe.toml": str(site.configuration),
    }
    for before, after in changes.items():
        assert shipped.count(before) == 1
        shipped = shipped.replace(before, after)
    folder = site.directory / "xinetd.d"
    folder.mkdir()
    (folder / "popframe").write_text(shipped)
    (site.directory / "xinetd.conf").write_text(f"includedir {folder}\n")
    assert XINETD is not None
    command = [XINETD, "-dontfork", "-f", str(site.directory / "xinetd.conf")]
    with running([*command, "-pidfile", str(site.directory / "xinetd.pid")], port, site.directory / "xinetd.log"):
        yield


@pytest.mark.checkout
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (systemd)")
def test_the_shipped_units_are_understood_by_systemd(tmp_path: Path) -> None:
    """All in packaging/systemd, but for the place of the program."""
    units = sorted((PACKAGING / "systemd").iterdir())
    for unit in units:
        text = unit.read_text().replace("/opt/popframe/bin/popframe", str(Path(sys.executable).with_name("popframe")))
        (tmp_path / unit.name).write_text(text)
    assert len(units) == 5
    paths = [tmp_path / unit.name for unit in units]
    result = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True)

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
