"""Whether the time of a refusal tells its reason: all states of an account in mixed order, against a wrong password.

Usage: python benchmarks/login_times.py [--tries 200] [--clients 4] [--only auth_pam]     (as root)

Makes users of the machine and removes them again. Each try is a connection of its own; what is measured is the time
from PASS to its reply, which must be the same words for all. Two samples are compared by the test of Mann and Whitney:
p is how often samples as different as these come from the same distribution. With as many comparisons as are made here,
a p below what is said at the end would be news. It needs a machine that has little else to do: a login that has to wait
for longer than the refusal takes anyway tells what it waited for.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from popframe.password import hash_password
from popframe.testing import RawClient, ServerProcess, SystemUsers

RIGHT = "correct-horse"
WORDS = b"-ERR [AUTH] user name or password not accepted\r\n"
REFERENCE = "wrong password"
SIGNIFICANT = 0.05
WARM_UP_TRIES = 3

PROGRAMS: dict[str, list[list[str]]] = {
    "locked": [["passwd", "--lock", "--quiet"]],
    "without a password": [["passwd", "--delete", "--quiet"]],
    "expired": [["chage", "--expiredate", "2020-01-01"]],
    "expired, wrong password": [["chage", "--expiredate", "2020-01-01"]],
    "must change the password": [["chage", "--lastday", "0"]],
    "password too old": [["chage", "--lastday", "2020-01-01", "--maxdays", "30"]],
    "closed by its age": [["chage", "--lastday", "2020-01-01", "--maxdays", "30", "--inactive", "1"]],
    "shell not listed": [["usermod", "--shell", "/usr/sbin/nologin"]],
    "in deny_users": [],
    REFERENCE: [],
}
"""What is done to an account of the machine to bring it into a state."""

FIELDS: dict[str, str] = {
    "locked": "!{hash}:uid={uid} gid={uid}",
    "without a password": ":uid={uid} gid={uid}",
    "user id too small": "{hash}:uid=500 gid=500",
    "shell not listed": "{hash}:uid={uid} gid={uid} shell=/usr/sbin/nologin",
    "in deny_users": "{hash}:uid={uid} gid={uid}",
    REFERENCE: "{hash}:uid={uid} gid={uid}",
}
"""The same for auth_file: what stands behind the name."""


@dataclass(frozen=True)
class Attempt:
    """One way to be refused."""

    state: str
    username: str
    password: str


def main() -> None:
    """Measure, and write a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tries", type=int, default=200)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--only", choices=("auth_shadow", "auth_pam", "auth_file"))
    arguments = parser.parse_args()
    if not SystemUsers.is_possible():
        sys.exit("needs root, to make users")
    comparisons: list[float] = []
    for plugin in ("auth_shadow", "auth_pam", "auth_file") if arguments.only is None else (arguments.only,):
        for isolation in ("shared", "per-user"):
            with site(plugin, isolation) as (server, attempts):
                times = measured(server.addresses[0], attempts, arguments.tries, arguments.clients)
            print(f"{plugin}, {isolation}: median of {arguments.tries}, milliseconds", flush=True)
            for state, seconds in sorted(times.items(), key=lambda item: item[0] != REFERENCE):
                p = probability(seconds, times[REFERENCE])
                comparisons += [] if state == REFERENCE else [p]
                told = "" if state == REFERENCE else f"p = {p:.3f}"
                print(f"  {state:28} {median(seconds) * 1000:8.2f}  {told}", flush=True)
    limit = SIGNIFICANT / len(comparisons)
    print(f"{len(comparisons)} comparisons, smallest p {min(comparisons):.4f}; below {limit:.5f} it would be news")


def measured(address: tuple[str, int], attempts: list[Attempt], tries: int, clients: int) -> dict[str, list[float]]:
    """Make every attempt so many times, all of them mixed, several at once; return the seconds by state."""
    for attempt in attempts * WARM_UP_TRIES:
        seconds_of(address, attempt)
    times: dict[str, list[float]] = {attempt.state: [] for attempt in attempts}
    mixed = attempts * tries
    random.shuffle(mixed)
    with ThreadPoolExecutor(clients) as pool:
        for attempt, seconds in zip(mixed, pool.map(lambda one: seconds_of(address, one), mixed), strict=True):
            times[attempt.state].append(seconds)
    return times


def seconds_of(address: tuple[str, int], attempt: Attempt) -> float:
    """Be refused once."""
    with RawClient(address) as client:
        client.ask(f"USER {attempt.username}")
        started = time.monotonic()
        reply = client.ask(f"PASS {attempt.password}")
        seconds = time.monotonic() - started
    if reply != WORDS:
        sys.exit(f"{attempt.state}: the server says {reply!r}")
    return seconds


def probability(one: list[float], other: list[float]) -> float:
    """Return p of the test of Mann and Whitney, two-sided, by its normal approximation; for 20 values and more."""
    ranked = sorted([(value, True) for value in one] + [(value, False) for value in other])
    ranks = sum(rank for rank, (_, is_of_one) in enumerate(ranked, 1) if is_of_one)
    pairs = len(one) * len(other)
    surplus = ranks - len(one) * (len(one) + 1) / 2 - pairs / 2
    return math.erfc(abs(surplus) / math.sqrt(pairs * (len(one) + len(other) + 1) / 12) / math.sqrt(2))


@contextlib.contextmanager
def site(plugin: str, isolation: str) -> Iterator[tuple[ServerProcess, list[Attempt]]]:
    """Run a server; give it, and the ways to be refused by it."""
    folder = Path(tempfile.mkdtemp(prefix="popframe-benchmark-"))
    folder.chmod(0o755)
    (folder / "mail").mkdir()
    with contextlib.ExitStack() as cleaning:
        cleaning.callback(shutil.rmtree, folder)
        users = cleaning.enter_context(SystemUsers())
        attempts = virtual_attempts(folder) if plugin == "auth_file" else system_attempts(users)
        attempts.append(Attempt("unknown user", users.new_name(), RIGHT))
        denied = next(attempt.username for attempt in attempts if attempt.state == "in deny_users")
        run_as = users.add("--groups", "shadow")  # auth_shadow has to read it after the start, with isolation "shared"
        settings = {"auth_file": 'path = "users"', "auth_shadow": "", "auth_pam": ""}[plugin]
        if plugin == "auth_pam":
            settings = f'service = "{cleaning.enter_context(pam_service())}"'
        (folder / "popframe.toml").write_text(
            f'plugins = ["{plugin}", "store_mbox"]\n'
            f'[server]\nlisten = ["127.0.0.1:0"]\nrun_as = "{run_as}"\nisolation = "{isolation}"\n'
            f'[login]\ndeny_users = ["{denied}"]\n[abuse]\nmax_wrong_passwords = 0\n'
            f'[plugin.{plugin}]\n{settings}\n[plugin.store_mbox]\nspool_dir = "mail"\n'
        )
        yield cleaning.enter_context(ServerProcess(folder / "popframe.toml")), attempts


def system_attempts(users: SystemUsers) -> list[Attempt]:
    """Make an account of the machine for every state."""
    attempts = []
    for state, programs in {**PROGRAMS, "user id too small": []}.items():
        name = users.add("--shell", "/bin/sh", *(["--system"] if state == "user id too small" else []))
        users.run("chpasswd", stdin=f"{name}:{RIGHT}\n")
        for program, *options in programs:
            users.run(program, *options, name)
        attempts.append(Attempt(state, name, "wrong" if "wrong password" in state else RIGHT))
    return attempts


def virtual_attempts(folder: Path) -> list[Attempt]:
    """Write a password file with an account for every state."""
    stored = hash_password(RIGHT.encode(), "sha512crypt")
    attempts, lines = [], []
    for number, (state, fields) in enumerate(FIELDS.items()):
        attempts.append(Attempt(state, f"user{number}", "wrong" if state == REFERENCE else RIGHT))
        lines.append(f"user{number}:{fields.format(hash=stored, uid=54_000 + number)}\n")
    (folder / "users").write_text("".join(lines))
    (folder / "users").chmod(0o644)
    return attempts


@contextlib.contextmanager
def pam_service() -> Iterator[str]:
    """Write a PAM service in which pam_unix asks for its delay after a wrong password; give its name."""
    path = Path("/etc/pam.d", f"popframe-benchmark-{secrets.token_hex(6)}")
    path.write_text("auth required pam_unix.so nullok\naccount required pam_unix.so\n")
    try:
        yield path.name
    finally:
        path.unlink()


if __name__ == "__main__":
    main()
