"""New mail through the plugin: whole, quoted, in its place, or not at all."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import Account, IncomingMessage, PermanentFailure, TemporaryFailure
from popframe.testing.maildrop_contract import as_sent
from popframe_store_mbox import Settings, StoreMbox
from popframe_store_mbox.delivery import stored_form

ALICE = Account("alice")
RECEIVED = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
FROM = b"From bob@example.org Mon Jan  5 09:00:00 2026\n"


def incoming(content: bytes) -> IncomingMessage:
    """Return a message from bob."""
    return IncomingMessage("bob@example.org", RECEIVED, content)


def test_message_is_appended_in_mbox_form(store: StoreMbox, spool: Path) -> None:
    """From_ line, text with LF line ends, blank line (mbox(5))."""
    store.popframe_deliver_message(ALICE, incoming(b"Subject: a\r\n\r\nhi\r\n"))
    store.popframe_deliver_message(ALICE, incoming(b"Subject: b\n\nhi"))

    assert spool.read_bytes() == FROM + b"Subject: a\n\nhi\n\n" + FROM + b"Subject: b\n\nhi\n\n"


def test_spool_is_made_for_its_owner_alone(store: StoreMbox, spool: Path) -> None:
    """Nobody else may read mail."""
    old = os.umask(0)
    try:
        store.popframe_deliver_message(ALICE, incoming(b"Subject: a\n\n"))
    finally:
        os.umask(old)

    assert stat.S_IMODE(spool.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_spool_that_root_makes_belongs_to_the_account(store: StoreMbox, spool: Path) -> None:
    """Its user has to be able to read it."""
    store.popframe_deliver_message(Account("alice", uid=1001, gid=1002), incoming(b"Subject: a\n\n"))
    status = spool.stat()

    assert (status.st_uid, status.st_gid) == (1001, 1002)


@pytest.mark.parametrize(
    ("before", "between"),
    [
        (FROM + b"A: 1\n\na\n\n", b""),
        (FROM + b"A: 1\n\na\n", b"\n"),
        (FROM + b"A: 1\n\na", b"\n\n"),
        (FROM + b"A: 1\n\na\r", b"\r\n\n"),
        (FROM + b"A: 1\r\n\r\na\r\n\r\n", b""),
        (FROM, b"\n"),
    ],
)
def test_message_before_is_ended_first(
    store: StoreMbox, spool: Path, contents: Callable[[], dict[str, bytes]], before: bytes, between: bytes
) -> None:
    """Whatever the last program left out; the message before does not change for the client."""
    spool.write_bytes(before)
    (sent_before,) = (as_sent(message) for message in contents().values())
    store.popframe_deliver_message(ALICE, incoming(b"Subject: b\n\n"))

    assert spool.read_bytes() == before + between + FROM + b"Subject: b\n\n\n"
    assert as_sent(next(iter(contents().values()))) == sent_before


@pytest.mark.parametrize(
    ("content", "stored"),
    [
        (b"From x\nSubject: a\n\nb\n", b">From x\nSubject: a\n\nb\n"),
        (
            b"A: 1\n\nFrom x\n>From y\n>>From z\nfrom w\n From v\n",
            b"A: 1\n\n>From x\n>>From y\n>>>From z\nfrom w\n From v\n",
        ),
        (b"A: 1\r\n\r\nFrom x\r\nFrom x\r\n", b"A: 1\n\n>From x\n>From x\n"),
        (b"Content-Length: 3\n 4\nA: 1\n\nContent-Length: 3\n", b"A: 1\n\nContent-Length: 3\n"),
        (b"a\rb", b"a\rb\n"),
        (b"", b""),
    ],
)
def test_text_is_stored_so_that_no_line_of_it_separates(content: bytes, stored: bytes) -> None:
    """Lines of ``>`` and ``From `` get one more ``>`` (mboxrd), and no Content-Length says otherwise."""
    assert stored_form(content) == stored


@pytest.mark.timeout(300)  # each example syncs three deliveries to the disk, and make test-long has 5000
@given(st.lists(st.binary(max_size=60) | st.sampled_from([FROM, b"\n", b"\r\n", b"\n\n", b"Content-Length: 9\n"])))
def test_any_message_stays_one_message(parts: list[bytes]) -> None:
    """Whatever a sender writes, he cannot make a second message of it or hide the next one."""
    with TemporaryDirectory() as directory:
        store = StoreMbox(Settings(spool_dir=Path(directory)))
        for content in (b"Subject: before\n\n", b"".join(parts), b"Subject: after\n\n"):
            store.popframe_deliver_message(ALICE, incoming(content))
        maildrop = store.popframe_open_maildrop(ALICE)
        messages = [as_sent(b"".join(maildrop.read_message(index))) for index in range(len(maildrop.message_uids()))]
        sizes = list(maildrop.message_octets())
        maildrop.close()

    assert len(messages) == 3
    assert sizes == [len(message) for message in messages]
    assert (messages[0], messages[2]) == (b"Subject: before\r\n\r\n", b"Subject: after\r\n\r\n")


def test_delivery_that_fails_leaves_nothing_behind(store: StoreMbox, spool: Path) -> None:
    """A part of the message was written when the limit was met."""
    store.popframe_deliver_message(ALICE, incoming(b"Subject: a\n\nb\n"))
    before = spool.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 1000, limits[1]))
    try:
        with pytest.raises(TemporaryFailure):
            store.popframe_deliver_message(ALICE, incoming(b"Subject: b\n\n" + b"text\n" * 1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert spool.read_bytes() == before
    assert not spool.with_name("alice.lock").exists()


def test_delivery_to_a_name_that_is_no_file_name_is_refused(store: StoreMbox) -> None:
    """Trying again will not help."""
    with pytest.raises(PermanentFailure):
        store.popframe_deliver_message(Account("../alice"), incoming(b""))


def test_time_without_zone_is_refused(store: StoreMbox, spool: Path) -> None:
    """It would be another time on another machine."""
    message = IncomingMessage("bob@example.org", RECEIVED.replace(tzinfo=None), b"Subject: a\n\n")
    with pytest.raises(PermanentFailure, match="time zone"):
        store.popframe_deliver_message(ALICE, message)

    assert not spool.exists()


def test_symlink_is_not_delivered_through(store: StoreMbox, spool: Path) -> None:
    """Nobody gets a line into another file."""
    spool.with_name("bob").write_bytes(b"")
    spool.symlink_to("bob")
    with pytest.raises(PermanentFailure):
        store.popframe_deliver_message(ALICE, incoming(b"Subject: a\n\n"))

    assert spool.with_name("bob").read_bytes() == b""
