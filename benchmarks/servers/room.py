"""Where the servers run: namespaces of their own, so that the machine is not changed and nothing is left running.

* mount: an ``/etc/passwd`` with one user more, ``/var/mail``, PAM services, all gone with the last process.
* network: nobody else reaches the servers, and popa3d can have its port 110, which is compiled in.
* processes: when the first one ends, however it ends, the kernel kills the others.
"""

from __future__ import annotations

import fcntl
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
PASSWORD = "secret"
PASSWORD_HASH = "$1$popframe$bP54QpeEJF/DsGvFFKRzp."
"""md5crypt, which every server knows: it takes a tenth of a millisecond, so that not the hash is what is measured."""

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
    """Bring the loopback interface up and make the user.

    Args:
        folder: Where the files are that lie over those of the machine.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
    taken = {entry.pw_uid for entry in pwd.getpwall()} | {entry.pw_gid for entry in pwd.getpwall()}
    uid = next(number for number in range(FIRST_UID, FIRST_UID + 10_000) if number not in taken)
    cover("/etc/passwd", folder / "passwd", f"{USER}:x:{uid}:{uid}::/nonexistent:/bin/sh\n", 0o644)
    cover("/etc/group", folder / "group", f"{USER}:x:{uid}:\n", 0o644)
    cover("/etc/shadow", folder / "shadow", f"{USER}:{PASSWORD_HASH}:20000:0:99999:7:::\n", 0o600)
    services = folder / "pam.d"
    shutil.copytree("/etc/pam.d", services)
    for name in ("popa3d", "pop3d", "mailutils", "gnu-mailutils", "other"):
        (services / name).write_text(_PAM)
    bind(services, Path("/etc/pam.d"))
    return Owner(uid, uid)


def cover(path: str, copy: Path, line: str, mode: int) -> None:
    """Lay a copy of a file, with one line more, over the file."""
    text = Path(path).read_text()
    copy.write_text(text if text.endswith("\n") else text + "\n")
    with copy.open("a") as file:
        file.write(line)
    copy.chmod(mode)
    bind(copy, Path(path))


def bind(path: Path, over: Path) -> None:
    """Lay a file or folder over another, for us alone."""
    subprocess.run(["mount", "--bind", path, over], check=True)
