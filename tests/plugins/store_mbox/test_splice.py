"""Parts of files and new octets, one after the other: all of them, in order, whatever their lengths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import TemporaryFailure
from popframe_store_mbox import splice
from popframe_store_mbox.splice import Part, Span, buffers

BUFFER_OCTETS = 16
"""Small, so that parts of a few octets are shorter, longer, and many times as long."""

OCTETS = bytes(range(100))

spans = st.tuples(st.integers(0, len(OCTETS)), st.integers(0, len(OCTETS))).map(sorted)
part_lists = st.lists(st.one_of(spans.map(tuple), st.binary(max_size=50)))


@pytest.fixture(scope="module", name="fd")
def _fd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return an open file with a hundred octets."""
    path: Path = tmp_path_factory.mktemp("splice") / "file"
    path.write_bytes(OCTETS)
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture(scope="module", autouse=True)
def _small_buffer() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splice, "BUFFER_OCTETS", BUFFER_OCTETS)
        yield


@given(part_lists)
def test_all_octets_come_in_order_and_in_full_buffers(fd: int, described: list[bytes | tuple[int, int]]) -> None:
    """However parts and buffers lie to each other; only the last buffer may be shorter."""
    parts: list[Part] = [part if isinstance(part, bytes) else Span(fd, *part) for part in described]
    pieces = [bytes(piece) for piece in buffers(parts)]

    assert b"".join(pieces) == b"".join(part if isinstance(part, bytes) else OCTETS[slice(*part)] for part in described)
    assert all(len(piece) == BUFFER_OCTETS for piece in pieces[:-1])
    assert all(pieces)


def test_a_file_that_has_become_shorter_is_a_refusal(fd: int) -> None:
    """What is not there is not left out: a journal with less than was to stay would lose mail."""
    with pytest.raises(TemporaryFailure, match="a file ends at octet 100, before octet 101"):
        list(buffers([Span(fd, 90, 101)]))
