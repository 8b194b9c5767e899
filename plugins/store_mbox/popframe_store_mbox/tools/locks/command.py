"""Try the locks on a spool, and compare them with those of the mail agents of this machine."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

from popframe import ConfigError, PermanentFailure
from popframe_store_mbox.lock import LockPolicy
from popframe_store_mbox.place import Place
from popframe_store_mbox.settings import MAX_LOCK_TIMEOUT_SECONDS
from popframe_store_mbox.tools.configuration import place_of, read_configuration
from popframe_store_mbox.tools.locks.advice import file_system_type, warnings_about_trial
from popframe_store_mbox.tools.locks.agents import (
    SYSTEM_FOLDERS,
    installed_agents,
    warnings_about,
    warnings_between,
)
from popframe_store_mbox.tools.locks.holder import kernel_holder
from popframe_store_mbox.tools.locks.judgement import judge
from popframe_store_mbox.tools.locks.report import LockReport
from popframe_store_mbox.tools.locks.trial import Attempt, Outcome, Trial, try_locks
from popframe_store_mbox.tools.locks.user import User, as_user
from popframe_store_mbox.tools.text import printable_path

EXIT_GOOD = 0
EXIT_WARNINGS = 1
EXIT_USAGE = 2

DEFAULT_TIMEOUT_SECONDS = 1.0
"""Longer than a delivery takes, and short enough for somebody who waits for the answer."""

DESCRIPTION = "Look into the locks on mail spools."

CHECK_DESCRIPTION = """\
Take the locks that the server takes on a spool, in its order, each while those
before it are held, and give them back at once. Tell for each whether it could
be had and how long that took; who holds it, if not; and what has to be done
where it can never be had, as the dot-lock in a directory such as Debian's
/var/mail (mode 2775, root:mail). The session's own lock, which keeps a second
login out, is looked at as well.

Then tell which locks those mail agents take that are installed here (postfix,
exim, procmail, maildrop, dma, dovecot, mailutils), who says so, and whether one
of them and the server could miss each other, so that both write at once, or
could each hold what the other waits for.

Nothing else is changed: no spool is made, no session begins, no old dot-lock is
broken. Mail that is being delivered waits for the moment in which the locks are
held.
"""

CHECK_EPILOG = """\
user:
  The locks are tried as the user NAME; without --user as the configuration's
  server.run_as; else (for root), and with server.isolation = "per-user", as
  the owner of the spool, or as the user of its name when there is none yet.
  Root becomes that user in a child process. Anybody else can try them only as
  himself; for another user, what owner, group and mode say is told, who holds
  what at present, and no lock is taken.

exit status:
  0  all locks could be had, and no agent disagrees
  1  something is to be mended, or a lock is held; each is told as a warning
  2  the command line or the configuration is wrong, or there is no such
     directory

examples:
  popframe locks check /var/mail/alice
  popframe locks check --config /etc/popframe.toml /var/mail/alice
  popframe locks check --user popframe --timeout 0 /srv/mail/alice
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``popframe locks`` and their options."""
    parser.description = DESCRIPTION
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="try the locks on a spool, and compare them with those of the local agents",
        description=CHECK_DESCRIPTION,
        epilog=CHECK_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    check.add_argument("path", metavar="PATH", type=Path, help="the spool")
    check.add_argument("--config", metavar="FILE", type=Path, help="the configuration; default: that of the plugin")
    check.add_argument("--user", metavar="NAME", help="the user that a session is")
    check.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=DEFAULT_TIMEOUT_SECONDS,
        help="longest wait for each lock (default: %(default)g)",
    )
    check.add_argument(
        "--agent-path",
        metavar="FOLDERS",
        default=os.pathsep.join(SYSTEM_FOLDERS),
        help="where to look for mail agents: folders with colons between (default: those of the system)",
    )


def seconds(text: str) -> float:
    """Read a time in seconds."""
    value = float(text)
    if not 0 <= value <= MAX_LOCK_TIMEOUT_SECONDS:
        raise argparse.ArgumentTypeError(f"must be from 0 to {MAX_LOCK_TIMEOUT_SECONDS}")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Try the locks, write what came of it, and return the exit status."""
    configuration = read_configuration(arguments.config)
    try:
        place = place_of(arguments.path, configuration.settings)
        serving_user = configuration.run_as if configuration.isolation == "shared" else None
        user = _user(arguments.user or serving_user, place)
    except (ConfigError, PermanentFailure) as error:
        sys.stderr.write(f"popframe locks: {error}\n")
        return EXIT_USAGE
    policy = replace(configuration.settings.lock_policy, timeout_seconds=arguments.timeout)
    with signals_as_exits():
        trial = _try(place, user, policy)
    agents = tuple(installed_agents(arguments.agent_path))
    file_system = file_system_type(os.path.dirname(place.spool))
    warnings = (
        *warnings_about_trial(trial, place, user, file_system),
        *(warning for agent in agents for warning in warnings_about(policy.kinds, agent)),
        *warnings_between(agents),
    )
    origin = printable_path(arguments.config) if arguments.config else "the plugin's defaults"
    LockReport(place.spool, file_system, origin, user, trial, agents, warnings).write()
    return EXIT_WARNINGS if warnings else EXIT_GOOD


@contextmanager
def signals_as_exits() -> Iterator[None]:
    """Let a signal that would end the process at once give the locks back first, as Ctrl-C does."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _user(name: str | None, place: Place) -> User:
    """Return the user to try the locks as.

    Raises:
        ConfigError: There is no user of that name.
    """
    if name:
        try:
            return User.named(name)
        except KeyError as exc:
            raise ConfigError(f"this machine has no user {name!r}") from exc
    if os.geteuid() == 0:
        try:
            status = os.lstat(place.spool)
        except FileNotFoundError:
            with suppress(KeyError):
                return User.named(os.path.basename(place.spool))
        else:
            return User.numbered(status.st_uid, status.st_gid)
    return User.own()


def _try(place: Place, user: User, policy: LockPolicy) -> Trial:
    """Try the locks as the user, or judge them where that cannot be."""
    if user.uid == os.geteuid():
        return try_locks(place, policy)
    if os.geteuid() != 0:
        return judge(user, place, policy)
    trial = as_user(user, lambda: try_locks(place, policy))
    return replace(trial, attempts=tuple(_with_holder(attempt, place) for attempt in trial.attempts))


def _with_holder(attempt: Attempt, place: Place) -> Attempt:
    """Name the holder of a kernel's lock where the user could not see who it is, but root can."""
    if attempt.outcome is Outcome.HELD and attempt.name in ("fcntl", "flock"):
        with suppress(OSError):
            return replace(attempt, text=kernel_holder(attempt.name, os.lstat(place.spool)) or attempt.text)
    return attempt
