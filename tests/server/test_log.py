"""One line per event, whatever stands in it."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe.server.log import (
    FIELDS,
    LOGGER_NAME,
    JsonFormatter,
    TextFormatter,
    descriptors,
    log_event,
    set_up,
    set_up_file,
    set_up_syslog_or_none,
)

LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z popframe\[\d+\]: (\S+)"
    r'((?: [a-z]+=(?:[!#-&(-<>-\[\]-~]+|"(?:[ !#-\[\]-~]|\\[ -~])*"))*)\n'
)


def record(fields: dict[str, object]) -> logging.LogRecord:
    """Return the record of an event."""
    made = logging.LogRecord(LOGGER_NAME, logging.INFO, "", 0, "login-failed", None, None)
    setattr(made, FIELDS, fields)
    return made


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Yield what tells the lines on standard error; the process's log is put back afterwards."""
    logger = logging.getLogger(LOGGER_NAME)
    before = (logger.handlers[:], logger.level, logger.propagate, logging.raiseExceptions)
    logger.handlers = []
    yield lambda: capsys.readouterr().err
    logger.handlers, logger.level, logger.propagate, logging.raiseExceptions = before


@given(st.text())
def test_any_value_keeps_its_line_and_its_field(value: str) -> None:
    """What a client sends can neither end the line nor look like another field (H-095)."""
    line = TextFormatter(with_time=True).format(record({"user": value, "address": "192.0.2.1"}))

    match = LINE.fullmatch(line + "\n")
    assert match
    words = shlex.split(match[2])
    assert [word.partition("=")[0] for word in words] == ["user", "address"]


@given(st.text())
def test_any_value_comes_back_from_json(value: str) -> None:
    """A program that reads the log gets the value, cut when it is long."""
    line = JsonFormatter().format(record({"user": value, "count": 3}))

    assert "\n" not in line
    event = json.loads(line)
    assert event["event"] == "login-failed"
    assert event["count"] == 3
    assert event["user"] == value or event["user"].endswith("…")


@pytest.mark.parametrize("start", ["", "\n"])
def test_a_long_value_is_cut(start: str) -> None:
    """Nobody fills the log with one command, whatever it holds (H-095); only where an error came from is told whole."""
    value = start + "x" * 10_000

    assert len(TextFormatter(with_time=False).format(record({"user": value}))) < 500
    assert len(JsonFormatter().format(record({"user": value}))) < 600
    assert len(TextFormatter(with_time=False).format(record({"trace": value}))) > 10_000


def test_a_warning_says_that_it_is_one(log: Callable[[], str]) -> None:
    """The level stands in the line from warning upwards."""
    set_up("stderr", "text", "info")
    log_event("login", {"user": "alice"})
    log_event("login-failed", {"user": "alice"}, logging.WARNING)
    log_event("detail", {}, logging.DEBUG)

    lines = [line.split(": ", 1)[1] for line in log().splitlines()]
    assert lines == ["login user=alice", "login-failed level=warning user=alice"]


def test_a_plugin_s_line_and_trace_stay_one_line(log: Callable[[], str]) -> None:
    """What a plugin logs by itself becomes an event with logger, text and trace."""
    set_up("stderr", "json", "info")
    try:
        int("two\nlines")
    except ValueError:
        logging.getLogger("popframe.some_plugin").exception("could not %s", "do it")

    event = json.loads(log())
    assert event["event"] == "message"
    assert event["logger"] == "popframe.some_plugin"
    assert event["text"] == "could not do it"
    assert event["trace"].endswith(r"ValueError: invalid literal for int() with base 10: 'two\nlines'")


def test_setting_up_again_replaces_what_was_there(log: Callable[[], str]) -> None:
    """After a reload a line is written once."""
    for _ in range(3):
        set_up("stderr", "text", "info")
    log_event("once", {})

    assert log().count("once") == 1


def test_a_log_in_a_file_is_appended_to_and_its_descriptor_known(log: Callable[[], str], tmp_path: Path) -> None:
    """A process that closes all others must keep it; on standard error there is none to keep."""
    set_up("stderr", "text", "info")
    assert descriptors() == []
    (tmp_path / "log").write_text("before\n")
    set_up_file(tmp_path / "log", "text", "info")
    log_event("after", {})
    (number,) = descriptors()

    assert Path(f"/proc/self/fd/{number}").readlink() == tmp_path / "log"
    assert re.fullmatch(r"before\n\S+ popframe\[\d+\]: after\n", (tmp_path / "log").read_text())
    assert log() == ""
    set_up("stderr", "text", "info")  # closes the file


def test_a_log_in_a_file_is_written_through_no_link(log: Callable[[], str], tmp_path: Path) -> None:
    """Whoever may write to the folder could else let root append to any file."""
    (tmp_path / "link").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        set_up_file(tmp_path / "link", "text", "info")

    assert not (tmp_path / "other").exists()


def test_without_a_system_log_events_can_go_nowhere(log: Callable[[], str], tmp_path: Path) -> None:
    """Where standard error is a client."""
    set_up_syslog_or_none(syslog_address=str(tmp_path / "none"))
    log_event("lost", {})

    assert log() == ""


@pytest.mark.parametrize(("line_format", "text"), [("text", "login user=alice"), ("json", '"event": "login"')])
@pytest.mark.parametrize(("level", "severity"), [(logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3)])
@pytest.mark.usefixtures("log")
def test_the_journal_is_told_how_serious_a_line_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    level: int,
    severity: int,
    line_format: Literal["text", "json"],
    text: str,
) -> None:
    """And not the time, which it knows; so ``journalctl --priority`` finds what is wrong (sd-daemon(3))."""
    with (tmp_path / "journal").open("w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        set_up("stderr", line_format, "info")
        log_event("login", {"user": "alice"}, level)
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + 1}")
        set_up("stderr", line_format, "info")
        log_event("login", {"user": "alice"}, level)
    first, second = (tmp_path / "journal").read_text().splitlines()

    assert first.startswith(f"<{severity}>")
    assert text in first.replace("level=warning ", "").replace("level=error ", "")
    assert not second.startswith("<")
    assert LINE.fullmatch(second + "\n") or json.loads(second)["event"] == "login"
