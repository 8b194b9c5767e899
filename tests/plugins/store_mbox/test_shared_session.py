"""Several sessions on one maildrop, where the operator lets them: none takes away what another's client kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import product
from pathlib import Path

import pytest

from popframe import Account, MaildropInUse, Refusal
from popframe_store_mbox import Settings, StoreMbox, indexed
from popframe_store_mbox.maildrop import MboxMaildrop

ALICE = Account("alice")
FROM = b"From a@example.org Mon Jan  5 09:00:00 2026\n"
TEXTS = [b"Subject: %d\n\n" % number + b"text\n" * (number + 1) for number in range(5)]
LATE = b"Subject: late\n\n" + b"late\n" * 200


@pytest.fixture(params=[False, True], ids=["scanned", "indexed"])
def store(request: pytest.FixtureRequest, spool: Path, monkeypatch: pytest.MonkeyPatch) -> StoreMbox:
    """Return a store that shares, with five messages in alice's spool."""
    if request.param:
        monkeypatch.setattr(indexed, "SMALL_SPOOL_OCTETS", 0)
    spool.write_bytes(b"".join(FROM + text + b"\n" for text in TEXTS))
    return StoreMbox(Settings(spool_dir=spool.parent, session_lock="shared", lock_timeout_seconds=0))


@pytest.fixture
def sessions(store: StoreMbox) -> Iterator[tuple[MboxMaildrop, MboxMaildrop]]:
    """Yield two sessions that are open at once; the test closes neither."""
    with ExitStack() as opened:
        yield (
            opened.enter_context(closing(store.popframe_open_maildrop(ALICE))),
            opened.enter_context(closing(store.popframe_open_maildrop(ALICE))),
        )


def subjects(store: StoreMbox) -> list[bytes]:
    """Return what a new session finds."""
    with closing(store.popframe_open_maildrop(ALICE)) as maildrop:
        return [b"".join(maildrop.read_message(at)) for at in range(len(maildrop.message_octets()))]


@pytest.mark.parametrize(("first", "second"), list(product([set(), {0}, {1, 3}, {4}, {2, 3, 4}], repeat=2)))
@pytest.mark.parametrize("arrives", [False, True])
def test_each_removes_what_its_client_marked(
    store: StoreMbox,
    spool: Path,
    sessions: tuple[MboxMaildrop, MboxMaildrop],
    first: set[int],
    second: set[int],
    arrives: bool,
) -> None:
    """Also when both marked the same, and when mail came between: the spool may then be longer than it was."""
    sessions[0].commit(first, set())
    if arrives:
        with spool.open("ab") as file:
            file.write(FROM + LATE + b"\n")
    sessions[1].commit(second, set())

    kept = [text for number, text in enumerate(TEXTS) if number not in first | second]
    assert subjects(store) == kept + ([LATE] if arrives else [])
    assert subjects(store) == subjects(store)


def test_what_another_has_removed_is_refused(sessions: tuple[MboxMaildrop, MboxMaildrop]) -> None:
    """And what it left is sent, or refused, and never another message."""
    sessions[0].commit({1}, set())
    for number, text in enumerate(TEXTS):
        try:
            read = b"".join(sessions[1].read_message(number))
        except Refusal:
            assert number >= 1
        else:
            assert (number, read) == (0, text)


def test_who_does_not_share_is_alone(spool: Path, sessions: tuple[MboxMaildrop, MboxMaildrop]) -> None:
    """The setting of one server does not change what another promises."""
    assert len(sessions) == 2
    exclusive = StoreMbox(Settings(spool_dir=spool.parent))
    with pytest.raises(MaildropInUse, match="unknown process"):
        exclusive.popframe_open_maildrop(ALICE)


def test_nobody_is_named_who_is_gone(store: StoreMbox, spool: Path) -> None:
    """A signature that a killed process left is not that of the sessions that share."""
    spool.with_name(".alice.popframe-lock").write_text(f"{'999999 since 2026-01-05T09:00:00+00:00':<39}\n")
    exclusive = StoreMbox(Settings(spool_dir=spool.parent))
    with (
        closing(store.popframe_open_maildrop(ALICE)),
        pytest.raises(MaildropInUse, match="unknown process"),
    ):
        exclusive.popframe_open_maildrop(ALICE)


def test_a_session_that_is_alone_lets_nobody_share(store: StoreMbox, spool: Path) -> None:
    """It says since when it has the maildrop."""
    exclusive = StoreMbox(Settings(spool_dir=spool.parent))
    with (
        closing(exclusive.popframe_open_maildrop(ALICE)),
        pytest.raises(MaildropInUse, match=r"since .* by process"),
    ):
        store.popframe_open_maildrop(ALICE)
