"""What to say about a name that nobody knows: the nearest one that is known, and all the others."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
    near = difflib.get_close_matches(name, names, n=1)
    listed = ", ".join(near + [other for other in names if other not in near]) or "none"
    question = f"; did you mean {near[0]!r}?" if near else ""
    return f"{question} ({label}: {listed})"
