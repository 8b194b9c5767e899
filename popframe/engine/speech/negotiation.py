"""In which language, and in which characters, a session speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from popframe.engine import wire
from popframe.engine.speech.catalogue import CATALOGUE, matching
from popframe.engine.speech.english import English
from popframe.extension import Reply

ANY_LANGUAGE = "*"
"""The range that stands for the language which the site prefers (RFC 6856 section 3.2)."""


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What a client has asked for.

    Attributes:
        is_utf8: UTF-8 mode is on (RFC 6856 section 2.1).
        language: Tag of the language that it chose with LANG; empty when it chose none.
    """

    is_utf8: bool = False
    language: str = ""


class Speech:
    """What one session says in words, as its client and the site want it.

    Attributes:
        texts: The texts in the language that is spoken.
        status_line: Renders the first line of a reply; in ASCII, until the client has said that it can take more
            (RFC 6856 sections 2 and 3.2).
    """

    __slots__ = ("_negotiated", "_preferred", "status_line", "texts")

    def __init__(self, preferred: str) -> None:
        """Begin in the language that the site prefers.

        Args:
            preferred: Its tag, one of :func:`~popframe.engine.speech.language_tags`.
        """
        self._preferred = CATALOGUE[preferred]
        self.texts: English = self._preferred
        self.status_line: Callable[[Reply], bytes] = wire.status_line
        self.take_over(Negotiated())

    @property
    def negotiated(self) -> Negotiated:
        """What the client has asked for."""
        return self._negotiated

    @property
    def is_utf8(self) -> bool:
        """UTF-8 mode is on."""
        return self._negotiated.is_utf8

    def take_over(self, negotiated: Negotiated) -> None:
        """Speak as a client has asked for, here or in another process."""
        self._negotiated = negotiated
        self.texts = CATALOGUE.get(negotiated.language, self._preferred)
        if negotiated.is_utf8 or negotiated.language:
            self.status_line = wire.utf8_status_line
        elif self.texts.ascii_letters:
            self.status_line = self._status_line_in_ascii
        else:
            self.status_line = wire.status_line

    def use_utf8(self) -> None:
        """Go to UTF-8 mode (RFC 6856 section 2.1)."""
        self.take_over(replace(self._negotiated, is_utf8=True))

    def choose(self, language_range: str) -> bool:
        """Go to the language that a range means; False when it means none, and nothing has changed."""
        texts = self._preferred if language_range == ANY_LANGUAGE else matching(language_range)
        if texts is None:
            return False
        self.take_over(replace(self._negotiated, language=texts.tag))
        return True

    def _status_line_in_ascii(self, reply: Reply) -> bytes:
        return wire.status_line(replace(reply, text=self.texts.in_ascii(reply.text)))
