"""The file that keeps everybody out for a while, nologin(5)."""

from __future__ import annotations

from pathlib import Path

from popframe.errors import TemporaryFailure
from popframe.model import Account, Peer


class NologinFile:
    """``nologin_file``: while it exists, no account of the machine logs in; a virtual one has no login on it.

    login(1) lets root in all the same; here root never logs in.
    """

    def __init__(self, path: Path) -> None:
        """Take the path; whether something is there is looked at anew for every login."""
        self._path = path

    def objection(self, peer: Peer, account: Account) -> None:
        """Refuse for now.

        Raises:
            TemporaryFailure: The file exists, or whether it does cannot be told. Not the words of a wrong password:
                on those, mail programs drop the password they have stored and ask their users for another, while this
                will pass by itself.
        """
        if account.uid is None:
            return
        try:
            self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise TemporaryFailure(f"whether {self._path} exists cannot be told: {error.strerror}") from error
        raise TemporaryFailure(f"{self._path} exists: no logins at present")
