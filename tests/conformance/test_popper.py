"""docs/popper.md and what it points to: nothing of popper is passed over, and what is said to be here is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "popper.md"

SOURCES = frozenset(
    {"flock.c", "flock.h", "popper.c", "popper.h", "version.h", "xtnd_xlst.c"}
    | {
        f"pop_{name}.c"
        for name in ("bull", "dele", "dropcopy", "get_command", "get_subcommand", "init", "last", "list")
    }
    | {f"pop_{name}.c" for name in ("log", "lower", "msg", "parse", "pass", "quit", "rset", "send", "stat", "uidl")}
    | {f"pop_{name}.c" for name in ("updt", "user", "xmit", "xtnd")}
)
"""The files of the distribution."""

SCENES = 17
"""What a server must show that wants to follow popper."""

LEFT_OUT = "Left out: "

LINK = re.compile(r"\[([^]]+)\]\(([^)#]+)\)")
PROOFS = re.compile(rf"{LINK.pattern}(, {LINK.pattern})*")


PATH = re.compile(r"`((?:popframe|plugins|packaging)/[^`]*)`")


@dataclass(frozen=True)
class Row:
    """One row of a table with three columns."""

    section: str
    feature: str
    place: str
    proof: str


def rows() -> list[Row]:
    """Read the rows; none where the tests are run without the checkout."""
    if not DOCUMENT.exists():
        return []
    found, section = [], ""
    for line in DOCUMENT.read_text("utf-8").splitlines():
        section = line[3:] if line.startswith("## ") else section
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and cells[0] != "popper":
            assert len(cells) == 3, line
            found.append(Row(section, *cells))
    return found


ROWS = rows()
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.feature[:40])


@every_row
def test_a_row_is_shown_or_has_a_reason(row: Row) -> None:
    """Tests, by their names, or why it is not here; and in any case what is in its place."""
    assert row.place
    assert PROOFS.fullmatch(row.proof) or (row.proof.startswith(LEFT_OUT) and len(row.proof) > len(LEFT_OUT))


@every_row
def test_the_tests_that_show_it_exist(row: Row) -> None:
    """A function of that name in that file, or a transcript."""
    for name, link in [] if row.proof.startswith(LEFT_OUT) else LINK.findall(row.proof):
        path = DOCUMENT.parent / link
        text = path.read_text("utf-8")

        assert path.stem == name if path.suffix == ".txt" else f"\ndef {name}(" in text, link


def test_every_source_file_has_a_row() -> None:
    """All 28."""
    named = {
        name for row in ROWS if row.section == "Its source files" for name in re.findall(r"\w+\.[ch]\b", row.feature)
    }

    assert len(SOURCES) == 28
    assert named == SOURCES


def test_every_switch_has_a_row() -> None:
    """Those of the Berkeley popper one by one; Qpopper's are those of 'popframe import'."""
    named = {row.feature[1:3] for row in ROWS if row.section == "Its switches" and row.feature.startswith("`-")}

    assert named == {"-d", "-t", "-s", "-b", "-T"}


def test_every_scene_has_a_row() -> None:
    """In their order."""
    numbers = [row.feature.partition(".")[0] for row in ROWS if row.section == "A test for each"]

    assert numbers == [str(number) for number in range(1, SCENES + 1)]


def test_the_places_in_the_code_exist() -> None:
    """Files and folders of this project."""
    paths = {path for row in ROWS for path in PATH.findall(row.place)}

    assert len(paths) > 20
    assert [path for path in sorted(paths) if not list(ROOT.glob(path))] == []
