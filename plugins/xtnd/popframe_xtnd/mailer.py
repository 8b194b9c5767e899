"""The program that sends a message: started without a shell, watched, and ended if it does not end."""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the program finds others; nothing of the server's own environment is passed on."""

MAX_OUTPUT_OCTETS = 2_000
"""How much of what the program says is kept for the log; the rest is read and thrown away."""

POLL_SECONDS = 0.1
"""How soon an end is noticed when another process still holds the program's output."""

GRACE_SECONDS = 2.0
"""From SIGTERM to SIGKILL, and from that to giving up on a process that even so does not end."""

END_POLL_SECONDS = 0.02

PRIVATE_UMASK = 0o077


@dataclass(frozen=True, slots=True)
class Ending:
    """How the program ended.

    Attributes:
        status: Exit status; negative for the number of a signal.
        output: The beginning of what it said, for the log.
        timed_out: It did not end by itself.
    """

    status: int
    output: bytes
    timed_out: bool = False


def environment(home: str) -> Mapping[str, str]:
    """Return the whole environment of the program."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = str(os.geteuid())
    return {"PATH": PATH, "HOME": home or "/", "USER": name, "LOGNAME": name, "SHELL": "/bin/sh", "LANG": "C"}


def run_mailer(command: Sequence[str], message: int, home: str, timeout_seconds: float) -> Ending:
    """Run the program and wait for its end.

    Args:
        command: Its path and arguments.
        message: Descriptor of what it finds on its standard input; its only one but for output and errors.
        home: The user's home directory; may be empty.
        timeout_seconds: How long it may take.

    Raises:
        OSError: It cannot be started.
    """
    deadline = time.monotonic() + timeout_seconds
    reading, writing = os.pipe()
    try:
        try:
            process = subprocess.Popen(  # noqa: S603 - the configuration says what, and the client has no part in it
                command,
                stdin=message,
                stdout=writing,
                stderr=writing,
                env=environment(home),
                cwd="/",
                umask=PRIVATE_UMASK,
                start_new_session=True,
            )
        finally:
            os.close(writing)
        output = _listen(process, reading, deadline)
    finally:
        os.close(reading)
    with contextlib.suppress(subprocess.TimeoutExpired):
        return Ending(process.wait(max(0.0, deadline - time.monotonic())), output)
    _end(process)
    return Ending(process.poll() or -signal.SIGKILL, output, timed_out=True)


def _listen(process: subprocess.Popen[bytes], reading: int, deadline: float) -> bytes:
    """Read what the program says until it, or the time, is over."""
    kept = b""
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        is_over = process.poll() is not None  # before the look: what was said before the end is there by now
        if poll.poll(0 if is_over else min(left, POLL_SECONDS) * 1000):
            octets = os.read(reading, 65_536)
            if not octets:
                break
            kept = (kept + octets)[:MAX_OUTPUT_OCTETS]
        elif is_over:
            break
    return kept


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and all that it has started in its session.

    Its status is taken last: until then nobody else can have its number.
    """
    _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while not _has_ended(process) and time.monotonic() < deadline:
        time.sleep(END_POLL_SECONDS)
    _signal(process, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(OSError):  # it has become somebody else
        os.killpg(process.pid, number)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
