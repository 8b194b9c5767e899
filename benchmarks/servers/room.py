"""Where the servers run: namespaces of their own, so that the machine is not changed and nothing is left running.

* mount: an ``/etc`` with one user more, a ``/var/mail`` with mail, both gone with the last process.
* network: nobody else reaches the servers, and popa3d can have its port 110, which is compiled in.
* processes: when the first one ends, however it ends, the kernel kills the others.
"""

from __future__ import annotations

import fcntl
import grp
import itertools
import os
import pwd
import shutil
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

USER = "pfbench"
"""Whose mail it is; nobody is called so."""

PASSWORD = "secret"
PASSWORD_HASH = "$1$popframe$bP54QpeEJF/DsGvFFKRzp."
"""md5crypt, which every server knows: it takes a tenth of a millisecond, so that not the hash is what is measured."""

SERVICE_USERS = ("popa3d",)
"""Users that a package would make which may be unpacked only."""

PAM_SERVICES = ("popa3d", "pop3d", "gnu-pop3d")
"""What popa3d and mailutils ask for."""

INSIDE = "POPFRAME_BENCHMARK_INSIDE"
"""Environment variable that is set inside the namespaces."""

FIRST_UID = 30_000
"""Above those that adduser gives to people on most machines; the first free one is taken."""

_PAM = "auth required pam_unix.so nodelay\naccount required pam_unix.so\n"
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


@dataclass(frozen=True, slots=True)
class Owner:
    """The user whose mail it is."""

    uid: int
    gid: int

    def give(self, path: Path) -> None:
        """Let a file or folder be the user's."""
        os.chown(path, self.uid, self.gid)


def enter() -> None:
    """Begin this program again inside new namespaces; return when it is inside.

    Raises:
        SystemExit: We are not root, or there is no unshare(1).
    """
    if os.environ.get(INSIDE):
        return
    if os.geteuid() != 0:
        sys.exit("benchmarks/servers needs root: it makes namespaces, and the servers become another user")
    unshare = shutil.which("unshare")
    if unshare is None:
        sys.exit("benchmarks/servers needs unshare(1), from the package util-linux")
    namespaces = ["--mount", "--propagation", "private", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [unshare, *namespaces, sys.executable, "-m", "benchmarks.servers", *sys.argv[1:]]
    os.execve(unshare, command, {**os.environ, INSIDE: "1"})


def furnish(folder: Path) -> Owner:
    """Bring the loopback interface up, and lay a copy of ``/etc`` with our users over it.

    The whole folder, because a file that lies over another is gone when somebody on the machine replaces that one, as
    useradd(8) does.

    Args:
        folder: Where the copy is made.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
    taken = {entry.pw_uid for entry in pwd.getpwall()} | {entry.gr_gid for entry in grp.getgrall()}
    free = (number for number in itertools.count(FIRST_UID) if number not in taken)
    numbers = {name: next(free) for name in (USER, *SERVICE_USERS) if not _exists(name)}
    etc = folder / "etc"
    # Not checked: a lock file of useradd(8) may vanish while it copies.
    subprocess.run(["cp", "--archive", "/etc", etc], check=False, stderr=subprocess.DEVNULL)
    for name, number in numbers.items():
        add_line(etc / "passwd", f"{name}:x:{number}:{number}::/nonexistent:/bin/sh")
        add_line(etc / "group", f"{name}:x:{number}:")
    add_line(etc / "shadow", f"{USER}:{PASSWORD_HASH}:20000:0:99999:7:::")
    for name in PAM_SERVICES:
        (etc / "pam.d" / name).write_text(_PAM)
    bind(etc, Path("/etc"))
    return Owner(numbers[USER], numbers[USER])


def add_line(path: Path, line: str) -> None:
    """Add a line to a file that may lack the last line's end."""
    text = path.read_text()
    with path.open("a") as file:
        file.write("" if text.endswith("\n") else "\n")
        file.write(f"{line}\n")


def bind(path: Path, over: Path) -> None:
    """Lay a file or folder over another, for us alone."""
    subprocess.run(["mount", "--bind", path, over], check=True)


def _exists(user: str) -> bool:
    """Return whether there is such a user."""
    return any(entry.pw_name == user for entry in pwd.getpwall())
