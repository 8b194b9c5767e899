"""In which line of a TOML file a key stands.

tomllib tells no lines; tomlkit keeps every octet of the file, but tells no lines either. This walks tomlkit's tree in
the order in which it would be written, and counts the newlines that go by.

Rule of this file: it is imported only when there is a mistake to report, for tomlkit takes longer to import than a
configuration takes to read.
"""

from __future__ import annotations

from collections import Counter

import tomlkit
from tomlkit.container import Container
from tomlkit.items import AoT, Array, Comment, InlineTable, Item, Key, Null, Table, Whitespace

KeyPath = tuple[str | int, ...]
"""Where a value stands: names of keys, and indexes of list elements."""


def index_lines(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, in which each key and each list element of a TOML text first appears.

    Args:
        text: Valid TOML.

    Raises:
        tomlkit.exceptions.TOMLKitError: tomlkit does not take the text.
    """
    walk = _Walk()
    walk.body((), tomlkit.parse(text))
    return walk.lines


class _Walk:
    """A place in the text that moves forward, and what was seen on the way."""

    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {(): 1}
        self._line = 1
        self._tables_seen: Counter[KeyPath] = Counter()

    def body(self, path: KeyPath, container: Container) -> None:
        """Go through the keys, blanks and comments of a table."""
        for key, item in container.body:
            if key is None:
                self._pass(item.as_string())
            else:
                self._entry(path, key, item)

    def _entry(self, path: KeyPath, key: Key, item: Item) -> None:
        """Go through one key and its value; a dotted key comes as tables within tables."""
        path = (*path, key.key)
        if isinstance(item, AoT):
            for table in item.body:
                self._table((*path, self._tables_seen[path]), table)
                self._tables_seen[path] += 1
        elif isinstance(item, Table):
            self._table(path, item)
        else:
            self._pass(item.trivia.indent)
            self._see(path)
            self._value(path, item)
            self._pass(item.trivia.comment, item.trivia.trail)

    def _table(self, path: KeyPath, table: Table) -> None:
        """Go through a table: its header, unless only deeper headers or dotted keys imply it, then its keys."""
        if not table.is_super_table():
            self._pass(table.trivia.indent)
            self._see(path)
            self._pass(table.trivia.trail)
        self.body(path, table.value)

    def _value(self, path: KeyPath, item: Item) -> None:
        """Go through a value, which may hold further keys and elements."""
        if isinstance(item, InlineTable):
            self.body(path, item.value)
        elif isinstance(item, Array):
            self._array(path, item)
        else:
            self._pass(item.as_string())

    def _array(self, path: KeyPath, array: Array) -> None:
        """Go through a list, over as many lines as it takes."""
        index = 0
        for item in array._iter_items():
            if isinstance(item, Whitespace | Comment | Null):  # Null: before a comment that has its own line
                self._pass(item.as_string())
            else:
                self._see((*path, index))
                self._value((*path, index), item)
                index += 1

    def _see(self, path: KeyPath) -> None:
        """Note the present line for a path and for the tables that it implies."""
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], self._line)

    def _pass(self, *texts: str) -> None:
        """Move forward over some text."""
        self._line += sum(text.count("\n") for text in texts)
