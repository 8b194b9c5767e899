"""Which languages there are, and which of them a client means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from popframe.engine.speech.english import English
from popframe.engine.speech.german import German

CATALOGUE: Mapping[str, English] = MappingProxyType({texts.tag: texts for texts in (English(), German())})
"""The texts of each language by its tag."""

_LANGUAGE_RANGE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")
"""A basic language range but ``*`` (RFC 4647 section 2.1)."""


def language_tags() -> tuple[str, ...]:
    """Return the tags of all languages."""
    return tuple(CATALOGUE)


def matching(language_range: str, catalogue: Mapping[str, English] = CATALOGUE) -> English | None:
    """Return the first language that a basic language range matches, by basic filtering (RFC 4647 section 3.3.1).

    Args:
        language_range: What the client sent, not ``*``.
        catalogue: The languages to choose from.
    """
    if not _LANGUAGE_RANGE.fullmatch(language_range):
        return None
    wanted = language_range.lower()
    for tag, texts in catalogue.items():
        offered = tag.lower()
        if offered == wanted or offered.startswith(f"{wanted}-"):
            return texts
    return None
