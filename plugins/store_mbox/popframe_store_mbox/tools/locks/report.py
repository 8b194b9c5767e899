"""What ``popframe locks check`` tells: the spool, its locks, the agents, the warnings."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from popframe_store_mbox.tools.locks.agents import Agent
from popframe_store_mbox.tools.locks.trial import SESSION, Attempt, Outcome, Trial
from popframe_store_mbox.tools.locks.user import User, group_name, user_name
from popframe_store_mbox.tools.text import LineWriter, counted, printable, printable_path


@dataclass(frozen=True, slots=True)
class LockReport:
    """All that is to be told.

    Attributes:
        spool: Path of the spool.
        file_system: Type of its file system; empty when it is not known.
        origin: Where the list of locks comes from.
        user: Who tried them.
        trial: What came of them.
        agents: The mail agents of this machine.
        warnings: What is to be mended.
    """

    spool: str
    file_system: str
    origin: str
    user: User
    trial: Trial
    agents: tuple[Agent, ...]
    warnings: tuple[str, ...]

    def write(self) -> None:
        """Write it to standard output."""
        lines = LineWriter()
        kinds = [attempt.name for attempt in self.trial.attempts if attempt.name != SESSION]
        lines.write(_about_spool(self.spool, self.file_system))
        lines.write(f"locks of {self.origin}: {', then '.join(kinds)}; {_how(self.user)}")
        lines.write()
        for attempt in self.trial.attempts:
            lines.write(_about_lock(attempt), indent=12)
        lines.write()
        for line in _about_agents(self.agents):
            lines.write(line, indent=12)
        for warning in self.warnings:
            lines.write()
            lines.write(f"warning: {printable(os.fsencode(warning))}", indent=9)


def _about_spool(spool: str, file_system: str) -> str:
    """Say what the spool is."""
    shown = printable_path(spool)
    where = f"on {file_system}" if file_system else "on an unknown file system"
    try:
        status = os.lstat(spool)
    except FileNotFoundError:
        return f"{shown}: no such file, so an empty maildrop; {where}"
    except OSError as exc:
        return f"{shown}: {exc.strerror}"
    owner = f"{user_name(status.st_uid)}:{group_name(status.st_gid)}"
    return f"{shown}: {counted(status.st_size, 'octet')}, mode {stat.S_IMODE(status.st_mode):04o} {owner}, {where}"


def _how(user: User) -> str:
    """Say as whom the locks were tried, or that they were not."""
    who = f"{user.name} (uid {user.uid})"
    if os.geteuid() in (0, user.uid):
        return f"tried as {who}"
    return f"not tried: only root can become {who}, so this is what owner, group and mode say"


def _about_lock(attempt: Attempt) -> str:
    """Say what came of one lock."""
    text = {
        Outcome.TAKEN: f"taken in {attempt.seconds * 1000:.1f} ms",
        Outcome.FREE: "free",
        Outcome.HELD: f"held {attempt.text}" + (f" (waited {attempt.seconds:.1f} s)" if attempt.seconds else ""),
        Outcome.LEFT_OUT: f"not tried: {attempt.text}",
    }.get(attempt.outcome, f"{attempt.outcome.value}: {attempt.text}")
    return f"  {attempt.name:<8}  {printable(os.fsencode(text))}"


def _about_agents(agents: tuple[Agent, ...]) -> Iterator[str]:
    """Say which locks the agents of this machine take, and who says so."""
    yield "mail agents on this machine:" if agents else "mail agents on this machine: none whose locks are known"
    for agent in agents:
        remark = f"; {agent.remark}" if agent.remark else ""
        yield f"  {agent.name:<9} {', then '.join(agent.locks)} ({agent.source}{remark})"
