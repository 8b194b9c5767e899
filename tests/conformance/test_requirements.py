"""docs/rfc.md and what it points to: each requirement has its row, and each row is shown by what it names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "rfc.md"

REQUIREMENTS = frozenset(
    f"{letter}-{number:03}"
    for letter, numbers in [
        ("P", range(1, 105)),
        ("C", range(1, 43)),
        ("Q", range(1, 43)),
        ("A", range(1, 84)),
        ("T", range(1, 42)),
        ("U", range(1, 34)),
        ("N", range(1, 22)),
        ("X", range(1, 37)),
        ("H", range(1, 74)),
        ("H", (79, 84, 86, 87)),
        ("H", range(91, 99)),
    ]
    for number in numbers
)
"""What a server is held against that offers TOP, UIDL, CAPA, TLS, SASL, UTF8, LANG and the PROXY protocol."""

OPEN_SECTIONS = "HE"
"""Sections of which single requirements may have a row, without all of them being demanded above."""

STATUSES = {"full", "full, and more", "partial", "otherwise", "not offered"}

NUMBER = re.compile(r"\b(?:[PCATUNXQHE]-\d{3}|I-\d)\b")
LINK = re.compile(r"\]\(([^)]+)\)")


@dataclass(frozen=True)
class Row:
    """One row of a table with five columns."""

    section: str
    status: str
    text: str
    numbers: frozenset[str]
    proofs: tuple[Path, ...]


def rows() -> list[Row]:
    """Read the rows of docs/rfc.md that have a status; none where the tests are run without the checkout."""
    found: list[Row] = []
    if not DOCUMENT.exists():
        return found
    for line in DOCUMENT.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == 5 and cells[1] != "status":
            proofs = tuple(DOCUMENT.parent / link for link in LINK.findall(cells[4]))
            found.append(Row(cells[0], cells[1], cells[2], frozenset(NUMBER.findall(cells[3])), proofs))
    return found


ROWS = rows()
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.section)


def test_every_requirement_has_a_row() -> None:
    """Nothing is passed over in silence."""
    named = frozenset[str]().union(*(row.numbers for row in ROWS))

    assert sorted(REQUIREMENTS - named) == []
    assert sorted(number for number in named - REQUIREMENTS if number[0] not in OPEN_SECTIONS) == []


@every_row
def test_a_row_says_what_is_done_and_how_far(row: Row) -> None:
    """Status, a sentence, and a proof; only what is not offered needs none."""
    assert row.status in STATUSES
    assert row.text.endswith(".")
    assert row.proofs or row.status in {"not offered", "partial"}


@every_row
def test_proofs_are_files_that_exist(row: Row) -> None:
    """A reader who follows a link finds a transcript, a test or a description, not a folder to search."""
    assert [path for path in row.proofs if not path.is_file()] == []


@every_row
def test_a_proof_names_the_requirement(row: Row) -> None:
    """Each number of a row stands in a transcript or test that the row points to, if it points to any."""
    texts = [expanded(path.read_text("utf-8")) for path in row.proofs]
    named = {number for text in texts for number in NUMBER.findall(text)}

    assert sorted(row.numbers - named) == [] or not row.proofs


def test_transcripts_and_tests_name_only_requirements_that_are_explained() -> None:
    """A number in a transcript can be looked up."""
    files = [*Path(__file__).parent.glob("*/*.txt"), *(ROOT / "tests").rglob("*.py")]
    explained = frozenset(NUMBER.findall(DOCUMENT.read_text("utf-8")))
    named = {number for path in files for number in NUMBER.findall(path.read_text("utf-8"))}

    assert sorted(named - explained) == []


def test_every_transcript_is_pointed_to() -> None:
    """What is shown is also told."""
    told = {path.resolve() for row in ROWS for path in row.proofs}

    assert [path.name for path in sorted(Path(__file__).parent.glob("*/*.txt")) if path.resolve() not in told] == []


def expanded(text: str) -> str:
    """Write out ranges such as "P-083 to P-088"."""

    def numbers(match: re.Match[str]) -> str:
        letter, first, last = match.groups()
        return " ".join(f"{letter}-{number:03}" for number in range(int(first), int(last) + 1))

    return re.sub(r"\b([PCATUNXQHE])-(\d{3}) to \1-(\d{3})\b", numbers, text)
