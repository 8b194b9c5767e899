"""popa3d, stand-alone: a process for each session, and no index.

Port, spool directory and the folder that it locks itself into are compiled in; namespaces let it have them. Debian's
asks PAM for every password. It takes 500 connections in ten seconds, and closes those above.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from benchmarks.servers import room
from benchmarks.servers.server import Server, output

PROGRAM = "POPA3D"
"""Environment variable that names the program, since its package cannot be installed beside the others."""

PORT = 110
JAIL = Path("/var/lib/popa3d")
SPOOLS = Path("/var/mail")


class Popa3d(Server):
    """``popa3d -D``."""

    name = "popa3d"
    install = (
        "apt-get download popa3d && dpkg-deb -x popa3d_*.deb FOLDER, then set POPA3D=FOLDER/usr/sbin/popa3d "
        "(its package conflicts with the others)"
    )
    stop_signal = signal.SIGKILL
    """unshare(1) ignores SIGTERM while it waits."""

    @classmethod
    def program(cls) -> Path:
        """Return the program that the environment names, or Debian's."""
        return Path(os.environ.get(PROGRAM, "/usr/sbin/popa3d"))

    def choose_port(self) -> int:
        """Return the only one that it knows."""
        return PORT

    def configure(self) -> list[str]:
        """Lay folders over those that are compiled in; let it run below a process that stays."""
        room.bind(self.mail, SPOOLS)
        if not JAIL.exists():
            state = self.folder / "lib"
            (state / JAIL.name).mkdir(parents=True)
            room.bind(state, JAIL.parent)
        stay = ["sh", "-c", '"$0" -D && exec sleep infinity', str(self.program())]
        return ["unshare", "--pid", "--fork", "--kill-child", *stay]

    def version(self) -> str:
        """Return the version."""
        return output(self.program(), "-V")
