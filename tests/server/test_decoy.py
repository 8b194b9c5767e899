"""Octets for users who do not exist, and the timestamp of APOP."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from popframe.server.sasl import decoy
from popframe.server.sasl.timestamp import timestamp

PROGRAM = "from popframe.server.sasl.decoy import decoy_octets; print(decoy_octets('alice', 16).hex())"


@pytest.fixture
def fresh_key() -> Iterator[None]:
    """Let the key be made anew, before and after the test."""
    decoy._key.cache_clear()
    yield
    decoy._key.cache_clear()


def test_the_same_label_has_the_same_octets_in_every_process() -> None:
    """A-057: fronts, a restart, the next process of inetd."""
    if not any(path.exists() for path in decoy.MACHINE_ID_FILES):
        pytest.skip("this machine has no machine-id(5)")
    runs = {subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True).stdout for _ in range(2)}

    assert runs == {decoy.decoy_octets("alice", 16).hex().encode() + b"\n"}


def test_other_labels_have_other_octets() -> None:
    """A-057: none tells anything of another."""
    assert len({decoy.decoy_octets(label, 16) for label in ("alice", "Alice", "bob", "", "\udcff")}) == 5
    assert len(decoy.decoy_octets("alice", 64)) == 64


@pytest.mark.usefixtures("fresh_key")
def test_the_number_of_the_machine_is_not_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another one gives other octets; none at all a key of this start."""
    found = set()
    for number in ("0123", "4567", "", ""):
        path = tmp_path / "machine-id"
        path.write_text(number)
        monkeypatch.setattr(decoy, "MACHINE_ID_FILES", (tmp_path / "missing", path))
        decoy._key.cache_clear()
        found.add(decoy.decoy_octets("alice", 16))
        assert decoy.decoy_octets("alice", 16) in found

    assert len(found) == 4


def test_no_two_timestamps_are_the_same() -> None:
    """A-012, A-013, H-044: in the form of a msg-id, whatever the clock does."""
    stamps = [timestamp() for _ in range(10_000)]

    assert len(set(stamps)) == len(stamps)
    assert all(re.fullmatch(r"<[^<>@\x00-\x20\x7f-\xff]+@[^<>@\x00-\x20\x7f-\xff]+>", stamp) for stamp in stamps)
    assert len({stamp.partition(".")[0] for stamp in stamps}) == len(stamps)
