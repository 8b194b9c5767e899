"""``popframe inetd``: what keeps it from serving, and popper's switches."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from popframe.testing.site import RUN_AS, MailSite

from .inetd_room import BROKEN, MESSAGES, POPFRAME, log_in, log_to, needs_root, per_user_site, started

# --- what is wrong with the start


@pytest.mark.parametrize("kind", ["file", "pipe", "device", "datagram", "listener"])
def test_standard_input_that_is_no_client_is_explained(site: MailSite, kind: str) -> None:
    """What it is, what the command is for, and how to start it."""
    with contextlib.ExitStack() as stack:
        descriptor = stack.enter_context(open_kind(kind, site.directory))
        result = subprocess.run(
            [*POPFRAME, "inetd", "--config", str(site.configuration)], stdin=descriptor, capture_output=True, text=True
        )

    words = {"file": "a file", "pipe": "a pipe", "device": "a terminal or another device"}
    words |= {"datagram": "a socket for datagrams", "listener": "a socket that listens"}
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"standard input is {words[kind]}")
    assert "popframe serve" in result.stderr
    assert "Traceback" not in result.stderr


@contextlib.contextmanager
def open_kind(kind: str, folder: Path) -> Iterator[int]:
    """Give a descriptor of some kind."""
    if kind == "file":
        with (folder / "users").open() as stream:
            yield stream.fileno()
    elif kind == "device":
        yield subprocess.DEVNULL
    elif kind == "pipe":
        ends = os.pipe()
        yield ends[0]
        for end in ends:
            os.close(end)
    else:
        with socket.socket(type=socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM) as bound:
            bound.bind(("127.0.0.1", 0))
            if kind == "listener":
                bound.listen()
            yield bound.fileno()


def test_a_client_that_has_gone_already_is_no_failure(site: MailSite) -> None:
    """A port scan must not fill a log with failed units."""
    with socket.socket() as never_connected:
        result = subprocess.run(
            [*POPFRAME, "inetd", "--config", str(site.configuration)],
            stdin=never_connected.fileno(),
            capture_output=True,
            text=True,
        )

    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr.startswith("the client is gone: ")


def test_a_mistake_in_the_configuration_is_told_to_the_client_without_details(site: MailSite) -> None:
    """[SYS/PERM] (RFC 3206 section 4); the reasons go to standard error, unless that is the client too."""
    site.configuration.write_text(site.configuration.read_text() + "\n[pop3]\ngreetings = 1\n[bogus]\n")
    for errors_to_client in (True, False):
        with started(site.configuration, errors_to_client=errors_to_client) as client:
            assert client.lines.read() == BROKEN
            assert client.end() == 2
            if not errors_to_client:
                errors = client.errors()

    assert "pop3.greetings: unknown key; did you mean 'greeting'?" in errors
    assert ": bogus: unknown" in errors


def test_a_plugin_that_does_not_start_is_told_to_the_log(site: MailSite, syslog: socket.socket) -> None:
    """The configured one, once it is known."""
    site.configure(more=log_to(site))
    (site.directory / "users").write_text("no colon\n")
    with started(site.configuration) as client:
        assert client.lines.read() == BROKEN
        assert client.end() == 2

    assert "start-refused level=error address=127.0.0.1 reason=" in syslog.recv(65_536).decode()


@needs_root
def test_a_plugin_that_does_not_start_is_told_with_a_process_for_each_user_too() -> None:
    """There is no gate yet that would have to end."""
    with per_user_site() as (site, _):
        (site.directory / "users").write_text("no colon\n")
        with started(site.configuration, errors_to_client=False) as client:
            assert client.lines.read() == BROKEN
            assert client.end() == 2
            assert "Traceback" not in client.errors()


def test_a_wrong_switch_is_told_to_the_client_without_details(site: MailSite) -> None:
    """Its usage text is nothing for a client."""
    with started(site.configuration, "--bogus") as client:
        assert client.lines.read() == BROKEN
        assert client.end() == 2
    with started(site.configuration, "-T", "soon", errors_to_client=False) as client:
        assert client.lines.read() == BROKEN
        assert client.errors() == "popframe inetd: argument -T: must be a number from 0 to 86400\n"


def test_a_broken_installation_is_told_to_the_client_without_details(site: MailSite) -> None:
    """[SYS/TEMP] (RFC 3206 section 4): the connection is in safety before most of the server is imported."""
    (site.directory / "pydantic.py").write_text("print('to the client?', flush=True)\nraise ImportError('broken')\n")
    path = {"PYTHONPATH": f"{site.directory}:{os.environ.get('PYTHONPATH', '')}".rstrip(":")}
    with started(site.configuration, environment=path) as client:
        assert client.lines.read() == b"-ERR [SYS/TEMP] temporary problem on the server, try again later\r\n"
        assert client.end() == 1
    with started(site.configuration, environment=path, errors_to_client=False) as client:
        client.lines.read()
        assert "ImportError: broken" in client.errors()


@needs_root
def test_root_without_run_as_is_refused(site: MailSite) -> None:
    """Nothing that talks to a client runs as root."""
    for isolation in ("shared", "per-user"):
        site.configure(f'isolation = "{isolation}"')
        site.configuration.write_text(site.configuration.read_text().replace(f'run_as = "{RUN_AS}"', ""))
        with started(site.configuration, errors_to_client=False) as client:
            assert client.lines.read() == BROKEN
            assert client.end() == 2
            assert "server.run_as" in client.errors()


# --- popper's switches


def test_the_time_out_of_popper_is_the_idle_timeout(site: MailSite) -> None:
    """``-T 1``; the server's own least does not hold for it (RFC 1939 section 3 wants ten minutes)."""
    with started(site.configuration, "-T", "1", errors_to_client=False) as client:
        client.lines.readline()
        log_in(client)
        assert client.lines.read() == b""
        assert client.end() == 0
        assert "outcome=timed-out" in client.errors()


def test_debugging_traces_commands_without_secrets_or_mail(site: MailSite) -> None:
    """``-d``: each command with the first line of its reply; no password, no line that is none of ours, no message."""
    site.put("alice", MESSAGES)
    with started(site.configuration, "-d", errors_to_client=False) as client:
        client.lines.readline()
        client.ask("sEcReTs")
        client.ask("STAT")
        log_in(client)
        client.socket.sendall(b"RETR 1\r\nRETR 9\r\nQUIT\r\n")
        client.lines.read()
        errors = client.errors()
    traced = re.findall(r' command session=\w+-1 address=\S+ command=("[^"]*"|\S+) reply="([^"]*)"', errors)

    assert traced == [
        ("(connection)", "+OK POP3 server ready"),
        ("****", "-ERR unknown command"),
        ("STAT", "-ERR command not valid in this state"),
        ('"USER alice"', "+OK send PASS"),
        ('"PASS ****"', f"+OK maildrop has 2 messages ({octets_of(MESSAGES)} octets)"),
        ('"RETR 1"', f"+OK {octets_of(MESSAGES[:1])} octets"),
        ('"RETR 9"', "-ERR no such message"),
        ("QUIT", "+OK bye, 2 messages left"),
    ]
    assert "secret" not in errors.lower()
    assert "hello" not in errors


def octets_of(messages: list[bytes]) -> int:
    """Return the size of messages with CRLF line ends."""
    return sum(len(message) + message.count(b"\n") for message in messages)


def test_a_trace_file_gets_the_whole_log(site: MailSite) -> None:
    """``-t FILE``: appended to, and nothing goes where the log else goes; a link that somebody put there is refused."""
    trace = site.directory / "trace"
    trace.write_text("before\n")
    with started(site.configuration, "-t", str(trace), errors_to_client=False) as client:
        client.lines.readline()
        log_in(client)
        client.ask("QUIT")
        client.end()
        assert client.errors() == ""
    lines = trace.read_text().splitlines()
    (site.directory / "link").symlink_to(trace)
    with started(site.configuration, "-t", str(site.directory / "link")) as client:
        assert client.lines.read() == BROKEN

    assert lines[0] == "before"
    assert any(" login session=" in line for line in lines)
    assert any(" command session=" in line for line in lines)


def test_statistics_are_logged_whatever_the_level(site: MailSite) -> None:
    """``-s``: the line of the ended session, also where only warnings are wanted."""
    site.configure(more='[log]\nlevel = "warning"\n')
    logged = []
    for switches in ((), ("-s",)):
        with started(site.configuration, *switches, errors_to_client=False) as client:
            client.lines.readline()
            log_in(client)
            client.ask("QUIT")
            client.end()
            logged.append(client.errors())

    assert logged[0] == ""
    assert "session-ended" in logged[1]


def test_bulletins_come_from_the_folder_of_the_switch(site: MailSite) -> None:
    """``-b DIR`` comes before the setting of the plugin bulletin."""
    for name in ("bulletins", "others"):
        folder = site.directory / name
        folder.mkdir()
        (folder / "1").write_bytes(b"From a Mon Jan  5 09:00:00 2026\nSubject: of %b\n\nhi\n\n" % name.encode())
        os.utime(folder / "1", (0, 0))
    (site.directory / "state").mkdir()
    site.configure(
        more='[plugin.bulletin]\nfolder = "others"\nstate_dir = "state"\n',
        plugins=("auth_file", "store_mbox", "bulletin"),
    )
    with started(site.configuration, "-b", str(site.directory / "bulletins"), errors_to_client=False) as client:
        assert client.lines.readline().startswith(b"+OK")
        log_in(client)
        client.ask("RETR 1")
        assert b"Subject: of bulletins\r\n" in [client.lines.readline() for _ in range(4)]
        client.ask("QUIT")
        assert "switch-without-effect" not in client.errors()


def test_bulletins_without_their_plugin_are_warned_of(site: MailSite) -> None:
    """``-b DIR`` has no effect then, and an old line works all the same."""
    with started(site.configuration, "-b", "/var/bulletins", errors_to_client=False) as client:
        assert client.lines.readline().startswith(b"+OK")
        client.ask("QUIT")
        assert 'switch-without-effect level=warning switch="-b /var/bulletins"' in client.errors()


def test_help_names_every_switch_and_its_setting(site: MailSite) -> None:
    """For whoever has an old line of inetd.conf."""
    result = subprocess.run([*POPFRAME, "inetd", "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True)

    assert (result.returncode, result.stderr) == (0, "")
    for text in ("-d ", "-t FILE", "-s ", "-b DIR", "-T SECONDS", "log.level", "server.idle_timeout_seconds"):
        assert text in result.stdout
    assert str(site.configuration) not in result.stdout
