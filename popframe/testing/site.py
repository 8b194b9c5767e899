"""A site in a folder: users, mail, a configuration, and the server for it. For tests that need the real thing."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from popframe.password import hash_password
from popframe.testing.client import RawClient
from popframe.testing.server import ServerProcess

RUN_AS = "nobody"
"""Whom a server becomes that root starts for a test."""

QUICK_SCHEME = "sha512crypt"
"""The least costly of those for new hashes, some 20 ms: tests make many sites."""


class MailSite:
    r"""A folder with a server's files, removed at the end of the ``with`` block; needs auth_file and store_mbox.

    As root, everything in it belongs to ``nobody``, and the server becomes that user.

    ::

        with MailSite({"alice": "secret"}) as site:
            site.put("alice", [b"Subject: hello\n\nHow are you?\n"])
            server = site.start()
            poplib.POP3(*server.addresses[0])

    Attributes:
        directory: The folder; anybody may look in.
        configuration: The configuration file.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        """Make the folder, with an empty maildrop for every user.

        Args:
            users: Passwords by user name.
        """
        self.directory = Path(tempfile.mkdtemp(prefix="popframe-site-"))
        self.directory.chmod(0o755)
        self.configuration = self.directory / "popframe.toml"
        self._open = contextlib.ExitStack()
        (self.directory / "mail").mkdir()
        hashes = {word: hash_password(word.encode(), QUICK_SCHEME) for word in set(users.values())}
        lines = [f"{name}:{hashes[word]}\n" for name, word in users.items()]
        (self.directory / "users").write_text("".join(lines))
        (self.directory / "users").chmod(0o600)
        self.configure()

    def __enter__(self) -> Self:
        """Return the site."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close and stop what is still open, and remove the folder."""
        try:
            self._open.close()
        finally:
            shutil.rmtree(self.directory)

    def configure(
        self,
        server: str = "",
        more: str = "",
        *,
        plugins: tuple[str, ...] = ("auth_file", "store_mbox"),
        listen: tuple[str, ...] = ("127.0.0.1:0",),
    ) -> None:
        """Write the configuration anew.

        Args:
            server: Lines for the table ``[server]``.
            more: Further tables.
            plugins: What to load.
            listen: Where to listen.
        """
        tables = {
            "auth_file": '[plugin.auth_file]\npath = "users"\n',
            "store_mbox": '[plugin.store_mbox]\nspool_dir = "mail"\n',
        }
        run_as = f'run_as = "{RUN_AS}"\n' if os.geteuid() == 0 else ""
        listed = ", ".join(f'"{name}"' for name in plugins)
        addresses = ", ".join(f'"{address}"' for address in listen)
        settings = "\n".join(tables[name] for name in plugins if name in tables)
        self.configuration.write_text(
            f"plugins = [{listed}]\n\n[server]\nlisten = [{addresses}]\n{run_as}{server}\n\n{settings}\n{more}\n"
        )
        self.hand_over()

    def spool(self, user: str) -> Path:
        """Return a user's mbox file."""
        return self.directory / "mail" / user

    def put(self, user: str, messages: list[bytes]) -> None:
        """Make these messages, which have LF line ends, the only content of a user's maildrop."""
        from_line = b"From sender@example.org Mon Jan  5 09:00:00 2026\n"
        self.spool(user).write_bytes(b"".join(from_line + message + b"\n" for message in messages))
        self.hand_over()

    def hand_over(self) -> None:
        """Give every file to the user that the server runs as."""
        if os.geteuid() != 0:
            return
        owner = pwd.getpwnam(RUN_AS)
        for path in (self.directory, *self.directory.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)

    def server(self) -> ServerProcess:
        """Return a server for this site that is stopped at the end; it is not started yet."""
        server = ServerProcess(self.configuration)
        self._open.callback(server.stop)
        return server

    def start(self) -> ServerProcess:
        """Start a server for this site."""
        server = self.server()
        server.start()
        return server

    def connect(self, server: ServerProcess, user: str = "", *, source: str | None = None) -> RawClient:
        """Return a client that is closed at the end.

        Args:
            server: Its first address is used.
            user: Log in as this user, whose password is ``secret``; empty for a client that has not logged in.
            source: Address to come from, such as 127.0.0.2.

        Raises:
            AssertionError: The login was refused.
        """
        client = self._open.enter_context(RawClient(server.addresses[0], source=source))
        if user:
            reply = client.log_in(user, "secret")
            assert reply.startswith(b"+OK"), reply
        return client
