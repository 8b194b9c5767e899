"""``popframe mbox check``: what it writes, its exit status, and that it leaves the file alone."""

from __future__ import annotations

import argparse
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from popframe import Account
from popframe_store_mbox import Settings, StoreMbox
from popframe_store_mbox.tools.mbox import command

FROM = b"From bob@example.org Mon Jan  5 09:00:00 2026\n"
GOOD = FROM + b"Subject: a\n\na\n\n"
TORN = FROM + b"Subject: b\n\nFrom what I hear\n>From x\n"
FILE = GOOD + TORN + FROM + b"Subject: c\n\nc\n\n"
EMPTY_SUMMARY = "0 messages with 0 octets as sent, 0 with something odd\n"

MAX_MEMORY_KIBIBYTES = 96 * 1024
"""Python, pydantic and some windows of the file; the files are much larger than that, or would be."""

ONLY_LONG = pytest.mark.skipif(os.environ.get("POPFRAME_LONG") != "1", reason="a gibibyte: set POPFRAME_LONG=1")

Capture = pytest.CaptureFixture[str]


def mbox(*arguments: object) -> int:
    """Run the command in this process."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    argv = [sys.executable, "-m", "popframe", "mbox", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "80"})


# --- text ---------------------------------------------------------------------------------------------------------


def test_odd_messages_are_told_and_counted(spool: Path, capsys: Capture) -> None:
    """Number, place, size, unique-id and From_ line, what was found, and the sum of it."""
    spool.write_bytes(FILE)
    maildrop = StoreMbox(Settings(spool_dir=spool.parent)).popframe_open_maildrop(Account("alice"))
    uids = maildrop.message_uids()
    maildrop.close()

    assert mbox("check", spool) == 1
    assert capsys.readouterr() == (
        f"message 2: offset 61, line 6, 41 octets as sent\n"
        f"  unique-id {uids[1]}\n"
        "  From bob@example.org Mon Jan  5 09:00:00 2026\n"
        "  odd:  line 9: 'From what I hear' is text: it has no date: no weekday from Mon to Sun\n"
        "  note: line 10: 1 line quoted as '>From ', sent as stored: nobody can tell who quoted it\n"
        "\n"
        "message 3: offset 144, line 11, 17 octets as sent\n"
        f"  unique-id {uids[2]}\n"
        "  From bob@example.org Mon Jan  5 09:00:00 2026\n"
        "  odd:  line 11: no blank line before the From_ line: procmail leaves it out after a message without a last "
        "line end\n"
        "\n"
        f"{spool}: 3 messages with 75 octets as sent, 2 with something odd\n"
        "  odd:  line that begins with 'From ' and is text: 1 message\n"
        "  odd:  no blank line before the From_ line: 1 message\n"
        "  note: line quoted as '>From ': 1 message\n",
        "",
    )


def test_all_messages_are_told_when_asked_for(spool: Path, capsys: Capture) -> None:
    """Good ones too."""
    spool.write_bytes(GOOD)

    assert mbox("check", "--messages", spool) == 0
    assert capsys.readouterr().out.splitlines()[0] == "message 1: offset 0, line 1, 17 octets as sent"


def test_good_file_is_one_line(spool: Path, capsys: Capture) -> None:
    """Nothing odd, exit status 0; a note does not count."""
    spool.write_bytes(GOOD.replace(b"\na\n", b"\n>From a\n"))

    assert mbox("check", spool) == 0
    assert capsys.readouterr().out == (
        f"{spool}: 1 message with 23 octets as sent, 0 with something odd\n"
        "  note: line quoted as '>From ': 1 message\n"
        "  nothing odd\n"
    )


def test_empty_file_is_an_empty_maildrop(spool: Path, capsys: Capture) -> None:
    """As the server has it."""
    spool.touch()

    assert mbox("check", spool) == 0
    assert capsys.readouterr().out == f"{spool}: {EMPTY_SUMMARY}  nothing odd\n"


def test_file_that_is_no_mbox_file_is_odd(spool: Path, capsys: Capture) -> None:
    """With the server's reason, and what it may be."""
    spool.write_bytes(b"Subject: a\n\nb\n" + GOOD)

    assert mbox("check", spool) == 1
    assert capsys.readouterr().out == (
        f"{spool}: {EMPTY_SUMMARY}"
        "  odd:  line 1: not an mbox file: at offset 0 is b'Subject: a\\n\\nb\\nFrom bob@example.org Mon Jan  5 "
        "09:00:00 2026\\n', not a From_ line (a message without From_ line, as in a maildir or an .eml file); the "
        "first From_ line is line 4, at offset 14\n"
    )


def test_escape_sequences_do_not_reach_the_terminal(spool: Path, capsys: Capture) -> None:
    """A sender chooses what stands in a From_ line, and somebody the name of a file."""
    spool = spool.with_name("al\x1b[2Jice")
    spool.write_bytes(FROM.replace(b"bob", b"\x1b]0;bob\x07\xff") + b"A: 1\n\nFrom \x1b[31mred\n\n")

    assert mbox("check", spool) == 1
    output = capsys.readouterr().out
    assert "\\x1b]0;bob\\x07\\xff@example.org" in output
    assert "al\\x1b[2Jice" in output
    assert output.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", "\\xe9\\u2026"), ("latin-1", "\xe9\\u2026"), ("utf-8", "\xe9\u2026")]
)
def test_letters_that_a_terminal_lacks_are_shown_by_number(spool: Path, encoding: str, shown: str) -> None:
    """They are no reason to stop."""
    spool.write_bytes(FROM + b"A: 1\n\nFrom " + b"x" * 53 + "\xe9yyyyy\n\n".encode())
    argv = [sys.executable, "-m", "popframe", "mbox", "check", str(spool)]
    result = subprocess.run(argv, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": encoding})

    assert (result.returncode, result.stderr) == (1, b"")
    assert f"{'x' * 53}{shown}' is text" in result.stdout.decode(encoding)


def test_long_lines_are_wrapped_at_a_terminal(spool: Path) -> None:
    """With the second line under the text of the first."""
    spool.write_bytes(FILE)
    master, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "60", "LINES": "24"}
    process = subprocess.Popen(
        [sys.executable, "-m", "popframe", "mbox", "check", str(spool)], stdout=terminal, env=environment
    )
    os.close(terminal)
    shown = b""
    try:
        while octets := os.read(master, 65536):
            shown += octets
    except OSError:  # EIO: the other side is closed
        pass
    os.close(master)
    lines = shown.decode().split("\r\n")

    assert process.wait() == 1
    assert max(map(len, lines)) <= 60
    assert "  odd:  line 11: no blank line before the From_ line:" in lines
    assert "        procmail leaves it out after a message without a" in lines


# --- JSON ---------------------------------------------------------------------------------------------------------


def test_json_says_the_same(spool: Path, capsys: Capture) -> None:
    """One object a line, the summary last."""
    spool.write_bytes(FILE)

    assert mbox("check", "--json", "--messages", spool) == 1
    *messages, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert [(message["message"], message["offset"], message["line"], message["octets"]) for message in messages] == [
        (1, 0, 1, 17),
        (2, 61, 6, 41),
        (3, 144, 11, 17),
    ]
    assert {message["from_line"] for message in messages} == {FROM.decode().rstrip()}
    assert len({message["uid"] for message in messages}) == 3
    assert messages[1]["findings"][0] == {
        "kind": "from-in-text",
        "odd": True,
        "count": 1,
        "offset": 119,
        "line": 9,
        "text": "'From what I hear' is text: it has no date: no weekday from Mon to Sun",
    }
    assert last == {
        "summary": {
            "path": str(spool),
            "size": len(FILE),
            "odd": True,
            "messages": 3,
            "odd_messages": 2,
            "octets": 75,
            "findings": [],
            "kinds": {
                "from-in-text": {"odd": True, "messages": 1, "count": 1},
                "no-blank-line": {"odd": True, "messages": 1, "count": 1},
                "quoted-from": {"odd": False, "messages": 1, "count": 1},
            },
        }
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([GOOD, TORN, FROM, b"\n", b"a\0", b"\xff", b"A: 1\r\n"]) | st.binary(max_size=9)))
def test_any_file_gives_json_and_the_exit_status_that_fits(spool: Path, capsys: Capture, parts: list[bytes]) -> None:
    """Whatever the file holds."""
    spool.write_bytes(b"".join(parts))
    status = mbox("check", "--json", "--messages", spool)
    *messages, last = map(json.loads, capsys.readouterr().out.splitlines())
    summary = last["summary"]
    findings = [finding for message in [*messages, summary] for finding in message["findings"]]

    assert status == int(summary["odd"]) == int(any(finding["odd"] for finding in findings))
    assert summary["messages"] == len(messages)
    assert summary["octets"] == sum(message["octets"] for message in messages)
    assert summary["odd_messages"] == sum(any(one["odd"] for one in message["findings"]) for message in messages)


# --- the file -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["missing", "directory", "fifo"])
def test_file_that_cannot_be_read_is_a_mistake(spool: Path, capsys: Capture, status: str) -> None:
    """Exit status 2, one line, no trace, and no waiting for a writer."""
    if status == "directory":
        spool.mkdir()
    if status == "fifo":
        os.mkfifo(spool)

    assert mbox("check", spool) == 2
    assert capsys.readouterr() == (
        "",
        f"popframe mbox: {spool}: {'No such file or directory' if status == 'missing' else 'is not a regular file'}\n",
    )


def test_nothing_is_changed(spool: Path) -> None:
    """Neither the file, nor its times, nor the folder: mail that was not read is still new."""
    spool.write_bytes(FILE)
    os.utime(spool, (1, 2))
    before = spool.stat()
    mbox("check", spool)
    after = spool.stat()

    assert spool.read_bytes() == FILE
    assert (after.st_atime_ns, after.st_mtime_ns, after.st_ctime_ns) == (10**9, 2 * 10**9, before.st_ctime_ns)
    assert os.listdir(spool.parent) == ["alice"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_file_of_another_user_is_read_all_the_same() -> None:
    """Only the owner can leave the time of the last access alone; for others it is an ordinary access."""
    program = (
        "import argparse, os, sys\n"
        "from popframe_store_mbox.tools.mbox import command\n"
        "os.setgroups([]); os.setresgid(*[65534] * 3); os.setresuid(*[65534] * 3)\n"
        "parser = argparse.ArgumentParser(); command.add_arguments(parser)\n"
        "sys.exit(command.run(parser.parse_args(sys.argv[1:])))\n"
    )
    with TemporaryDirectory() as directory:
        spool = Path(directory, "alice")
        spool.write_bytes(GOOD)
        spool.parent.chmod(0o755)
        argv = [sys.executable, "-c", program, "check", str(spool)]
        result = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{spool}: 1 message")


def test_locked_file_is_read(spool: Path) -> None:
    """The tool takes no lock, and waits for none."""
    spool.write_bytes(GOOD)
    dotlock = spool.with_name("alice.lock")
    dotlock.touch()

    assert mbox("check", spool) == 0
    assert dotlock.exists()


class Interfering(threading.Thread):
    """Does something to the file as soon as the first message is told."""

    def __init__(self, pipe: int, action: Callable[[], object]) -> None:
        super().__init__()
        self._pipe = pipe
        self._action = action
        self.output = b""

    def run(self) -> None:
        """Read the first octets, act, then read the rest."""
        self.output = os.read(self._pipe, 100)
        self._action()
        while octets := os.read(self._pipe, 65536):
            self.output += octets


@pytest.mark.parametrize("change", ["write", "truncate", "replace", "remove", "relink"])
def test_change_of_the_file_is_told(spool: Path, change: str) -> None:
    """What was found may be wrong then; exit status 1."""
    link = spool.with_name("link")
    link.symlink_to("alice")
    second = spool.with_name("second")
    second.symlink_to("/dev/null")
    spool.write_bytes(TORN * 3000)  # more than a pipe holds, so that the reports wait for their reader
    actions: dict[str, Callable[[], object]] = {
        "write": lambda: spool.write_bytes(TORN * 3000 + b"x"),
        "truncate": lambda: os.truncate(spool, 1000),
        "replace": lambda: (spool.with_name("new").write_bytes(GOOD), spool.with_name("new").rename(spool)),
        "remove": spool.unlink,
        "relink": lambda: second.rename(link),
    }
    reading, writing = os.pipe()
    process = subprocess.Popen([sys.executable, "-m", "popframe", "mbox", "check", str(link)], stdout=writing)
    os.close(writing)
    thread = Interfering(reading, actions[change])
    thread.start()
    thread.join()
    os.close(reading)
    summary = thread.output.decode().split(f"\n{link}: ")[1].splitlines()

    assert process.wait() == 1
    assert summary[1].startswith("  odd:  line 1: another program wrote to the file while it was read")


@pytest.mark.parametrize("mebibytes", [128, pytest.param(1024, marks=ONLY_LONG)])
def test_memory_does_not_grow_with_the_file(spool: Path, mebibytes: int) -> None:
    """One message, one line, much larger than what the process may have."""
    with spool.open("wb") as file:
        file.write(GOOD + FROM + b"Subject: b\n\n")
        file.truncate(mebibytes << 20)
    line = f'ulimit -d {MAX_MEMORY_KIBIBYTES}; exec "{sys.executable}" -m popframe mbox check --json "{spool}"'
    result = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False)
    message, _ = map(json.loads, result.stdout.splitlines())
    kinds = {finding["kind"]: finding["count"] for finding in message["findings"]}

    assert (result.returncode, result.stderr) == (1, "")
    assert kinds == {"nul": message["octets"] - 14 - 2, "long-line": 1, "no-line-end": 1}


# --- as a command -------------------------------------------------------------------------------------------------


def test_command_works_as_a_process(spool: Path) -> None:
    """Found by its entry point."""
    spool.write_bytes(FILE)
    result = run("check", spool)

    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.endswith("  note: line quoted as '>From ': 1 message\n")


@pytest.mark.parametrize("arguments", [[], ["check"], ["mend", "alice"], ["check", "--all", "alice"]])
def test_wrong_command_line_is_told(arguments: list[str]) -> None:
    """Exit status 2, and how it would be right."""
    result = run(*arguments)

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("usage: popframe mbox ")


def test_reader_that_has_seen_enough_ends_it(spool: Path) -> None:
    """``popframe mbox check … | head`` gives no trace."""
    spool.write_bytes(TORN * 5000)
    line = f'"{sys.executable}" -m popframe mbox check "{spool}" | head -1'
    result = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False)

    assert (result.stdout, result.stderr) == ("message 1: offset 0, line 1, 41 octets as sent\n", "")


def test_full_disk_is_not_taken_for_a_file_that_cannot_be_read(spool: Path) -> None:
    """The exit status says that the command failed, not that it was used wrongly."""
    spool.write_bytes(TORN * 5000)
    with Path("/dev/full").open("wb") as full:
        argv = [sys.executable, "-m", "popframe", "mbox", "check", str(spool)]
        result = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert result.returncode == 1
    assert result.stderr == "popframe: [Errno 28] No space left on device\n"


def test_help_tells_exit_status_and_examples() -> None:
    """In lines that fit a terminal."""
    result = run("check", "--help")

    assert (result.returncode, result.stderr) == (0, "")
    assert "exit status:" in result.stdout
    assert "examples:" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
