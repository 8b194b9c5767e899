"""Mail as people sent it: an archive of a mailing list."""

from __future__ import annotations

import mailbox
from collections.abc import Callable
from pathlib import Path

import pytest

from popframe import Maildrop
from popframe.testing.maildrop_contract import as_sent

ARCHIVE = Path(__file__).resolve().parents[4] / "shared" / "mail" / "list.mbox"
MESSAGES = 53

pytestmark = [
    pytest.mark.checkout,
    pytest.mark.skipif(not ARCHIVE.exists(), reason="no archive of a mailing list beside the checkout"),
]


@pytest.fixture
def archive(spool: Path) -> list[bytes]:
    """Put the archive into alice's spool and return its messages as the standard library reads them."""
    spool.write_bytes(ARCHIVE.read_bytes())
    box = mailbox.mbox(spool, create=False)
    try:
        return [box.get_bytes(key) for key in box.iterkeys()]
    finally:
        box.close()


def test_messages_are_those_that_another_reader_finds(
    archive: list[bytes], open_maildrop: Callable[[], Maildrop]
) -> None:
    """Number, text and size of each message (RFC 1939 sections 5 and 11)."""
    maildrop = open_maildrop()
    read = [b"".join(maildrop.read_message(index)) for index in range(MESSAGES)]

    assert read == archive
    assert list(maildrop.message_octets()) == [len(as_sent(message)) for message in archive]
    assert len(set(maildrop.message_uids())) == len(archive) == MESSAGES


def test_removing_every_third_message_keeps_the_others(
    archive: list[bytes], open_maildrop: Callable[[], Maildrop], contents: Callable[[], dict[str, bytes]]
) -> None:
    """What is left has its text and its unique-id (RFC 1939 sections 6 and 7)."""
    maildrop = open_maildrop()
    uids = list(maildrop.message_uids())
    deleted = set(range(0, MESSAGES, 3))
    maildrop.commit(deleted, set())
    maildrop.close()
    kept = {uids[index]: text for index, text in enumerate(archive) if index not in deleted}

    assert contents() == kept
