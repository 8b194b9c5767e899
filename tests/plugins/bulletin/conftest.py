"""Rooms with bulletins, on a store in memory and on mbox files."""

from __future__ import annotations

from pathlib import Path

import pytest

from popframe.testing import MemoryStore

from .bulletin_room import Room, mbox_room


@pytest.fixture(params=["memory", "mbox"])
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Room:
    """Return a room with one of the stores."""
    if request.param == "memory":
        return Room(tmp_path, MemoryStore())
    return mbox_room(tmp_path)


@pytest.fixture
def quick_room(tmp_path: Path) -> Room:
    """Return a room with the store in memory."""
    return Room(tmp_path, MemoryStore())
