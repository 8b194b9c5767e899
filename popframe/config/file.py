"""A configuration file that was read, and is not validated yet."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from popframe.config.problem import InvalidConfiguration, Problem

if TYPE_CHECKING:
    from popframe.config.line import KeyPath

MAX_FILE_OCTETS = 1_048_576
"""A mebibyte: a larger file is not a configuration but a slip, such as a device or a mailbox."""

_TOMLLIB_POSITION = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)\Z")


@dataclass(frozen=True)
class ConfigFile:
    """One TOML file.

    Attributes:
        path: Where it is, as the operator wrote it.
        text: What is in it.
        tables: The same, parsed.
    """

    path: Path
    text: str = field(repr=False)
    tables: Mapping[str, object] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> ConfigFile:
        """Read a file and parse it.

        Raises:
            InvalidConfiguration: It cannot be read, is not UTF-8, or is not TOML.
        """
        try:
            with path.open("rb") as stream:
                octets = stream.read(MAX_FILE_OCTETS + 1)
        except OSError as exc:
            raise InvalidConfiguration([Problem(path, 0, "", f"cannot be read: {exc.strerror or exc}")]) from exc
        if len(octets) > MAX_FILE_OCTETS:
            raise InvalidConfiguration([Problem(path, 0, "", f"is larger than {MAX_FILE_OCTETS} octets")])
        return cls._parse(path, octets)

    @classmethod
    def _parse(cls, path: Path, octets: bytes) -> ConfigFile:
        try:
            text = octets.decode("utf-8")
        except UnicodeDecodeError as exc:
            line = octets.count(b"\n", 0, exc.start) + 1
            raise InvalidConfiguration([Problem(path, line, "", "is not UTF-8")]) from exc
        try:
            return cls(path, text, tomllib.loads(text))
        except tomllib.TOMLDecodeError as exc:
            raise InvalidConfiguration([_syntax_problem(path, text, str(exc))]) from exc
        except RecursionError as exc:
            raise InvalidConfiguration([Problem(path, 0, "", "lists or tables are nested too deeply")]) from exc

    @property
    def directory(self) -> Path:
        """The folder that relative paths in the file start from.

        It stays relative when the file was named so: a user who may be in a folder may not be able to reach it from
        the root.
        """
        return self.path.parent

    @property
    def plugin_entries(self) -> dict[int, str]:
        """The entries of ``plugins`` that could name a plugin, by their place in the list."""
        entries = self.tables.get("plugins")
        if not isinstance(entries, list):
            return {}
        return {index: entry for index, entry in enumerate(entries) if isinstance(entry, str) and entry}

    def plugin_index(self, name: str | int) -> int | None:
        """Return the place of a plugin in the list ``plugins``, where it may stand by its name or by its file."""
        entries = self.plugin_entries.items()
        return next((index for index, entry in entries if name in (entry, Path(entry).stem)), None)

    def plugin_table(self, name: str) -> object:
        """Return what stands in ``[plugin.NAME]``, a table if all is well; an empty one when it is not there."""
        tables = self.tables.get("plugin")
        return tables.get(name, {}) if isinstance(tables, dict) else {}

    def find(self, path: KeyPath) -> tuple[KeyPath, object]:
        """Follow a path of keys and list indexes from the beginning of the file.

        Returns:
            As much of the path as the file has, and the value there.
        """
        value: object = self.tables
        for depth, part in enumerate(path):
            children = dict(enumerate(value)) if isinstance(value, list) else value
            if not isinstance(children, Mapping) or part not in children:
                return path[:depth], value
            value = children[part]
        return path, value

    def line_of(self, *path: str | int) -> int:
        """Return the line, from 1, in which a value stands.

        Args:
            *path: Names of keys and indexes of list elements. Of a path that the file does not have, the part counts
                that it has: for a missing key its table, for a missing table the beginning.

        Returns:
            The line; 0 when it cannot be told.
        """
        return self._lines.get(self.find(path)[0], 0)

    @cached_property
    def _lines(self) -> Mapping[KeyPath, int]:
        from popframe.config.line import index_lines

        try:
            return index_lines(self.text)
        except Exception:  # whatever tomlkit trips over: the mistake in the file is told all the same
            return {}


def _syntax_problem(path: Path, text: str, message: str) -> Problem:
    """Take the line out of tomllib's message; it has it nowhere else before Python 3.14."""
    position = _TOMLLIB_POSITION.search(message)
    if position is None:
        return Problem(path, 0, "", message)
    line = int(position["line"]) if position["line"] else max(1, len(text.splitlines()))
    return Problem(path, line, "", message[: position.start()])
