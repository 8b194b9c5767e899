"""Text for people: octets that no terminal obeys, numbers with their nouns, lines that fit."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap

SHOWN_OCTETS = 60
"""How much of a line is shown: enough to find it again."""

MIN_COLUMNS = 40
"""Narrowest terminal that text is wrapped for; a narrower one breaks the lines itself."""


def printable(octets: bytes) -> str:
    """Return octets as text that no terminal takes for an instruction."""
    text = octets.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def printable_path(path: str | os.PathLike[str]) -> str:
    """Return a path as such text."""
    return printable(os.fsencode(path))


def quoted(octets: bytes) -> str:
    """Return the beginning of a line between quotation marks."""
    line = octets.partition(b"\n")[0].removesuffix(b"\r")
    return f"'{printable(line[:SHOWN_OCTETS])}{'…' if len(line) > SHOWN_OCTETS else ''}'"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it has to be."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class LineWriter:
    """Writes lines to standard output, wrapped where that is a terminal: a program gets each in one piece."""

    def __init__(self) -> None:
        self._encoding = sys.stdout.encoding or "utf-8"
        self._columns = max(MIN_COLUMNS, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 0

    def write(self, line: str = "", indent: int = 8) -> None:
        """Write a line.

        Args:
            line: The text.
            indent: Blanks before each further line that it is wrapped into.
        """
        if self._columns and len(line) > self._columns:
            line = textwrap.fill(line, self._columns, subsequent_indent=" " * indent, break_on_hyphens=False)
        # What a terminal's character set lacks is shown by its number: a stranger's letter must not end the command.
        sys.stdout.write(line.encode(self._encoding, "backslashreplace").decode(self._encoding) + "\n")
