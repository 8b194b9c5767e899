"""XTND XMIT: a message reaches the mailer whole and once, or not at all, and the client is told."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from popframe import Account, ConfigError, Peer
from popframe.testing.engine_server import EngineTransport
from popframe_xtnd import Settings, Xtnd
from popframe_xtnd.submission import trace_field

Mailer = Callable[..., Path]
Connect = Callable[..., EngineTransport]

START = b"+OK start sending the message, at most 33554432 octets\r\n"
SENT = b"+OK message sent\r\n"
MESSAGE = b"To: bob@example.org\r\nSubject: hello\r\n\r\nHow are you?\r\n"


def xmit(client: EngineTransport, message: bytes = MESSAGE) -> bytes:
    """Send a message; return the reply to it."""
    assert client.ask("XTND XMIT").startswith(b"+OK start sending")
    client.send(message + b".\r\n")
    return client.receive(0)


def processes_with(word: str) -> list[int]:
    """Return the processes that have a word on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in command:
                found.append(int(entry.name))
    return found


def test_a_message_reaches_the_mailer(mailer: Mailer, connect: Connect, tmp_path: Path) -> None:
    """With LF line ends, and nothing else changed; commands go on behind the lone dot."""
    client = connect(mailer(f'echo "$@" > {tmp_path}/arguments'))

    assert client.ask("XTND XMIT") == START
    client.send(MESSAGE + b"..\r\n...x\r\n\xff\x00\xe4\r\n\r\n.\r\nSTAT\r\n")

    assert client.receive(0) == SENT + b"+OK 1 18\r\n"
    assert (tmp_path / "sent").read_bytes() == MESSAGE.replace(b"\r\n", b"\n") + b".\n..x\n\xff\x00\xe4\n\n"
    assert (tmp_path / "arguments").read_text() == "-i -t\n"


def test_twenty_megabytes(mailer: Mailer, connect: Connect, tmp_path: Path) -> None:
    """A message does not go through memory; CR and LF stay together wherever the pieces are cut."""
    client = connect(mailer())
    line = b"x" * 997 + b"\r\n"
    stream = MESSAGE + line * 20_000 + b".\r\n"
    client.ask("XTND XMIT")
    for start in range(0, len(stream), 65_521):
        client.send(stream[start : start + 65_521])

    assert client.receive(0) == SENT
    assert (tmp_path / "sent").read_bytes() == stream[:-3].replace(b"\r\n", b"\n")


def test_octet_by_octet(mailer: Mailer, connect: Connect, tmp_path: Path) -> None:
    """How the stream is cut means nothing; a CR alone stays one."""
    client = connect(mailer())
    for octet in b"XTND XMIT\r\n" + MESSAGE + b"a\rb\r\r\n\nc\r\n.\r\n":
        client.send(bytes([octet]))

    assert client.receive(0) == START + SENT
    assert (tmp_path / "sent").read_bytes() == MESSAGE.replace(b"\r\n", b"\n") + b"a\rb\r\n\nc\n"


@pytest.mark.parametrize("cut", range(0, len(MESSAGE) + 4, 3))
def test_a_client_that_breaks_off_sends_nothing(mailer: Mailer, connect: Connect, tmp_path: Path, cut: int) -> None:
    """Wherever it does, up to the last octet of the end; and the file is gone."""
    client = connect(mailer())
    before = len(os.listdir("/proc/self/fd"))
    client.ask("XTND XMIT")
    client.send((MESSAGE + b".\r\n")[: min(cut, len(MESSAGE) + 2)])
    client.close()

    assert not (tmp_path / "sent").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sendmail"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_file_has_no_name_and_is_private(mailer: Mailer, connect: Connect, tmp_path: Path) -> None:
    """Nobody else can open what is on its way."""
    client = connect(mailer())
    client.ask("XTND XMIT")
    client.send(MESSAGE)
    links = {link: os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    (ours,) = [link for link, target in links.items() if target.startswith(str(tmp_path))]

    assert links[ours].endswith("(deleted)")
    assert ours.stat().st_mode & 0o777 == 0o600
    client.close()


@pytest.mark.parametrize(
    ("script", "reply"),
    [
        ("exit 1", b"-ERR [SYS/TEMP] the mail system has failed, message not sent"),
        ("exit 75", b"-ERR [SYS/TEMP] the mail system has failed, message not sent"),
        ("kill -9 $$", b"-ERR [SYS/TEMP] the mail system has failed, message not sent"),
        ("exit 64", b"-ERR the mail system has refused the message, not sent"),
        ("exit 67", b"-ERR the mail system has refused the message, not sent"),
        ("exit 77", b"-ERR the mail system has refused the message, not sent"),
        ("exit 78", b"-ERR [SYS/PERM] there is no working mail system here, message not sent"),
    ],
)
def test_a_mailer_that_fails(mailer: Mailer, connect: Connect, script: str, reply: bytes) -> None:
    """The exit status says what the client is told; what the mailer says is for the log; the session goes on."""
    client = connect(mailer(f"echo secret path; echo and more >&2; {script}"))

    assert xmit(client) == reply + b"\r\n"
    assert client.ask("STAT") == b"+OK 1 18\r\n"
    if reply.startswith(b"-ERR ["):
        (error,) = client.server.errors
        assert "secret path\\nand more" in str(error[1])


def test_a_mailer_that_does_not_read_its_input(connect: Connect, tmp_path: Path) -> None:
    """It is a file, so nothing waits."""
    path = tmp_path / "sendmail"
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(0o755)

    assert xmit(connect(path), MESSAGE + b"x" * 1_000_000 + b"\r\n") == SENT


def test_a_mailer_that_is_gone(mailer: Mailer, connect: Connect) -> None:
    """It was there when the server started."""
    path = mailer()
    client = connect(path)
    path.unlink()

    assert xmit(client).startswith(b"-ERR [SYS/PERM] there is no working mail system here")
    assert str(path) in str(client.server.errors[0][1])


def test_a_mailer_that_cannot_be_executed(mailer: Mailer, connect: Connect) -> None:
    """A program of nothing."""
    path = mailer()
    client = connect(path)
    path.write_bytes(b"\0\1\2")

    assert xmit(client).startswith(b"-ERR [SYS/PERM] there is no working mail system here")


@pytest.mark.parametrize(
    "script",
    [
        "sleep {word}",
        "trap '' TERM; sleep {word} & sleep {word}",
        "(trap '' TERM; sleep {word}; sleep {word}) & sleep {word}",  # ends at SIGTERM, its child does not
    ],
)
def test_a_mailer_that_hangs(mailer: Mailer, connect: Connect, script: str) -> None:
    """It is ended after its time, with what it has started, even what does not listen to SIGTERM."""
    word = f"987{os.getpid()}"
    client = connect(mailer(script.format(word=word)), sendmail_timeout_seconds=1.0)
    started = time.monotonic()

    assert xmit(client).startswith(b"-ERR [SYS/TEMP] the mail system does not answer, message may not have been sent")
    assert time.monotonic() - started < 30
    while processes_with(f"sleep\0{word}"):  # those that were killed take a moment
        assert time.monotonic() - started < 60
        time.sleep(0.02)
    assert client.ask("STAT") == b"+OK 1 18\r\n"


def test_a_mailer_that_says_very_much(mailer: Mailer, connect: Connect) -> None:
    """It is not held up, and the log gets the beginning."""
    client = connect(mailer("yes error | head -c 5000000; yes more | head -c 5000000 >&2; exit 1"))

    assert xmit(client).startswith(b"-ERR [SYS/TEMP]")
    assert 2000 < len(str(client.server.errors[0][1])) < 5000


def test_a_mailer_that_goes_on_in_the_background(mailer: Mailer, connect: Connect, tmp_path: Path) -> None:
    """What it leaves behind may hold its output: its own end counts."""
    client = connect(mailer(f"(sleep 3; echo done > {tmp_path}/later) & exit 0"))
    started = time.monotonic()

    assert xmit(client) == SENT
    assert time.monotonic() - started < 2.5
    while not (tmp_path / "later").exists():
        assert time.monotonic() - started < 30
        time.sleep(0.05)


def test_a_mailer_that_closes_its_output(mailer: Mailer, connect: Connect) -> None:
    """Its end counts, not that of its output."""
    assert xmit(connect(mailer("exec >&- 2>&-; sleep 1; exit 64"))).startswith(b"-ERR the mail system has refused")


def test_the_mailer_gets_nothing_of_the_server(
    mailer: Mailer, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environment, descriptors, directory, session: its own."""
    monkeypatch.setenv("SECRET", "of the server")
    script = (
        f"env | sort > {tmp_path}/env; ls /proc/self/fd > {tmp_path}/fds; pwd > {tmp_path}/cwd; "
        f"ps -o sid= -p $$ > {tmp_path}/sid; echo $$ > {tmp_path}/pid; umask > {tmp_path}/umask"
    )
    with open(tmp_path / "sendmail.secret", "w") as secret:
        os.set_inheritable(secret.fileno(), True)  # even so
        assert xmit(connect(mailer(script))) == SENT
    lines = (tmp_path / "env").read_text().splitlines()
    names = {line.partition("=")[0] for line in lines}

    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} == {"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "USER"}
    assert (tmp_path / "fds").read_text().split() == ["0", "1", "2", "3"]  # the last is the folder that ls reads
    assert (tmp_path / "cwd").read_text() == "/\n"
    assert (tmp_path / "sid").read_text().split() == (tmp_path / "pid").read_text().split()
    assert (tmp_path / "umask").read_text().strip().endswith("077")


def test_a_message_that_is_too_large(mailer: Mailer, connect: Connect, tmp_path: Path) -> None:
    """It is read to its end, and nothing is sent; one octet less is."""
    client = connect(mailer(), max_message_octets=65_536)
    line = b"x" * 1022 + b"\r\n"

    assert xmit(client, line * 64 + b"x\r\n") == b"-ERR message too large, not sent\r\n"
    assert not (tmp_path / "sent").exists()
    assert xmit(client, line * 64) == SENT


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a file system of its own, of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a file system")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk(mailer: Mailer, connect: Connect, tmp_path: Path, small_disk: Path) -> None:
    """The client is told, nothing is sent, and the room is free again."""
    client = connect(mailer(), spool_dir=small_disk)

    assert xmit(client, b"x" * 300_000 + b"\r\n").startswith(b"-ERR [SYS/TEMP] no room for the message now, not sent")
    assert not (tmp_path / "sent").exists()
    assert xmit(client, MESSAGE + b"x" * 200_000 + b"\r\n") == SENT
    (small_disk / "filler").write_bytes(b"x" * 262_144)
    assert xmit(client).startswith(b"-ERR [SYS/TEMP] no room")


def test_a_spool_directory_that_is_gone(mailer: Mailer, connect: Connect, tmp_path: Path) -> None:
    """The command itself is refused, so nothing of the message is asked for."""
    folder = tmp_path / "gone"
    folder.mkdir()
    client = connect(mailer(), spool_dir=folder)
    folder.rmdir()

    assert client.ask("XTND XMIT").startswith(b"-ERR [SYS/TEMP] no room for the message now")


def test_who_may_send(mailer: Mailer, connect: Connect, tmp_path: Path) -> None:
    """Where the process is not the user, only a site that wants it so."""
    path = mailer()
    strangers = [None, Account("alice"), Account("alice", uid=os.geteuid() + 1, gid=1)]
    for account in strangers:
        client = connect(path, account, as_server_user=False)
        assert client.ask("XTND XMIT").startswith(b"-ERR [SYS/PERM]")
        assert "as_server_user is not set" in str(client.server.errors[0][1])
        assert xmit(connect(path, account)) == SENT

    assert xmit(connect(path, Account("alice", os.geteuid(), 1), as_server_user=False)) == SENT


def test_an_envelope_sender(mailer: Mailer, connect: Connect, tmp_path: Path) -> None:
    """Two more arguments, with the name of the account."""
    path = mailer(f'printf "%s\\n" "$@" > {tmp_path}/arguments')

    assert xmit(connect(path, envelope_sender="{username}@example.org")) == SENT
    assert (tmp_path / "arguments").read_text() == "-i\n-t\n-f\nalice@example.org\n"


@pytest.mark.parametrize("name", ["a b", "a,b", "<a>", "a\nb", 'a"', "a;b"])
def test_a_name_that_is_no_part_of_an_address(mailer: Mailer, connect: Connect, name: str) -> None:
    """It does not come to the mailer."""
    client = connect(mailer(), Account(name), envelope_sender="{username}@example.org")

    assert client.ask("XTND XMIT").startswith(b"-ERR [SYS/PERM]")


def test_the_trace_field(mailer: Mailer, connect: Connect, tmp_path: Path) -> None:
    """It stands in front of what the client has sent, and names account and client."""
    assert xmit(connect(mailer(), trace_header=True)) == SENT
    sent = (tmp_path / "sent").read_text()

    assert re.match(
        r"Received: from \[127\.0\.0\.7\] \(account alice\)\n\tby \S+ \(popframe XTND XMIT\); \w{3}, \d\d .*\nTo: ",
        sent,
    )


@pytest.mark.parametrize(("name", "address"), [("a)\r\nBcc: x", "::1"), ("é(", "")])
def test_nothing_in_a_name_ends_the_trace_field(name: str, address: str) -> None:
    """One field, two lines, in ASCII."""
    field = trace_field(name, Peer(address, 1, "127.0.0.1", 110))

    assert field.count(b"\n") == 2
    assert field.isascii()
    assert b"\r" not in field


def test_the_log_tells_who_has_sent_something(
    mailer: Mailer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """One line for each message that was handed over; nothing of the message in it."""
    with caplog.at_level(logging.INFO, "popframe.xtnd"):
        assert xmit(connect(mailer())) == SENT
        xmit(connect(mailer("echo no; exit 67")))

    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert caplog.messages[0].startswith(f"XMIT: user 'alice' at 127.0.0.7, {len(MESSAGE)} octets: exit status 0")
    assert "exit status 67, said 'no'" in caplog.messages[1]
    assert "hello" not in caplog.text


def test_two_sessions_at_once(mailer: Mailer, connect: Connect, tmp_path: Path) -> None:
    """Each message is its own, and each mailer ends by itself."""
    path = tmp_path / "sendmail"
    path.write_text(f"#!/bin/sh\nsleep 0.2\ncat > {tmp_path}/sent.$$\n")
    path.chmod(0o755)
    replies: list[bytes] = []

    def send(number: int) -> None:
        replies.append(xmit(connect(path), b"Subject: %d\r\n\r\n" % number + b"%d" % number * 100_000 + b"\r\n"))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = sorted(path.read_bytes() for path in tmp_path.glob("sent.*"))

    assert replies == [SENT] * 6
    assert sent == [b"Subject: %d\n\n" % n + b"%d" % n * 100_000 + b"\n" for n in range(1, 7)]


# --- settings


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"sendmail": ()}, "at least 1 item"),
        ({"sendmail": ("sendmail", "-t")}, "is not an absolute path"),
        ({"sendmail": ("/usr/sbin/sendmail", "a\0b")}, "NUL"),
        ({"envelope_sender": "a b"}, "is not an address"),
        ({"envelope_sender": "{user}@example.org"}, "the one name in braces is"),
        ({"max_message_octets": 1}, "greater than or equal to 65536"),
        ({"sendmail_timeout_seconds": 0}, "greater than 0"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, object], reason: str) -> None:
    """Each says what would be right."""
    with pytest.raises(ValidationError, match=reason):
        Settings.model_validate({"xmit": True, **settings})


def test_a_server_does_not_start_without_its_mailer(tmp_path: Path) -> None:
    """Unless nobody can send anything anyhow."""
    missing = ("/nonexistent/sendmail", "-t")
    with pytest.raises(ConfigError, match="/nonexistent/sendmail is not a program that can be started"):
        Xtnd(Settings(xmit=True, sendmail=missing))
    with pytest.raises(ConfigError, match="is not a directory in which files can be created"):
        Xtnd(Settings(xmit=True, sendmail=("/bin/true",), spool_dir=tmp_path / "none"))

    assert not Xtnd(Settings(sendmail=missing)).starts_setgid_programs
    assert Xtnd(Settings(xmit=True, sendmail=("/bin/true",))).starts_setgid_programs
