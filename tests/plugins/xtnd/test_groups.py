"""The groups of RFC 1082, in files of a folder."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import ConfigError, TemporaryFailure
from popframe.testing import EngineServer, Transcript
from popframe.testing.engine_server import EngineTransport
from popframe.testing.transcript import User
from popframe_xtnd import Settings, Xtnd
from popframe_xtnd import mbox as mbox_module
from popframe_xtnd.mbox import GroupMaildrop, scan, settled_length

FROM_LINE = b"From sender@example.org Mon Jan  5 09:00:00 2026\n"
PLAIN = b"".join(FROM_LINE + b"Subject: %d\n\ntext %d\n\n" % (number, number) for number in range(1, 4))


@pytest.fixture
def server(groups: Path) -> EngineServer:
    """Return a server with these groups, and three messages for alice."""
    messages = tuple(b"Subject: own %d\n\nhi\n" % number for number in range(3))
    scene = Transcript(name="test", users=(User("alice", b"secret", messages), User("bob", b"secret")), steps=())
    return EngineServer(scene, Xtnd(Settings(groups_dir=groups)).popframe_register_commands())


def logged_in(server: EngineServer) -> EngineTransport:
    """Return a connection of alice."""
    client = server.connect()
    assert client.log_in("alice", "secret").startswith(b"+OK")
    client.ask()
    return client


@pytest.fixture
def client(server: EngineServer) -> EngineTransport:
    """Return a connection of alice."""
    return logged_in(server)


def lines(reply: bytes) -> list[bytes]:
    """Return the lines of a positive reply of several, without the first and the last."""
    first, *found, end = reply.split(b"\r\n")[:-1]
    assert (first, end) == (b"+OK XTND", b"."), reply
    return found


def test_a_visit_as_rfc_1082_has_it(client: EngineTransport, server: EngineServer) -> None:
    """X-008, X-010, X-013, X-015, X-016, X-019, X-022, X-024, X-027, E-003: from one's own mail to a group."""
    client.ask("DELE 1")
    assert lines(client.ask("XTND BBOARDS")) == [b"mh-users 0", b"system 10"]
    assert client.ask("LIST").splitlines()[1:] == [b"2 22", b"3 22", b"."]
    assert client.ask("XTND BBOARDS nosuch") == b"-ERR no such bboard\r\n"
    assert client.ask("RSET", "DELE 1").count(b"+OK") == 2
    assert lines(client.ask("XTND BBOARDS system")) == [b"system 10"]
    other = logged_in(server)  # the lock is free, and the message gone
    assert other.ask("STAT") == b"+OK 2 44\r\n"
    assert client.ask("LIST").splitlines()[1:] == [b"1 22 8", b"2 22 9", b"3 22 10", b"."]
    assert client.ask("LIST 1") == b"+OK 1 22 8\r\n"
    assert client.ask("DELE 1").startswith(b"-ERR")
    assert client.ask("RETR 2").endswith(b"Subject: 2\r\n\r\ntext 2\r\n.\r\n")
    assert lines(client.ask("XTND ARCHIVE system")) == [b"system 1"]
    assert client.ask("LIST").splitlines()[1:] == [b"1 22 1", b"."]
    assert client.ask("XTND BBOARDS alice") == b"-ERR no such bboard\r\n"
    assert client.ask("QUIT").startswith(b"+OK")
    assert other.ask("STAT") == b"+OK 2 44\r\n"


def test_names_are_found_in_any_case_and_by_alias(client: EngineTransport) -> None:
    """X-009: the reply has the name as it is written."""
    for name in ("SYSTEM", "System", "sys", "SyS"):
        assert lines(client.ask(f"xtnd bboards {name}")) == [b"system 10"]


@pytest.mark.parametrize(
    "name",
    [
        "secret",
        "bob",
        "../bob",
        "/etc/passwd",
        "./system",
        "system.archive",
        "system.toml",
        "system/",
        ".",
        "\xff",
        "%s",
    ],
)
@pytest.mark.parametrize("verb", ["BBOARDS", "ARCHIVE", "X-BBOARDS"])
def test_a_group_that_is_not_there_for_this_user(client: EngineTransport, name: str, verb: str) -> None:
    """X-014, X-018, X-028, X-032, H-093, H-094: the same words for all; nothing is removed, no mark lost."""
    client.ask("DELE 1", "DELE 2", "DELE 3")

    assert client.ask(f"XTND {verb} {name}") == b"-ERR no such bboard\r\n"
    assert client.ask("STAT", "RSET", "STAT").splitlines()[::2] == [b"+OK 0 0", b"+OK 3 66"]


@pytest.mark.parametrize("command", ["XTND ARCHIVE", "XTND X-BBOARDS", "XTND BBOARDS a b", "XTND ARCHIVE mh-users"])
def test_what_is_no_command(client: EngineTransport, command: str) -> None:
    """X-027, X-028, X-032: a name is wanted, and one of a group that has an archive."""
    assert client.ask(command).startswith(b"-ERR")


def test_a_description_has_fourteen_lines(client: EngineTransport) -> None:
    """X-029, X-030, X-031: what is not told is an empty line; no path, no password; the maildrop stays open."""
    client.ask("DELE 1")
    found = lines(client.ask("XTND X-BBOARDS SYS"))

    assert len(found) == 14
    assert found[:2] == [b"system", b"sys"]
    assert found[2:8] == found[10:12] + [b""] * 4 == [b""] * 6
    assert found[8:10] == [b"system@example.org", b""]
    assert found[12] == b"0 10"
    assert re.fullmatch(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", found[13])
    assert not set(b"/$") & set(b"".join(found))
    assert client.ask("STAT") == b"+OK 2 44\r\n"


def test_maxima_never_decrease(client: EngineTransport, groups: Path) -> None:
    """X-011: neither when mail comes nor when the operator removes some and says so."""
    assert lines(client.ask("XTND BBOARDS"))[1] == b"system 10"
    with (groups / "system").open("ab") as file:
        file.write(PLAIN)
    assert lines(client.ask("XTND BBOARDS"))[1] == b"system 13"
    (groups / "system").write_bytes(PLAIN)
    (groups / "system.toml").write_text("removed = 10\n")
    assert lines(client.ask("XTND BBOARDS"))[1] == b"system 13"
    (groups / "system").write_bytes(b"")
    (groups / "system.toml").write_text("removed = 13\n")
    assert lines(client.ask("XTND BBOARDS"))[1] == b"system 13"


def test_several_read_one_group_each_as_it_was(client: EngineTransport, groups: Path) -> None:
    """X-026: no lock is held, and what arrives is seen by who comes later, or again."""
    scene = Transcript(name="test", users=(User("bob", b"secret"),), steps=())
    other = EngineServer(scene, Xtnd(Settings(groups_dir=groups)).popframe_register_commands()).connect()
    other.log_in("bob", "secret")
    other.ask()
    client.ask("XTND BBOARDS system")
    other.ask("XTND BBOARDS system")
    with (groups / "system").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write(PLAIN)

    assert client.ask("STAT") == other.ask("STAT") == b"+OK 3 66\r\n"
    assert client.ask("RETR 3").endswith(b"text 3\r\n.\r\n")
    assert lines(other.ask("XTND BBOARDS system")) == [b"system 13"]
    assert other.ask("STAT") == b"+OK 6 132\r\n"
    assert client.ask("STAT") == b"+OK 3 66\r\n"


def test_unique_ids_are_their_own(client: EngineTransport, groups: Path) -> None:
    """X-025: they differ from those of the user's own mail and of the archive, and stay when others come and go."""
    own = client.ask("UIDL").split()[3::2]
    client.ask("XTND BBOARDS system")
    first = client.ask("UIDL").splitlines()[1:-1]
    client.ask("XTND ARCHIVE system")
    archive = client.ask("UIDL").splitlines()[1:-1]
    (groups / "system").write_bytes(PLAIN[len(PLAIN) // 3 :])
    client.ask("XTND BBOARDS system")
    later = client.ask("UIDL").splitlines()[1:-1]

    uids = [line.split()[1] for line in (*first, *archive)]
    assert len({*own, *uids}) == len(own) + 4
    assert [line.split()[1] for line in later] == uids[1:3]


def test_a_file_that_is_changed_while_it_is_open(client: EngineTransport, groups: Path) -> None:
    """What is no longer there is not sent."""
    client.ask("XTND BBOARDS system")
    with (groups / "system").open("r+b") as file:
        file.write(PLAIN[len(PLAIN) // 3 :])

    assert client.ask("RETR 1").startswith(b"-ERR [SYS/TEMP]")
    assert client.ask("RETR 3").endswith(b"text 3\r\n.\r\n")
    with (groups / "system").open("r+b") as file:
        file.truncate(10)
    assert client.ask("RETR 3").startswith(b"-ERR [SYS/TEMP]")


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/etc/passwd")])
def test_what_is_no_plain_file_is_no_group(
    client: EngineTransport, groups: Path, make: Callable[[Path], object]
) -> None:
    """Nothing waits on it, and no link is followed."""
    make(groups / "odd")

    assert lines(client.ask("XTND BBOARDS")) == [b"mh-users 0", b"system 10"]
    assert client.ask("XTND BBOARDS odd") == b"-ERR no such bboard\r\n"


def test_a_file_that_is_locked(client: EngineTransport, groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who appends to it is waited for, and not for ever."""
    monkeypatch.setattr(mbox_module, "LOCK_SECONDS", 0.2)
    with (groups / "system").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert client.ask("XTND BBOARDS system").startswith(b"-ERR [SYS/TEMP]")
    assert lines(client.ask("XTND BBOARDS system")) == [b"system 10"]


@pytest.mark.parametrize(
    "text", ["removed = -1", "nothing = 1", "aliases = 3", "[", 'aliases = ["a b"]', 'address = "a\\nb"']
)
def test_a_description_that_is_wrong(client: EngineTransport, groups: Path, text: str) -> None:
    """The operator is told, and the session goes on."""
    (groups / "system.toml").write_text(text)

    assert client.ask("XTND BBOARDS").startswith(b"-ERR [SYS/PERM]")
    assert "system.toml" in str(client.server.errors[0][1])
    assert client.ask("STAT") == b"+OK 3 66\r\n"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The server does not start."""
    with pytest.raises(ConfigError, match="is not a directory"):
        Xtnd(Settings(groups_dir=tmp_path / "none"))


WORDS = [b"From ", b"\n", b"\r\n", b"\r", b"x", b"\n\n", b"\n\nFrom a\n", b".", b"Subject: a\n"]


@given(st.lists(st.sampled_from(WORDS), max_size=30), st.integers(1, 8))
def test_any_file_is_read_as_it_is_listed(words: list[bytes], piece: int) -> None:
    """LIST tells what RETR sends, and every octet is a From_ line, a message's, or the blank line behind one."""
    content = b"From a\n" + b"".join(words)
    descriptor = os.memfd_create("group")
    os.write(descriptor, content)
    before, mbox_module.READ_OCTETS = mbox_module.READ_OCTETS, max(piece, 5)
    try:
        found = scan(descriptor, settled_length(descriptor))
        maildrop = GroupMaildrop(descriptor, found, "group")
        messages = [b"".join(maildrop.read_message(index)) for index in range(len(found))]
    finally:
        mbox_module.READ_OCTETS = before
        os.close(descriptor)
    sizes = [
        len(re.sub(rb"\r?\n", b"\r\n", message)) + 2 * (message != b"" and not message.endswith(b"\n"))
        for message in messages
    ]
    rebuilt = b""
    for this, message in zip(found, messages, strict=True):
        assert content[len(rebuilt) : this.mark].strip(b"\r\n") == b""
        rebuilt += content[len(rebuilt) : this.mark] + content[this.mark : this.start] + message
        assert content[this.mark : this.start].startswith(b"From ")

    assert list(maildrop.message_octets()) == sizes
    assert content.startswith(rebuilt)
    assert len(set(maildrop.message_uids())) == len(messages)


def test_a_message_that_is_torn_off_is_not_sent_whole() -> None:
    """A file that shrinks while it is read gives less than was promised, which the engine takes for a failure."""
    descriptor = os.memfd_create("group")
    os.write(descriptor, FROM_LINE + b"Subject: a\n\n" + b"x" * 200_000 + b"\n")
    maildrop = GroupMaildrop(descriptor, scan(descriptor, settled_length(descriptor)), "group")
    pieces = maildrop.read_message(0)
    next(pieces)
    os.truncate(descriptor, 100_000)

    assert sum(map(len, pieces)) < 200_000
    os.truncate(descriptor, 10)
    with pytest.raises(TemporaryFailure):
        maildrop.read_message(0)
    maildrop.close()


def test_a_unique_id_does_not_depend_on_what_stands_behind_a_message(client: EngineTransport, groups: Path) -> None:
    """X-025: the last message may have no blank line behind it, until another one comes."""
    (groups / "system").write_bytes(FROM_LINE + b"Subject: no text\n")
    client.ask("XTND BBOARDS system")
    before = client.ask("UIDL 1", "LIST 1")
    with (groups / "system").open("ab") as file:
        file.write(b"\n" + PLAIN)
    client.ask("XTND BBOARDS system")

    assert client.ask("UIDL 1", "LIST 1") == before
    assert client.ask("RETR 1") == b"+OK 18 octets\r\nSubject: no text\r\n.\r\n"
    assert client.ask("RETR 2").endswith(b"text 1\r\n.\r\n")
