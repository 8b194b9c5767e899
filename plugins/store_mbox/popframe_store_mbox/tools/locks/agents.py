"""The mail agents of a machine: which locks they take on a spool, in which order, and who says so.

Rule of this file: every fact has its source. What an agent can be asked is asked; the rest was seen by strace(1) on
Debian 12, or stands in its manual.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from popframe_store_mbox.lock import LockKind

QUESTION_SECONDS = 5
"""How long an agent may take to tell its settings; they read a small file."""

SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")
"""Where agents are installed, whatever the user's PATH says."""

Locks = tuple[LockKind, ...]


@dataclass(frozen=True, slots=True)
class Agent:
    """What is known of an agent.

    Attributes:
        name: What people call it.
        program: A program that is there when it is installed: its name; of one that was found, its path.
        locks: What it takes, first one first; without an answer of its own, what it takes unless told otherwise.
        source: Who says so.
        question: Arguments with which the program tells its locks; empty when it cannot be asked.
        understand: Reads the answer; None when it makes no sense.
        order_setting: The agent's own setting that decides about their order; empty for none.
        may_skip_dotlock: It goes on without the dot-lock where it may not create it.
        remark: What else is good to know.
    """

    name: str
    program: str
    locks: Locks
    source: str
    question: tuple[str, ...] = ()
    understand: Callable[[str], Locks | None] = lambda answer: None
    order_setting: str = ""
    may_skip_dotlock: bool = False
    remark: str = ""


def _postfix_locks(answer: str) -> Locks | None:
    """Read ``mailbox_delivery_lock``: a set, whose order counts for nothing (postfix, mbox_open.c)."""
    names = set(re.findall(r"[a-z]+", answer))
    known: Locks = ("dotlock", "flock", "fcntl")
    return tuple(kind for kind in known if kind in names) or None


def _dovecot_locks(answer: str) -> Locks | None:
    """Read ``mbox_write_locks``: names in the order in which they are taken."""
    kinds: dict[str, LockKind] = {
        "dotlock": "dotlock",
        "dotlock_try": "dotlock",
        "fcntl": "fcntl",
        "lockf": "fcntl",
        "flock": "flock",
    }
    return tuple(dict.fromkeys(kinds[name] for name in answer.split() if name in kinds)) or None


def _procmail_locks(answer: str) -> Locks | None:
    """Read the line ``Locking strategies:`` of ``procmail -v``."""
    kinds: dict[str, LockKind] = {"dotlocking": "dotlock", "fcntl": "fcntl", "lockf": "fcntl", "flock": "flock"}
    found = re.search(r"^Locking strategies:(.*)$", answer, re.MULTILINE)
    names = re.findall(r"[a-z]+", found[1]) if found else []
    return tuple(dict.fromkeys(kinds[name] for name in names if name in kinds)) or None


AGENTS = (
    Agent(
        name="postfix",
        program="postconf",
        locks=("dotlock", "fcntl"),
        source="postconf(5), mailbox_delivery_lock; order seen by strace of local(8) 3.7",
        question=("-h", "mailbox_delivery_lock"),
        understand=_postfix_locks,
        remark="unless mailbox_command, mailbox_transport or home_mailbox lead elsewhere",
    ),
    Agent(
        name="exim",
        program="exim4",
        locks=("dotlock", "fcntl"),
        source="Exim specification, section 26.3; strace of exim 4.96",
        remark="unless the transport has another use_lockfile, use_fcntl_lock or use_flock_lock",
    ),
    Agent(
        name="procmail",
        program="procmail",
        locks=("dotlock", "fcntl"),
        source="procmail -v; strace of procmail 3.22",
        question=("-v",),
        understand=_procmail_locks,
    ),
    Agent(
        name="maildrop",
        program="maildrop",
        locks=("dotlock", "fcntl"),
        source="strace of maildrop 2.9.3",
    ),
    Agent(
        name="dma",
        program="dma",
        locks=("flock",),
        source="strace of dma 0.13",
    ),
    Agent(
        name="dovecot",
        program="doveconf",
        locks=("dotlock", "fcntl"),
        source="doveconf -h mbox_write_locks; strace of dovecot-lda 2.3: in that order",
        question=("-h", "mbox_write_locks"),
        understand=_dovecot_locks,
        order_setting="mbox_write_locks",
        may_skip_dotlock=True,
        remark="where it has mail in mbox files",
    ),
    Agent(
        name="mailutils",
        program="putmail",
        locks=("dotlock",),
        source="strace of mda and putmail 3.15",
        remark="replaces the spool by a new file, which the server notices",
    ),
)
"""Those of which the locks are known; libraries and mail readers are not among them."""


def installed_agents(path: str) -> list[Agent]:
    """Return the agents that are installed, each with the path of its program and the locks that it takes.

    Args:
        path: Where to look: folders with colons between, as in the environment's ``PATH``.
    """
    found = ((agent, shutil.which(agent.program, path=path)) for agent in AGENTS)
    return [_asked(replace(agent, program=program)) for agent, program in found if program]


def _asked(agent: Agent) -> Agent:
    """Return the agent with what it says itself."""
    if not agent.question:
        return agent
    locks = agent.understand(_answer(agent))
    if locks is None:
        what = " ".join([os.path.basename(agent.program), *agent.question])
        return replace(agent, source=f"its default: '{what}' gave no answer")
    return replace(agent, locks=locks)


def _answer(agent: Agent) -> str:
    """Return what an agent says about itself; nothing when it fails."""
    try:
        done = subprocess.run(  # noqa: S603  # a program of the system's own folders, with arguments from the table above
            [agent.program, *agent.question],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=QUESTION_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return (done.stdout or done.stderr).decode(errors="replace")  # procmail answers on standard error


def common_locks(ours: Locks, theirs: Locks) -> Locks:
    """Return the locks that both take, in our order."""
    return tuple(kind for kind in ours if kind in theirs)


def crossed_locks(ours: Locks, theirs: Locks) -> tuple[LockKind, LockKind] | None:
    """Return two locks that both take in opposite orders, so that each may hold what the other waits for.

    A third lock that both take before these two makes it harmless: only one of them gets that far.

    Returns:
        The one that we take first, and the one that they take first; None when there are no such two.
    """
    common = common_locks(ours, theirs)
    for place, first in enumerate(common):
        for second in common[place + 1 :]:
            gates = common[:place]
            if theirs.index(second) < theirs.index(first) and not any(
                theirs.index(gate) < theirs.index(second) for gate in gates
            ):
                return first, second
    return None


def warnings_about(ours: Locks, agent: Agent) -> list[str]:
    """Say what may go wrong between the server and an agent.

    Args:
        ours: What the server takes, first one first.
        agent: As :func:`installed_agents` returned it.
    """
    common = common_locks(ours, agent.locks)
    theirs = " and ".join(agent.locks)
    warnings = []
    if not common:
        warnings.append(
            f"{agent.name} takes {theirs} alone, which the server does not take: both may write at once, and mail gets "
            f"lost or mixed. Add {_quoted(agent.locks)} to the setting locks."
        )
    elif agent.may_skip_dotlock and common == ("dotlock",):
        warnings.append(
            f"{agent.name} goes on without the dot-lock where it may not create it, and has no other lock in common "
            "with the server: both may write at once. "
            + (f"Add {_quoted(agent.locks[1:])} to the setting locks." if len(agent.locks) > 1 else "Set another one.")
        )
    if crossed := crossed_locks(ours, agent.locks):
        first, second = crossed
        remedy = "Change"
        if agent.order_setting:
            remedy = f"Set {agent.order_setting} = {' '.join(common)} in {agent.name}, or change"
        warnings.append(
            f"{agent.name} takes {second} before {first}, the server {first} before {second}: each may hold what the "
            f"other waits for, until one gives up. {remedy} the order of the setting locks."
        )
    return warnings


def warnings_between(agents: Sequence[Agent]) -> list[str]:
    """Say which agents may damage a spool among themselves, whatever the server does."""
    groups: dict[Locks, list[str]] = {}
    for agent in agents:
        groups.setdefault(tuple(sorted(agent.locks)), []).append(agent.name)
    alike = [(locks, f"{', '.join(names)} ({' and '.join(locks)})") for locks, names in groups.items()]
    return [
        f"{one} on one side and {other} on the other have no lock in common: when both deliver at once, mail gets "
        "mixed. The server cannot prevent that."
        for place, (ours, one) in enumerate(alike)
        for theirs, other in alike[place + 1 :]
        if not common_locks(ours, theirs)
    ]


def _quoted(kinds: Locks) -> str:
    return " or ".join(f'"{kind}"' for kind in kinds)
