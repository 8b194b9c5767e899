"""The POP3 server of GNU mailutils: a process for each session, and no index."""

from __future__ import annotations

from pathlib import Path

from benchmarks.servers.server import Server, output

_CONFIGURATION = """\
mode daemon;
foreground yes;
mailbox {{ mail-spool "{mail}"; }}
logging {{ syslog no; }}
server 127.0.0.1:{port} {{ }};
"""


class Mailutils(Server):
    """``pop3d`` in daemon mode."""

    name = "mailutils"
    install = "apt-get install mailutils-pop3d"

    @classmethod
    def program(cls) -> Path:
        """Return Debian's."""
        return Path("/usr/sbin/pop3d")

    def configure(self) -> list[str]:
        """Write its configuration."""
        configuration = self.folder / "pop3d.conf"
        configuration.write_text(_CONFIGURATION.format(mail=self.mail, port=self.port))
        return [str(self.program()), f"--config-file={configuration}"]

    def version(self) -> str:
        """Return the version."""
        return output(self.program(), "--version").partition("\n")[0]
