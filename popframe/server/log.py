"""One line per event, for people or for programs.

Rule of this file: whatever a client or a plugin put into a value, the line stays one line and its fields stay apart. No
field holds a password.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import socket
import sys
import time
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import ClassVar, Literal, TextIO

LOGGER_NAME = "popframe"
"""Parent of every logger of the project; plugins log below it."""

MAX_VALUE_CHARACTERS = 400
"""Longest value in a line; what a client sends is cut, so that nobody can fill the log with one command."""

_PLAIN = re.compile(r"[!#-&(-<>-\[\]-~]+")  # no space, quote, backslash or equals sign: a shell would split it right

FIELDS = "popframe_fields"
"""Name of the record's attribute that holds the fields of an event."""

TRACE = "trace"
"""The field for where an error came from: the one that may be longer, and is long when it matters."""

_NOTED = 6
_SEVERITIES = {logging.DEBUG: 7, logging.INFO: _NOTED, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""Levels of logging as severities of syslog(3): numbers, since its module takes half a millisecond of every start."""

_logger = logging.getLogger(LOGGER_NAME)


def log_event(name: str, fields: Mapping[str, object], level: int = logging.INFO) -> None:
    """Write one event.

    Args:
        name: What happened, a stable word with hyphens: administrators look for it.
        fields: What is known of it, in the order in which it is to be read.
        level: A level of the standard library's logging.
    """
    if _logger.isEnabledFor(level):
        # Not through Logger.log: that looks up the caller's file and line each time, which nobody prints.
        _logger.handle(_logger.makeRecord(LOGGER_NAME, level, "", 0, name, (), None, extra={FIELDS: fields}))


def formatted(name: str, fields: Mapping[str, object], line_format: Literal["text", "json"]) -> str:
    """Return the line of an event, for a file that is not the log."""
    record = _logger.makeRecord(LOGGER_NAME, logging.INFO, "", 0, name, (), None, extra={FIELDS: fields})
    return (JsonFormatter() if line_format == "json" else TextFormatter(with_time=True)).format(record)


def is_set_up() -> bool:
    """Tell whether the events have a place already."""
    return bool(_logger.handlers)


def descriptors() -> list[int]:
    """Return the descriptors that the log is written to, besides the standard ones."""
    numbers = []
    for handler in _logger.handlers:
        # What SysLogHandler has, or StreamHandler.
        place = getattr(handler, "socket", None) or getattr(handler, "stream", None)
        if place is not None and place is not sys.stderr:
            numbers.append(place.fileno())
    return numbers


def set_up(
    target: Literal["stderr", "syslog"],
    line_format: Literal["text", "json"],
    level: str,
    syslog_address: str = "/dev/log",
    syslog_facility: str = "mail",
    syslog_priority: str = "info",
) -> None:
    """Send the events of this process and its children to their place; what was set up before is replaced.

    Raises:
        OSError: There is no system log at that address.
    """
    if target == "syslog":
        _send_to(_syslog(syslog_address, syslog_facility, syslog_priority), line_format, level, has_clock=True)
    elif _goes_to_journal(sys.stderr):
        _send_to(_JournalHandler(sys.stderr), line_format, level, has_clock=True)
    else:
        _send_to(logging.StreamHandler(sys.stderr), line_format, level)


def set_up_syslog_or_none(
    line_format: Literal["text", "json"] = "text",
    level: str = "info",
    syslog_address: str = "/dev/log",
    syslog_facility: str = "mail",
    syslog_priority: str = "info",
) -> None:
    """Send the events to the system log; where there is none, nowhere."""
    handler: logging.Handler
    try:
        handler = _syslog(syslog_address, syslog_facility, syslog_priority)
    except OSError:
        handler = logging.NullHandler()
    _send_to(handler, line_format, level, has_clock=True)


def set_up_file(path: Path, line_format: Literal["text", "json"], level: str) -> None:
    """Append the events to a file, which is made for its owner alone if it is not there.

    Raises:
        OSError: It cannot be opened; a symbolic link is not followed, since others may be able to put one there.
    """
    _send_to(_PrivateFileHandler(path), line_format, level)


def _goes_to_journal(stream: TextIO) -> bool:
    """Tell whether a stream leads to systemd's journal, as ``JOURNAL_STREAM`` says (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class _JournalHandler(logging.StreamHandler[TextIO]):
    """Says how serious each line is, as the journal wants to be told (sd-daemon(3)); the time it knows by itself."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_SEVERITIES.get(record.levelno, _NOTED)}>{super().format(record)}"


class _PrivateFileHandler(logging.FileHandler):
    """Appends to a file of its own."""

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        stream = os.open(self.baseFilename, flags, 0o600)
        return os.fdopen(stream, "a", encoding="utf-8", errors="backslashreplace")


def _connectable(address: str) -> None:
    """Make sure that somebody listens at a Unix socket.

    Raises:
        OSError: Nobody does.
    """
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_UNIX, kind) as probe:
            try:
                probe.connect(address)
            except OSError as error:
                if error.errno != errno.EPROTOTYPE or kind == socket.SOCK_STREAM:
                    raise
            else:
                return


def _syslog(address: str, facility: str, priority: str) -> logging.Handler:
    import logging.handlers  # some milliseconds that whoever has no use for it need not wait

    class Handler(logging.handlers.SysLogHandler):
        priority_map: ClassVar[dict[str, str]] = {**logging.handlers.SysLogHandler.priority_map, "INFO": priority}

    _connectable(address)  # the handler itself would say nothing, then and later
    handler = Handler(address, facility=facility)
    handler.append_nul = False  # a NUL at the end of each line is what only very old daemons want
    handler.ident = "popframe: "
    return handler


def _send_to(
    handler: logging.Handler, line_format: Literal["text", "json"], level: str, *, has_clock: bool = False
) -> None:
    """Let one handler be the only one; it may add the time by itself."""
    handler.setFormatter(JsonFormatter() if line_format == "json" else TextFormatter(with_time=not has_clock))
    for old in list(_logger.handlers):
        _logger.removeHandler(old)
        old.close()
    _logger.addHandler(handler)
    _logger.setLevel(level.upper())
    _logger.propagate = False
    logging.logThreads = logging.logMultiprocessing = False  # nobody prints these either
    logging.raiseExceptions = False  # a log that cannot be written must not end a session


class TextFormatter(logging.Formatter):
    """``2026-01-02T03:04:05.678Z popframe[123]: login session=… address=… user=…``."""

    def __init__(self, *, with_time: bool) -> None:
        super().__init__()
        self._with_time = with_time

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        values = _fields(record)
        words = [_head(record, values), *(f"{key}={_quoted(key, value)}" for key, value in values.items())]
        line = " ".join(words)
        if not self._with_time:
            return line
        return f"{_timestamp(record)} popframe[{os.getpid()}]: {line}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``pid``, ``level``, ``event``, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        values = _fields(record)
        line: dict[str, object] = {"time": _timestamp(record), "pid": os.getpid(), "level": record.levelname.lower()}
        line["event"] = _head(record, values)
        for key, value in values.items():
            line[key] = value if isinstance(value, (int, float)) else _cut(key, value)
        return _json(line)


def _head(record: logging.LogRecord, values: dict[str, object]) -> str:
    """Return the event's name; for a line of a library or plugin ``message``, its text being a field then."""
    if hasattr(record, FIELDS):
        return record.getMessage()
    values["logger"] = record.name
    values["text"] = record.getMessage()
    if record.exc_info:
        values[TRACE] = logging.Formatter().formatException(record.exc_info)
    return "message"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    values = dict(getattr(record, FIELDS, {}))
    if record.levelno >= logging.WARNING:
        values = {"level": record.levelname.lower(), **values}
    return values


def _timestamp(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _cut(key: str, value: object) -> str:
    text = str(value)
    return text if len(text) <= MAX_VALUE_CHARACTERS or key == TRACE else text[:MAX_VALUE_CHARACTERS] + "…"


def _quoted(key: str, value: object) -> str:
    text = _cut(key, value)
    return text if _PLAIN.fullmatch(text) else _json(text)


def _json(value: object) -> str:
    """Return a value as JSON in printable ASCII; the one control character that JSON lets stand is escaped as well."""
    return json.dumps(value).replace("\x7f", "\\u007f")
