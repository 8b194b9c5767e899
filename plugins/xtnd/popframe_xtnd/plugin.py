"""The plugin: one object for each server, built with its settings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from popframe import (
    IN_BOTH,
    IN_TRANSACTION,
    Command,
    CommandContext,
    CommandSyntaxError,
    ConfigError,
    Reply,
    hookimpl,
)
from popframe_xtnd.bboards import BulletinBoards
from popframe_xtnd.groups import Folder
from popframe_xtnd.listing import xlst
from popframe_xtnd.settings import Settings as XtndSettings
from popframe_xtnd.submission import Submission

MAX_ARGUMENTS = 100
"""RPOP is refused whatever stands behind it."""


class Obsolete(CommandSyntaxError):
    """RPOP trusted the number of the client's port (RFC 1081); RFC 1460 removed it."""

    wire_text = "RPOP is obsolete, log in with a password"


class Xtnd:
    """Offers LAST, XTND XLST, XTND XMIT and the groups of RFC 1082, and refuses RPOP."""

    Settings = XtndSettings

    def __init__(self, settings: XtndSettings) -> None:
        """Look for the mailer, if one is needed.

        Raises:
            ConfigError: It is not there, or messages cannot be kept; or there is no folder of groups.
        """
        self._settings = settings
        if settings.groups_dir is not None and not settings.groups_dir.is_dir():
            raise ConfigError(f"groups_dir: {settings.groups_dir} is not a directory")
        if not settings.xmit:
            return
        if not (os.path.isfile(settings.sendmail[0]) and os.access(settings.sendmail[0], os.X_OK)):
            raise ConfigError(f"sendmail: {settings.sendmail[0]} is not a program that can be started")
        if not (settings.spool_dir.is_dir() and os.access(settings.spool_dir, os.W_OK | os.X_OK)):
            raise ConfigError(f"spool_dir: {settings.spool_dir} is not a directory in which files can be created")

    @property
    def starts_setgid_programs(self) -> bool:
        """Most mailers get the right to write into their queue by such a bit, some in a program that they start."""
        return self._settings.xmit

    @hookimpl
    def popframe_register_commands(self) -> Iterable[Command[CommandContext]]:
        """Offer what the settings say."""
        settings = self._settings
        yield Command("RPOP", rpop, IN_BOTH, arity=range(MAX_ARGUMENTS))
        if settings.last:
            yield Command("LAST", last, IN_TRANSACTION)
        if settings.xlst:
            yield Command("XTND XLST", xlst, IN_TRANSACTION, arity=range(1, 3))
        if settings.groups_dir is not None:
            boards = BulletinBoards(Folder(settings.groups_dir))
            yield Command("XTND BBOARDS", boards.bboards, IN_TRANSACTION, arity=range(2))
            yield Command("XTND ARCHIVE", boards.archive, IN_TRANSACTION, arity=range(1, 2))
            yield Command("XTND X-BBOARDS", boards.x_bboards, IN_TRANSACTION, arity=range(1, 2))
        if settings.xmit:
            yield Command("XTND XMIT", Submission(settings).xmit, IN_TRANSACTION)


def last(context: CommandContext, _arguments: Sequence[str]) -> Reply:
    """``LAST``: tell the highest message-number that was used with RETR or DELE (RFC 1460 section 5)."""
    return Reply(f"{context.last_accessed} is the last message seen")


def rpop(_context: CommandContext, _arguments: Sequence[str]) -> Reply:
    """``RPOP``: refuse.

    Raises:
        Obsolete: Always.
    """
    raise Obsolete("RPOP")
