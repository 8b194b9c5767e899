"""A spool directory, the plugin for it, and sessions that are closed at the end of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from popframe import Account, Maildrop, Refusal
from popframe_store_mbox import Settings, StoreMbox

ALICE = Account("alice")


@pytest.fixture
def spool_dir(tmp_path: Path) -> Path:
    """Return an empty directory for spools."""
    path = tmp_path / "mail"
    path.mkdir()
    return path


@pytest.fixture
def spool(spool_dir: Path) -> Path:
    """Return the path of alice's spool, which does not exist yet."""
    return spool_dir / "alice"


@pytest.fixture
def store(spool_dir: Path) -> StoreMbox:
    """Return the plugin, which does not wait for locks."""
    return StoreMbox(Settings(spool_dir=spool_dir, lock_timeout_seconds=0))


@pytest.fixture
def open_maildrop(store: StoreMbox) -> Iterator[Callable[[], Maildrop]]:
    """Return what opens alice's maildrop; what a test leaves open is closed."""
    opened: list[Maildrop] = []

    def open_it() -> Maildrop:
        maildrop = store.popframe_open_maildrop(ALICE)
        opened.append(maildrop)
        return maildrop

    yield open_it
    for maildrop in opened:
        maildrop.close()


@pytest.fixture
def contents(store: StoreMbox) -> Callable[[], dict[str, bytes]]:
    """Return what reads alice's maildrop in a session of its own: messages by unique-id."""

    def read() -> dict[str, bytes]:
        maildrop = store.popframe_open_maildrop(ALICE)
        try:
            uids = maildrop.message_uids()
            return {uid: b"".join(maildrop.read_message(index)) for index, uid in enumerate(uids)}
        finally:
            maildrop.close()

    return read


@pytest.fixture
def refusal_of() -> Callable[[Callable[[], object]], Refusal]:
    """Return what calls a function that has to refuse, and gives the refusal."""

    def call(function: Callable[[], object]) -> Refusal:
        with pytest.raises(Refusal) as caught:
            function()
        return caught.value

    return call
