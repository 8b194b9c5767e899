"""One mistake in a configuration file, and the error that holds all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from popframe.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.

    Attributes:
        path: The configuration file.
        line: Its line, from 1; 0 when it is not known.
        key: Dotted key as in ``server.listen[0]``; empty when the file as a whole is meant.
        text: What is wrong, and what would be right.
    """

    path: Path
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        """Write it as ``file:line: table.key: text``, the form that editors know how to jump to."""
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        return ": ".join(part for part in (place, self.key, self.text) if part)


class InvalidConfiguration(ConfigError):
    """The configuration file has mistakes; ``str()`` gives one line for each.

    Attributes:
        problems: All of them, sorted by line.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Gather mistakes; the same mistake told twice is told once."""
        self.problems = tuple(sorted(dict.fromkeys(problems), key=lambda problem: problem.line))
        super().__init__("\n".join(str(problem) for problem in self.problems))
