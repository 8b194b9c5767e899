"""One option, as a site has set it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from popframe.errors import ConfigError

Value = str | int | bool


@dataclass(frozen=True, slots=True)
class Given:
    """One option.

    Attributes:
        name: As in Qpopper's table of options.
        value: What it was set to.
        written: How it was written.
        origin: Where: ``file:line``, or ``command line``.
    """

    name: str
    value: Value
    written: str
    origin: str

    def __str__(self) -> str:
        """Say what was written, and where."""
        return f"{self.written} ({self.origin})"


class BadInput(ConfigError):
    """What was to be imported cannot be understood; ``str()`` gives one line for each mistake."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = tuple(dict.fromkeys(mistakes))
        super().__init__("\n".join(self.mistakes))
