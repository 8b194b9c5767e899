"""docs/storage-mbox.md: the numbers, names and settings in it are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from popframe_store_mbox import Settings, index_format, indexed, journal_format

pytestmark = pytest.mark.checkout

DOCUMENT = Path(__file__).parents[3] / "docs" / "storage-mbox.md"


@pytest.fixture(scope="module")
def text() -> str:
    """Return the document."""
    return DOCUMENT.read_text("utf-8")


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_explained(text: str, name: str) -> None:
    """In the table of the settings."""
    assert f"\n| `{name}` | " in text


def test_the_formats_have_the_lengths_that_they_have(text: str) -> None:
    """Who writes a tool for them relies on it."""
    assert f"| {journal_format.HEADER_OCTETS} | | octets that the spool holds" in text
    assert f"from octet {journal_format.HEADER_OCTETS} on" in text
    assert f"| header | {index_format.HEADER_OCTETS} |" in text
    assert f"up to {index_format.MAX_SEGMENTS} segments" in text
    assert f"| each segment: rows | {index_format.ROW_OCTETS} for each message |" in text
    bits = index_format.FILTER_BITS_PER_MESSAGE
    assert f"| filter | {bits // 8} for each message, in blocks of {index_format.FILTER_BLOCK_OCTETS} |" in text
    assert f"up to {indexed.SMALL_SPOOL_OCTETS // 1024} KiB have none" in text
