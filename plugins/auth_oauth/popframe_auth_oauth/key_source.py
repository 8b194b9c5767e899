"""Where the keys come from: what the rest of the plugin knows of it."""

from __future__ import annotations

from typing import Protocol

from popframe_auth_oauth.key_set import KeySet


class KeySource(Protocol):
    """Gives the issuer's keys as they are now. Its methods are called from many threads, and from many processes."""

    def current(self) -> KeySet:
        """Return the keys.

        Raises:
            TemporaryFailure: There are none.
        """
        ...

    def newer(self, known: KeySet) -> KeySet | None:
        """Look whether there are other keys, for a token has named one that is not among the known ones.

        Returns:
            The keys as they are now; None when there can be no others, or when that was looked up a short while ago:
            strangers can make up names of keys.

        Raises:
            TemporaryFailure: It cannot be found out.
        """
        ...
