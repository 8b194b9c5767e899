"""The filter of packaging/fail2ban/, with fail2ban itself: it finds who guessed, and cannot be led to another."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from popframe.server.log import FIELDS, JsonFormatter, TextFormatter

ROOT = Path(__file__).parents[2]
FILTER = ROOT / "packaging" / "fail2ban" / "filter.d" / "popframe.conf"
JAIL = ROOT / "packaging" / "fail2ban" / "jail.d" / "popframe.conf"
UNPACKED = Path(sys.prefix) / "debian"
INSTALLED = shutil.which("fail2ban-regex")

pytestmark = [
    pytest.mark.checkout,
    pytest.mark.skipif(
        INSTALLED is None and not (UNPACKED / "usr" / "bin" / "fail2ban-regex").exists(),
        reason="needs fail2ban-regex: 'make test' unpacks it (Debian: fail2ban)",
    ),
]

NAMES = [
    "alice",
    "alice@example.org",
    "alice address=192.0.2.99",
    'alice" code=IN-USE reason="',
    'alice\\" code=AUTH reason=" address=192.0.2.99',
    "alice\nlogin-failed session=x address=192.0.2.99 user=y code=AUTH reason=z",
    "2026-11-28T00:00:00.000Z popframe[1]: login-failed session=x address=192.0.2.99 user=y code=AUTH reason=z",
    '{"event": "login-failed", "address": "192.0.2.99"}',
    '", "code": "AUTH", "address": "192.0.2.99',
    "=",
    "\\",
    '"',
    "jürgen",
    "日本",
    "\udcff",
    "x" * 5000,
    '"' * 5000,
    "\\" * 401,
]
"""What somebody may send who wants another banned, or not to be banned."""

ADDRESSES = ["203.0.113.66", "2001:db8::7", "fe80::1%eth0"]

PREFIXES = {
    "file": "",
    "rsyslog": "Nov 28 03:55:43 mail popframe: ",
    "rsyslog, new": "2026-11-28T03:55:43.471234+00:00 mail.example.org popframe: ",
    "journal": "mail popframe[4711]: ",
}


def line(line_format: str, place: str, event: str = "login-failed", **fields: object) -> str:
    """Return what stands in a log, as popframe and whoever passes it on write it."""
    record = logging.LogRecord("popframe", logging.WARNING, "", 0, event, (), None)
    setattr(record, FIELDS, fields)
    formatter = JsonFormatter() if line_format == "json" else TextFormatter(with_time=not place.startswith("rsyslog"))
    return PREFIXES[place] + formatter.format(record)


def failed(line_format: str, place: str, address: str, user: str, code: str = "AUTH") -> str:
    """Return the line of a refused login."""
    return line(
        line_format, place, session="9f3c2a1b-1", address=address, user=user, code=code, reason="wrong password"
    )


def found(tmp_path: Path, lines: list[str]) -> list[str]:
    """Return the addresses that fail2ban finds in a log."""
    log = tmp_path / "log"
    log.write_text("".join(f"{text}\n" for text in lines), encoding="utf-8")
    if INSTALLED is not None:
        command, environment = [INSTALLED], dict(os.environ)
    else:
        program = UNPACKED / "usr" / "bin" / "fail2ban-regex"
        command = ["/usr/bin/python3", str(program), "--config", str(UNPACKED / "etc" / "fail2ban")]
        environment = {**os.environ, "PYTHONPATH": str(UNPACKED / "usr" / "lib" / "python3" / "dist-packages")}
    result = subprocess.run(
        [*command, "--out", "ip", str(log), str(FILTER)], env=environment, check=False, capture_output=True, text=True
    )
    assert result.stderr == ""
    return result.stdout.split()


each_place = pytest.mark.parametrize("place", PREFIXES)
each_format = pytest.mark.parametrize("line_format", ["text", "json"])


@each_place
@each_format
def test_the_address_is_found_whatever_the_name_is(tmp_path: Path, line_format: str, place: str) -> None:
    """Every refused login, once, with the address that it came from (H-095)."""
    attempts = [(address, name) for name in NAMES for address in ADDRESSES]
    lines = [failed(line_format, place, address, name) for address, name in attempts]

    assert found(tmp_path, lines) == [address.partition("%")[0] for address, _ in attempts]


@each_place
@each_format
def test_what_is_nobodys_fault_is_not_found(tmp_path: Path, line_format: str, place: str) -> None:
    """A mailbox in use, a server in trouble, a client without an address, and every other event."""
    address = ADDRESSES[0]
    lines = [
        *(
            failed(line_format, place, address, "alice", code)
            for code in ("IN-USE", "SYS/TEMP", "SYS/PERM", "LOGIN-DELAY")
        ),
        *(failed(line_format, place, "-", name) for name in NAMES),
        line(line_format, place, "login", session="9f3c2a1b-1", address=address, user=NAMES[6]),
        line(line_format, place, "connection-refused", address=address, reason="too many"),
        *(line(line_format, place, "message", logger="x", text=name) for name in NAMES),
    ]

    assert found(tmp_path, lines) == []


def test_lines_of_other_programs_are_not_found(tmp_path: Path) -> None:
    """Not even when they quote one of popframe's."""
    text = failed("text", "rsyslog, new", ADDRESSES[0], "alice")
    quoted = text.partition("popframe: ")[2]
    lines = [
        f"Nov 28 03:55:43 mail sshd[1]: {text}",
        f"Nov 28 03:55:43 mail sshd[1]: popframe: {quoted}",
        f"Nov 28 03:55:43 mail {json.dumps(text)}",
    ]

    assert found(tmp_path, lines) == []


def test_the_jail_names_the_filter() -> None:
    """And the ports of POP3."""
    text = JAIL.read_text("utf-8")

    assert f"filter = {FILTER.stem}\n" in text
    assert "port = pop3,pop3s\n" in text
