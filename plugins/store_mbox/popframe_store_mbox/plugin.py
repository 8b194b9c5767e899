"""The plugin: one object for each server, built with its settings."""

from __future__ import annotations

import os
import stat

from popframe import Account, AuthenticationFailed, IncomingMessage, PermanentFailure, hookimpl
from popframe_store_mbox.delivery import deliver
from popframe_store_mbox.dotlock_helper import can_help
from popframe_store_mbox.maildrop import MboxMaildrop
from popframe_store_mbox.place import find_place
from popframe_store_mbox.settings import Settings as MboxSettings


class StoreMbox:
    """Opens spools, and appends to them."""

    Settings = MboxSettings

    def __init__(self, settings: MboxSettings) -> None:
        self._settings = settings

    @property
    def starts_setgid_programs(self) -> bool:
        """Dot-locks are made by a setgid helper: in the spool directory only its group may create files."""
        settings = self._settings
        if "dotlock" not in settings.locks or not settings.spool_dir.is_dir():
            return False
        is_open_to_all = bool(os.stat(settings.spool_dir).st_mode & stat.S_IWOTH)
        return not is_open_to_all and can_help(settings.lock_policy.helper, str(settings.spool_dir / "name"))

    @hookimpl
    def popframe_open_maildrop(self, account: Account) -> MboxMaildrop:
        """Open the account's spool; a user without one has no mail.

        Raises:
            AuthenticationFailed: The user's name cannot be that of a spool.
            MaildropInUse: Another session has it, or another program held its lock too long.
            TemporaryFailure: It cannot be opened now.
            PermanentFailure: It cannot be opened until an operator has mended something.
        """
        place = find_place(account, self._settings.spool_dir, self._settings.state_dir)
        return MboxMaildrop(place, self._settings)

    @hookimpl
    def popframe_deliver_message(self, account: Account, message: IncomingMessage) -> bool:
        """Append a message to the account's spool.

        Raises:
            TemporaryFailure: Not delivered; nothing of it is left.
            PermanentFailure: The same, and trying again will not help.
        """
        try:
            place = find_place(account, self._settings.spool_dir, self._settings.state_dir)
        except AuthenticationFailed as exc:
            raise PermanentFailure(str(exc)) from exc
        deliver(place, self._settings.lock_policy, message)
        return True
