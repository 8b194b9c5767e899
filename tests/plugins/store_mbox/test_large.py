"""Messages and maildrops beyond 32 bits, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from popframe import Maildrop

FROM = b"From bob@example.org Mon Jan  5 09:00:00 2026\n"
GIBIBYTE = 2**30
IS_LONG = os.environ.get("POPFRAME_LONG") == "1"
MAX_GROWTH_OCTETS = 32 * 2**20
"""Windows and pieces are of a mebibyte at most; the rest is the interpreter's own."""


def write_sparse(spool: Path, sizes: list[int]) -> None:
    """Write a spool whose messages have bodies of so many NUL octets, which take no room on the disk."""
    with spool.open("wb") as file:
        for number, size in enumerate(sizes):
            file.write(FROM + b"Subject: %d\n\n" % number)
            file.seek(size, os.SEEK_CUR)
            file.write(b"\n\n")


def forget_peak() -> None:
    """Begin to watch the memory of this process anew."""
    Path("/proc/self/clear_refs").write_text("5")


def memory_octets(field: str) -> int:
    """Return a line of this process's memory: VmRSS for now, VmHWM for the peak."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    "size",
    [
        256 * 2**20,
        pytest.param(
            2 * GIBIBYTE + 5,
            marks=pytest.mark.skipif(not IS_LONG, reason="POPFRAME_LONG: two gibibytes take some seconds"),
        ),
    ],
)
def test_large_message_is_measured_and_read_in_little_memory(
    spool: Path, open_maildrop: Callable[[], Maildrop], size: int
) -> None:
    """Sizes have 64 bits, and memory does not grow with them (RFC 1939 section 11)."""
    write_sparse(spool, [3, size, 3])
    forget_peak()
    before = memory_octets("VmRSS")
    maildrop = open_maildrop()
    total = sum(len(piece) for piece in maildrop.read_message(1))
    grown = memory_octets("VmHWM") - before

    assert list(maildrop.message_octets()) == [19, size + 16, 19]
    assert total == size + 13
    assert grown < MAX_GROWTH_OCTETS


@pytest.mark.timeout(300)
@pytest.mark.skipif(not IS_LONG, reason="POPFRAME_LONG: five gibibytes take a while")
def test_maildrop_of_more_than_four_gibibytes_is_counted_and_cut(
    spool: Path, open_maildrop: Callable[[], Maildrop], contents: Callable[[], dict[str, bytes]]
) -> None:
    """Offsets and totals have 64 bits, and the end is cut at the right place (RFC 1939 section 5)."""
    write_sparse(spool, [3, *[GIBIBYTE] * 5])
    maildrop = open_maildrop()
    octets = list(maildrop.message_octets())
    maildrop.commit({1, 2, 3, 4, 5}, set())
    maildrop.close()

    assert sum(octets) > 5 * GIBIBYTE > 2**32
    assert list(contents().values()) == [b"Subject: 0\n\n\0\0\0\n"]
