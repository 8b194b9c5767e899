"""Which sessions are traced, what is written of them, and into which file."""

from __future__ import annotations

import json
import logging
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from popframe.config.trace import TraceSettings
from popframe.engine import CommandTable, Policy, Session
from popframe.extension import IN_TRANSACTION, Command, CommandContext, Reply, State
from popframe.model import Outcome, Peer, SessionSummary
from popframe.sasl import built_in
from popframe.server.log import LOGGER_NAME, set_up_file
from popframe.server.observation.masking import masked
from popframe.server.observation.session import ObservedSession, session_for
from popframe.server.observation.trace import MOST_KEPT_BACK, Tracer, TraceScope
from popframe.server.observation.trace_file import TraceFile
from popframe.testing import EngineServer, Transcript
from popframe.testing.engine_server import PEER
from popframe.testing.transcript import User

POLICY = Policy()
MECHANISMS = ("PLAIN", "SCRAM-SHA-256")
TABLE = CommandTable(POLICY, (), built_in(MECHANISMS))
CHANNEL = POLICY.channel(PEER)
SERVER = EngineServer(
    Transcript(
        name="test",
        users=(User("alice", b"secret", (b"Subject: hello\n\nhi\n",)),),
        steps=(),
        policy=POLICY,
        mechanisms=MECHANISMS,
    )
)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """Send the log to a file; it is put back afterwards."""
    logger = logging.getLogger(LOGGER_NAME)
    before = (logger.handlers[:], logger.level, logger.propagate, logging.raiseExceptions)
    logger.handlers = []
    set_up_file(tmp_path / "log", "text", "info")
    yield tmp_path / "log"
    for handler in logger.handlers:
        handler.close()
    logger.handlers, logger.level, logger.propagate, logging.raiseExceptions = before


# --- what is shown of a command


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"USER alice", "USER alice"),
        (b"user alice", "USER alice"),
        (b"USER alice secret", "USER ****"),
        (b"USER", "USER"),
        (b"PASS secret", "PASS ****"),
        (b"PASS", "PASS"),
        (b"AUTH", "AUTH"),
        (b"AUTH plain", "AUTH PLAIN"),
        (b"AUTH PLAIN AGFsaWNlAHNlY3JldA==", "AUTH PLAIN ****"),
        (b"AUTH secret", "AUTH ****"),
        (b"AUTH secret PLAIN", "AUTH ****"),
        (b"APOP alice 0123456789abcdef", "****"),
        (b"AGFsaWNlAHNlY3JldA==", "****"),
        (b"secret", "****"),
        (b"secret STAT", "****"),
        (b"RETR secret", "RETR ****"),
        (b"CAPA", "CAPA"),
        (b"CAPA secret", "CAPA ****"),
        (b"LANG de", "LANG de"),
        (b"", "****"),
        (b"\xc3\xa4secret", "****"),
        (b"PASS\x00secret", "****"),
    ],
)
def test_before_login_only_names_are_shown(line: bytes, shown: str) -> None:
    """Whatever else a client says there may be its password."""
    assert masked(line, TABLE.commands(State.AUTHORIZATION, CHANNEL), TABLE, MECHANISMS) == shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"RETR 1", "RETR 1"),
        (b"top 1 0", "TOP 1 0"),
        (b"TOP \xff", "TOP \\xff"),
        (b"PASS secret", "PASS ****"),
        (b"USER alice", "USER ****"),
        (b"secret", "****"),
    ],
)
def test_after_login_commands_are_shown(line: bytes, shown: str) -> None:
    """But not those that belong before it: a client that repeats its login says its password again."""
    assert masked(line, TABLE.commands(State.TRANSACTION, CHANNEL), TABLE, MECHANISMS) == shown


# --- which sessions


@pytest.mark.parametrize(
    ("settings", "address", "is_traced"),
    [
        ({"all_sessions": True}, "192.0.2.1", True),
        ({"networks": ["192.0.2.0/24"]}, "192.0.2.1", True),
        ({"networks": ["192.0.2.0/24"]}, "::ffff:192.0.2.1", True),
        ({"networks": ["192.0.2.0/24"]}, "198.51.100.1", False),
        ({"networks": ["2001:db8::/32"]}, "2001:db8::1", True),
        ({"networks": ["192.0.2.0/24"]}, "", False),
    ],
)
def test_networks_choose_sessions(settings: dict[str, object], address: str, is_traced: bool) -> None:
    """A session that will not be traced has no trace at all."""
    trace = Tracer(TraceSettings.model_validate_json(json.dumps(settings)), "text").begin("s", Peer(address))

    assert (trace is not None) is is_traced
    assert trace is None or trace.scope() is TraceScope.COMMANDS


def test_users_choose_sessions_once_they_are_known(log: Path) -> None:
    """What was said before comes first; as much of it as is kept."""
    tracer = Tracer(TraceSettings(users=("alice",)), "text")
    trace, other = tracer.begin("s1", Peer("192.0.2.1")), tracer.begin("s2", Peer("192.0.2.2"))
    assert trace
    assert other
    for number in range(MOST_KEPT_BACK + 5):
        trace.write("command", {"command": f"CAPA{number}"})
        other.write("command", {"command": "CAPA"})
    assert log.read_text() == ""

    assert other.scope("bob") is TraceScope.NOTHING
    assert trace.scope("bob") is TraceScope.NOTHING
    assert trace.scope("alice") is TraceScope.COMMANDS
    trace.write("command", {"command": "STAT"})
    lines = log.read_text().splitlines()
    assert len(lines) == MOST_KEPT_BACK + 1
    assert lines[0].endswith("command session=s1 address=192.0.2.1 command=CAPA5")
    assert lines[-1].endswith("command=STAT")
    assert trace.scope() is TraceScope.COMMANDS


def test_a_session_that_nobody_looks_at_is_the_engine_s_own() -> None:
    """Not one line of code runs for what is not wanted."""
    assert type(session_for(PEER, SERVER, POLICY, TABLE)) is Session
    assert type(session_for(PEER, SERVER, POLICY, TABLE, "", [Witness()])) is ObservedSession


# --- what is told of one


class Witness:
    """Remembers what it is told."""

    def __init__(self, *, wants_bodies: bool = False, uninteresting: str = "") -> None:
        self.lines: list[tuple[str, str, str]] = []
        self.octets = b""
        self.ends: list[SessionSummary] = []
        self._wants_bodies = wants_bodies
        self._uninteresting = uninteresting

    def answered(self, username: str, command: str, reply: str) -> None:
        """Remember a command."""
        self.lines.append((username, command, reply))

    def goes_on(self, username: str) -> bool:
        """Tell whether this user's session is of interest."""
        return username != self._uninteresting

    def wants_bodies(self) -> bool:
        """Tell what the test wants."""
        return self._wants_bodies

    def sent(self, octets: bytes) -> None:
        """Remember a part of a message."""
        self.octets += octets

    def ended(self, summary: SessionSummary) -> None:
        """Remember the end."""
        self.ends.append(summary)


@pytest.mark.parametrize("wants_bodies", [True, False])
def test_observers_are_told_every_line_and_change_nothing(wants_bodies: bool) -> None:
    """The client gets the same octets; whose session it is is told as soon as the client has said it."""
    script = b"CAPA\r\nUSER alice\r\nPASS wrong\r\nUSER alice\r\nPASS secret\r\nRETR 1\r\nRETR 2\r\n\r\nQUIT\r\n"
    witness = Witness(wants_bodies=wants_bodies)
    said = []
    for session in (SERVER.session(), session_for(PEER, SERVER, POLICY, TABLE, "", [witness])):
        session.receive_data(script)
        said.append(session.greeting() + b"".join(octets for buffers in session.output() for octets in buffers))
    session.summary("s", 1.0)

    assert said[0] == said[1]
    assert witness.lines == [
        ("", "(connection)", "+OK POP3 server ready"),
        ("", "CAPA", "+OK capability list follows"),
        ("alice", "USER alice", "+OK send PASS"),
        ("alice", "PASS ****", "-ERR [AUTH] user name or password not accepted"),
        ("alice", "USER alice", "+OK send PASS"),
        ("alice", "PASS ****", "+OK maildrop has 1 messages (22 octets)"),
        ("alice", "RETR 1", "+OK 22 octets"),
        ("alice", "RETR 2", "-ERR no such message"),
        ("alice", "****", "-ERR unknown command"),
        ("alice", "QUIT", "+OK bye, 1 messages left"),
    ]
    assert [summary.outcome for summary in witness.ends] == [Outcome.QUIT]
    assert (b"Subject: hello\r\n\r\nhi\r\n.\r\n" in witness.octets) is wants_bodies


class Sink:
    """Takes a body."""

    def take(self, octets: bytes) -> None:
        """Leave it."""

    def finish(self) -> Reply:
        """Thank for it."""
        return Reply("taken")

    def abort(self) -> None:
        """Leave it."""


def test_a_body_that_a_client_sends_is_not_told() -> None:
    """XTND XMIT: not even a line of it that looks like a command."""
    row: Command[CommandContext] = Command(
        "XTAKE", lambda _context, _arguments: Reply("send it", receive=Sink()), IN_TRANSACTION
    )
    table = CommandTable(POLICY, [row])
    witness = Witness()
    session = session_for(PEER, SERVER, POLICY, table, "", [witness])
    session.receive_data(b"USER alice\r\nPASS secret\r\nXTAKE\r\nSTAT\r\nRETR 1\r\n.\r\nQUIT\r\n")
    list(session.output())

    assert [line[1:] for line in witness.lines[2:]] == [
        ("XTAKE", "+OK send it"),
        ("(body)", "+OK taken"),
        ("QUIT", "+OK bye, 1 messages left"),
    ]


def test_who_does_not_care_for_a_user_is_told_nothing_more() -> None:
    """From the login on; the client notices nothing."""
    witness = Witness(wants_bodies=True, uninteresting="alice")
    session = session_for(PEER, SERVER, POLICY, TABLE, "", [witness])
    session.receive_data(b"USER alice\r\nPASS secret\r\nSTAT\r\nRETR 1\r\nQUIT\r\n")
    said = b"".join(octets for buffers in session.output() for octets in buffers)

    assert b"Subject: hello\r\n\r\nhi\r\n.\r\n+OK bye" in said
    assert [line[1] for line in witness.lines] == ["USER alice", "PASS ****"]
    assert witness.octets == b""


def test_what_a_plugin_says_of_its_command_counts_after_login() -> None:
    """A command that reveals a password has its arguments masked wherever it is valid."""
    commands: dict[bytes, Command[Session]] = {
        verb.encode(): Command(
            verb, lambda _context, _arguments: Reply("done"), IN_TRANSACTION, arity=range(3), reveals_password=reveals
        )
        for verb, reveals in (("XPASSWD", True), ("XOTHER", False))
    }

    assert masked(b"XPASSWD old new", commands, TABLE, MECHANISMS) == "XPASSWD ****"
    assert masked(b"XOTHER old new", commands, TABLE, MECHANISMS) == "XOTHER old new"


def test_a_line_without_an_end_is_told_as_a_closed_connection() -> None:
    """No reply is said to it."""
    witness = Witness()
    session = session_for(PEER, SERVER, POLICY, TABLE, "", [witness])
    for _ in range(3):
        session.receive_data(b"secret" * 10_000)
        list(session.output())

    assert session.is_closed
    assert [line[1:] for line in witness.lines] == [
        ("****", "-ERR line too long"),
        ("****", "(the connection is closed)"),
    ]


# --- the file


def test_the_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    """Lines as in the log, whatever umask the process has."""
    previous = os.umask(0)
    try:
        TraceFile(tmp_path / "trace", "text").write("command", {"command": "STAT", "reply": "+OK 0 0"})
    finally:
        os.umask(previous)
    text = (tmp_path / "trace").read_text()

    assert text.endswith(f' popframe[{os.getpid()}]: command command=STAT reply="+OK 0 0"\n')
    assert (tmp_path / "trace").stat().st_mode & 0o777 == 0o600


def test_the_file_may_have_objects(tmp_path: Path) -> None:
    """As the log may."""
    TraceFile(tmp_path / "trace", "json").write("command", {"command": "STAT"})

    assert json.loads((tmp_path / "trace").read_text())["command"] == "STAT"


def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    """By rename or removal; and one that was put in its place is used."""
    path = tmp_path / "trace"
    file = TraceFile(path, "text")
    file.write("first", {})
    path.rename(tmp_path / "trace.1")
    file.write("second", {})
    path.unlink()
    path.touch(0o640)
    file.write("third", {})

    assert (tmp_path / "trace.1").read_text().endswith(": first\n")
    assert path.read_text().endswith(": third\n")
    assert path.read_text().count("\n") == 1


def _link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


def _second_name(path: Path) -> None:
    path.with_name("elsewhere").touch(0o600)
    path.hardlink_to(path.with_name("elsewhere"))


def _pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


def _directory(path: Path) -> None:
    path.mkdir()


def _open_to_others(path: Path) -> None:
    path.touch()
    path.chmod(0o622)


@pytest.mark.parametrize("prepare", [_link, _second_name, _pipe, _directory, _open_to_others])
def test_what_is_no_file_of_the_server_s_own_is_not_written(prepare: object, tmp_path: Path, log: Path) -> None:
    """The log is told once; nothing is followed, nothing waits."""
    assert callable(prepare)
    prepare(tmp_path / "trace")
    file = TraceFile(tmp_path / "trace", "text")
    file.check()
    file.write("command", {})

    assert log.read_text().count(" trace-not-written level=warning file=") == 1
    elsewhere = tmp_path / "elsewhere"
    assert not elsewhere.exists() or elsewhere.read_text() == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a file of somebody else")
def test_a_file_of_somebody_else_is_not_written(tmp_path: Path, log: Path) -> None:
    """Its owner could read and change what is written."""
    (tmp_path / "trace").touch(0o600)
    os.chown(tmp_path / "trace", 12_345, 12_345)
    TraceFile(tmp_path / "trace", "text").write("command", {})

    assert "belongs to user 12345, not to the user 0 that the server runs as" in log.read_text()
    assert (tmp_path / "trace").read_text() == ""


def test_a_full_disk_loses_lines_and_nothing_else(tmp_path: Path, log: Path) -> None:
    """The log is told; half a line is not continued by the next one, once there is room again."""
    filler = "x" * 10_000  # the limit holds for the log as well, which is shorter
    (tmp_path / "trace").touch(0o600)
    (tmp_path / "trace").write_text(filler + "\n")
    file = TraceFile(tmp_path / "trace", "text")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "trace").stat().st_size + 10, before[1]))
    try:
        file.write("second", {})
        file.write("third", {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    file.write("fourth", {})
    lines = (tmp_path / "trace").read_text().splitlines()

    assert [line.endswith(end) for line, end in zip(lines, [filler, "", ": fourth"], strict=True)] == [True] * 3
    assert len(lines[1]) == 10
    assert log.read_text().count(" trace-not-written ") == 1
