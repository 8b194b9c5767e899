"""popframe, as its README sets it up: auth_file and store_mbox, the rest as it comes.

But for one limit: all clients here come from one address, and more of them within a minute than anybody would have.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.servers.room import PASSWORD_HASH, USER
from benchmarks.servers.server import Server, output

_CONFIGURATION = """\
plugins = ["auth_file", "store_mbox"]

[server]
listen = ["127.0.0.1:{port}"]
run_as = "{user}"

[plugin.auth_file]
path = "users"

[plugin.store_mbox]
spool_dir = "mail"

[abuse]
max_connections_per_minute = 0
"""


class Popframe(Server):
    """``popframe serve``."""

    name = "popframe"
    install = "make .venv/.installed"

    @classmethod
    def program(cls) -> Path:
        """Return the Python that runs this."""
        return Path(sys.executable)

    def configure(self) -> list[str]:
        """Write a user and the configuration."""
        users = self.folder / "users"
        users.write_text(f"{USER}:{PASSWORD_HASH}\n")
        users.chmod(0o600)
        self.owner.give(users)
        configuration = self.folder / "popframe.toml"
        configuration.write_text(_CONFIGURATION.format(port=self.port, user=USER))
        return [sys.executable, "-m", "popframe", "serve", "--config", str(configuration)]

    def version(self) -> str:
        """Return the versions of popframe and of Python."""
        return f"{output(sys.executable, '-m', 'popframe', '--version')}, Python {sys.version.split()[0]}"

    def drop_index(self) -> None:
        """Remove the index."""
        (self.mail / f".{USER}.popframe-index").unlink(missing_ok=True)
