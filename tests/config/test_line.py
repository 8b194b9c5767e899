"""The line of every key, in files made by hand and in generated ones."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe.config.line import KeyPath, index_lines

EXAMPLE = '''\
# a comment

plugins = [
  "a",  # "b"
  # ["c"]

  "b", "c",
  { x = 1, y = [2,
    3] },
  [4,
   5],
]
dotted.first.x = 1

dotted.second = """
two lines"""
[server]  # [log]

"quoted key" = 3
inline = {p.q = 1, r = {s = """
""", t = 2}}
[plugin.store.sub]
x = 1
[plugin.store]
y = 1
[log]
z = 1
[plugin.auth]
q.w = 1

q.e = 1
[[table]]
x = 1
[[table.inner]]

[[table.inner]]
y = 1
[[table]]
'''

EXPECTED: dict[KeyPath, int] = {
    ("plugins",): 3,
    ("plugins", 0): 4,
    ("plugins", 1): 7,
    ("plugins", 2): 7,
    ("plugins", 3): 8,
    ("plugins", 3, "y", 0): 8,
    ("plugins", 3, "y", 1): 9,
    ("plugins", 4): 10,
    ("plugins", 4, 1): 11,
    ("dotted",): 13,
    ("dotted", "first", "x"): 13,
    ("dotted", "second"): 15,
    ("server",): 17,
    ("server", "quoted key"): 19,
    ("server", "inline", "p", "q"): 20,
    ("server", "inline", "r", "s"): 20,
    ("server", "inline", "r", "t"): 21,
    ("plugin",): 22,
    ("plugin", "store"): 22,
    ("plugin", "store", "sub", "x"): 23,
    ("plugin", "store", "y"): 25,
    ("log", "z"): 27,
    ("plugin", "auth"): 28,
    ("plugin", "auth", "q", "w"): 29,
    ("plugin", "auth", "q", "e"): 31,
    ("table", 0): 32,
    ("table", 0, "x"): 33,
    ("table", 0, "inner", 0): 34,
    ("table", 0, "inner", 1): 36,
    ("table", 0, "inner", 1, "y"): 37,
    ("table", 1): 38,
}


def test_every_form_of_toml_has_its_line() -> None:
    """Tables in any order, dotted keys, inline tables, lists over several lines, arrays of tables."""
    lines = index_lines(EXAMPLE)

    assert {path: lines.get(path) for path in EXPECTED} == EXPECTED


def test_crlf_line_ends_count_once() -> None:
    """A file from another system has the same lines."""
    lines = index_lines(EXAMPLE.replace("\n", "\r\n"))

    assert {path: lines.get(path) for path in EXPECTED} == EXPECTED


# --- generated files: text in pieces, and between them the paths of what begins there

Pieces = list[str | KeyPath]

NAMES = ("a", "b-c", "d", '"e f"', '"g.h"', "'#'", '"ü"', "i_1")
BLANKS = ("", " ", "\n", " # ] } \n", "\n\n  # c\n")
SCALARS = ("1", "-2.5", "true", '"#[{"', "'x'", '"""\n"#\n\n"""', "'''\n[x]\n'''", "1979-05-27", '"\\n"')

blanks = st.sampled_from(BLANKS)
line_ends = st.sampled_from(("\n", "\n\n", "  # [x]\n", "\n# y = 1\n   \n"))


def names(count: int) -> st.SearchStrategy[list[str]]:
    """Return a strategy for a few distinct keys, as they stand in the file."""
    return st.lists(st.sampled_from(NAMES), max_size=count, unique=True)


def bare(name: str) -> str:
    """Return a key without its quotes."""
    return name.strip("\"'")


@st.composite
def value_pieces(draw: st.DrawFn, path: KeyPath, depth: int = 2) -> Pieces:
    """Draw a value; lists and inline tables down to some depth."""
    kind = draw(st.sampled_from(("scalar", "list", "table") if depth else ("scalar",)))
    if kind == "list":
        pieces: Pieces = ["["]
        for index in range(draw(st.integers(0, 3))):
            element = (*path, index)
            pieces += [draw(blanks), element, *draw(value_pieces(element, depth - 1)), draw(blanks), ","]
        return [*pieces, draw(blanks), "]"]
    if kind == "table":
        pieces = ["{"]
        for index, name in enumerate(draw(names(3))):
            key = (*path, bare(name))
            pieces += [", " if index else " ", key, f"{name} = ", *draw(value_pieces(key, depth - 1))]
        return [*pieces, " }"]
    return [draw(st.sampled_from(SCALARS))]


@st.composite
def key_pieces(draw: st.DrawFn, path: KeyPath) -> Pieces:
    """Draw the lines of a table that follow its header."""
    pieces: Pieces = []
    for name in draw(names(4)):
        dotted = draw(st.booleans())
        key = (*path, bare(name), "dot") if dotted else (*path, bare(name))
        written = f"{name}.dot" if dotted else name
        pieces += [draw(st.sampled_from(("", "  "))), key, f"{written} = ", *draw(value_pieces(key)), draw(line_ends)]
    return pieces


@st.composite
def table_pieces(draw: st.DrawFn, names: tuple[str, ...]) -> Pieces:
    """Draw a table with its header."""
    path = tuple(map(bare, names))
    return [path, f"[{'.'.join(names)}]", draw(line_ends), *draw(key_pieces(path))]


@st.composite
def table_array_pieces(draw: st.DrawFn, name: str) -> Pieces:
    """Draw an array of tables, the first of which has a table inside."""
    pieces: Pieces = []
    for index in range(draw(st.integers(1, 3))):
        path = (name, index)
        pieces += [path, f"[[{name}]]", draw(line_ends), *draw(key_pieces(path))]
        inner = (name, index, "inner", 0)
        pieces += [inner, f"[[{name}.inner]]", draw(line_ends), *draw(key_pieces(inner))]
    return pieces


@st.composite
def files(draw: st.DrawFn) -> Pieces:
    """Draw a file: keys of the root, then tables in any order."""
    headers = draw(
        st.lists(
            st.sampled_from((("T",), ("T", '"u v"'), ("T", "w"), ("X", "y", "z"), ("X", "y"), ("Z",))), unique=True
        )
    )
    pieces: Pieces = [draw(line_ends), *draw(key_pieces(()))]
    for header in headers:
        pieces += draw(table_pieces(header))
    return pieces + (draw(table_array_pieces("array")) if draw(st.booleans()) else [])


def written(pieces: Pieces) -> tuple[str, dict[KeyPath, int]]:
    """Return the text of a file and the line in which each path, and each part of it, first appears."""
    text, lines = "", dict[KeyPath, int]()
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
        else:
            for length in range(1, len(piece) + 1):
                lines.setdefault(piece[:length], text.count("\n") + 1)
    return text, lines


@pytest.mark.timeout(600)  # make test-long draws five thousand files
@given(files().map(written))
def test_line_is_right_in_any_file(file: tuple[str, dict[KeyPath, int]]) -> None:
    """Whatever the layout, each key and each list element is told in the line in which it stands."""
    text, expected = file
    tomllib.loads(text)  # or the strategy is wrong
    lines = index_lines(text)

    assert {path: lines.get(path) for path in expected} == expected
