"""Dovecot 2.3, once as fast as its settings make it, and once as it comes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

from benchmarks.servers.room import PASSWORD_HASH, USER
from benchmarks.servers.server import Server, output

_CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
protocols = pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = mbox:{folder}/home:INBOX={folder}/mail/%u:INDEX={folder}/index
passdb {{
  driver = passwd-file
  args = {folder}/passwd
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
"""

_TUNED = """\
auth_cache_size = 10 M
pop3_no_flag_updates = yes
service pop3-login {
  service_count = 0
}
service pop3 {
  service_count = 0
}
service auth {
  client_limit = 2000
}
"""


class DovecotDefault(Server):
    """Dovecot with a login process and a mail process for each session, its default."""

    name = "dovecot-default"
    install = "apt-get install dovecot-pop3d"
    more: ClassVar[str] = ""

    @classmethod
    def program(cls) -> Path:
        """Return the part that speaks POP3; the package dovecot-core alone has none."""
        return Path("/usr/lib/dovecot/pop3")

    def configure(self) -> list[str]:
        """Write a user and the configuration."""
        for name in ("run", "home", "index"):
            (self.folder / name).mkdir()
        for name in ("home", "index"):
            self.owner.give(self.folder / name)
        users = self.folder / "passwd"
        users.write_text(f"{USER}:{{CRYPT}}{PASSWORD_HASH}::::::\n")
        users.chmod(0o644)
        configuration = self.folder / "dovecot.conf"
        text = _CONFIGURATION.format(folder=self.folder, port=self.port, uid=self.owner.uid, gid=self.owner.gid)
        configuration.write_text(text + self.more)
        return ["/usr/sbin/dovecot", "-F", "-c", str(configuration)]

    def version(self) -> str:
        """Return the version."""
        return f"Dovecot {output('/usr/sbin/dovecot', '--version').split()[0]}"

    def drop_index(self) -> None:
        """Empty the folder with the index."""
        for path in (self.folder / "index").glob("*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


class Dovecot(DovecotDefault):
    """Dovecot with processes that are used again, an auth cache, and no flags written.

    Each mail process has one client at a time: with mbox files it refuses more.
    """

    name = "dovecot"
    more = _TUNED
