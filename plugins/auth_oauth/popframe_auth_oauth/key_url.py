"""An issuer's keys as it publishes them, fetched when they are needed and kept for all processes of the server.

Rule of this file: one process fetches at a time, and not again before ``refetch_seconds`` have passed, whatever tokens
strangers send. Keys that were good stay in use while no newer ones can be had.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from popframe import ConfigError, TemporaryFailure
from popframe_auth_oauth.download import DownloadError, download
from popframe_auth_oauth.key_set import MAX_DOCUMENT_OCTETS, KeySet, parse_key_set
from popframe_auth_oauth.shared_document import Document, SharedDocument

logger = logging.getLogger("popframe.auth_oauth")

Fetch = Callable[[], bytes]
"""Returns the document, or raises a :class:`DownloadError`."""


def fetcher(url: str, timeout_seconds: float, authorities: Path | None) -> Fetch:
    """Return what fetches the keys.

    Args:
        url: Where they are.
        timeout_seconds: See :func:`download`.
        authorities: Certificates of whoever vouches for that server; None for those that the system trusts.

    Raises:
        ConfigError: These certificates cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=authorities)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"{authorities} has no certificates that can be read: {error.strerror or error}") from error
    return lambda: download(url, timeout_seconds, MAX_DOCUMENT_OCTETS, context)


class KeyUrl:
    """The keys of an address."""

    def __init__(self, fetch: Fetch, cache_seconds: float, refetch_seconds: float) -> None:
        """Fetch nothing yet: a server starts while others are down."""
        self._fetch = fetch
        self._cache_seconds = cache_seconds
        self._refetch_seconds = refetch_seconds
        self._shared = SharedDocument(MAX_DOCUMENT_OCTETS)
        self._parsed = b"", KeySet(())

    def current(self) -> KeySet:
        """Return the keys, fetched now if there are none, or if those that there are have grown old.

        Raises:
            TemporaryFailure: There are none, and they cannot be fetched.
        """
        document = self._shared.read()
        now = time.monotonic()
        if document.content and now - document.fetched_at < self._cache_seconds:
            return self._keys_of(document)
        has_none = not document.content
        if has_none or self._may_try(document):
            with self._shared.lock(wait=has_none) as is_ours:
                if is_ours:
                    document = self._refreshed(lambda latest: now < latest.fetched_at + self._cache_seconds)
        if not document.content:
            raise TemporaryFailure("the issuer's keys cannot be fetched, and there are no older ones")
        return self._keys_of(document)

    def newer(self, known: KeySet) -> KeySet | None:
        """Return the keys as they are now, unless they were looked for a short while ago.

        Raises:
            TemporaryFailure: They cannot be fetched.
        """
        with self._shared.lock():
            document = self._refreshed(lambda latest: self._keys_of(latest) is not known)
        keys = self._keys_of(document)
        if keys is not known:
            return keys
        if document.tried_at > document.fetched_at:
            raise TemporaryFailure("a token names an unknown key, and the issuer's keys cannot be fetched")
        return None

    def _refreshed(self, is_new_enough: Callable[[Document], bool]) -> Document:
        """Return what another process has fetched meanwhile, or what is fetched now; the lock is held."""
        document = self._shared.read()
        if is_new_enough(document) or not self._may_try(document):
            return document
        # Should this process be killed meanwhile, the next one does not try at once.
        self._shared.write(Document(document.content, document.fetched_at, time.monotonic()))
        content = self._fetched(has_older=bool(document.content))
        now = time.monotonic()
        document = (
            Document(document.content, document.fetched_at, now) if content is None else Document(content, now, now)
        )
        self._shared.write(document)
        return document

    def _fetched(self, *, has_older: bool) -> bytes | None:
        """Return what the issuer publishes now; None, and a line in the log, when that cannot be had or used."""
        try:
            content = self._fetch()
            keys = parse_key_set(content)
        except (DownloadError, ValueError) as error:
            reason = str(error)
        else:
            for ignored in keys.ignored:
                logger.warning("the issuer's keys: %s; it is ignored", ignored)
            return content
        rest = "those from before stay in use" if has_older else "nobody can log in with a token"
        logger.error("the issuer's keys cannot be fetched, %s: %s", rest, reason)
        return None

    def _may_try(self, document: Document) -> bool:
        return time.monotonic() - document.tried_at >= self._refetch_seconds

    def _keys_of(self, document: Document) -> KeySet:
        """Return the keys of a document; the same object as long as the document is the same."""
        content, keys = self._parsed
        if content != document.content and document.content:
            keys = parse_key_set(document.content)
            self._parsed = document.content, keys
        return keys
