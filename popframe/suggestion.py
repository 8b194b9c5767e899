"""What to say about a name that nobody knows: the nearest one that is known, and all the others."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like another one; an empty string when none is near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), "")


def suggest(name: str, known: Iterable[str], label: str = "known") -> str:
    """Return the end of a message about an unknown name, to be put right behind what is wrong.

    Args:
        name: The name as it was written.
        known: What could have been meant.
        label: What the known names are: ``known``, ``installed``, …

    Returns:
        ``; did you mean 'b'? (known: b, a, c)``, or `` (known: a, b, c)`` when none is near.
    """
    names = sorted(known)
    near = nearest(name, names)
    listed = ", ".join(sorted(names, key=lambda other: other != near)) or "none"
    question = f"; did you mean {near!r}?" if near else ""
    return f"{question} ({label}: {listed})"
