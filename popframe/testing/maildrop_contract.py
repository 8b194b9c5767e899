"""The promises of :class:`popframe.Maildrop`, one test each, for every storage plugin.

Derive a class whose name begins with ``Test`` and give it the fixture ``store``::

    class TestMyStore(MaildropContract):
        @pytest.fixture
        def store(self, tmp_path: Path) -> StoreUnderTest:
            return HookedStore(MyStore(MySettings(directory=tmp_path)))
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import zip_longest
from typing import ClassVar, Protocol

import pytest

from popframe import Account, IncomingMessage, Maildrop, MaildropInUse

SAMPLES = {
    "plain": b"Subject: a\n\nhi\n",
    "dots": b"Subject: dots\n\n.\n..\n.a\na.b\n...\n.\n",
    "dot-in-header": b".x: y\nSubject: d\n\nbody\n",
    "no-final-line-end": b"Subject: n\n\nlast line has no newline",
    "final-dot": b"Subject: n\n\nx\n.",
    "header-only": b"Subject: h\nX-A: b\n",
    "empty": b"",
    "crlf": b"Subject: c\r\n\r\nhi\r\n",
    "mixed-line-ends": b"Subject: m\n\na\r\nb\nc\rd\r\n",
    "8-bit": b"Subject: e\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
    b"Content-Transfer-Encoding: 8bit\n\ncaf\xc3\xa9\n",
    "8-bit-header": b"Subject: caf\xc3\xa9\n\nx\n",
    "nul": b"Subject: z\n\na\0b\n",
    "long-lines": b"X-Long: %b\n\n%b\n" % (b"h" * 69_992, b"b" * 100_000),
    "from-line": b"Subject: f\n\nhello\n\nFrom bob Thu Jan  1 00:00:00 1970\nSubject: fake\n\nx\n",
    "lone-cr-at-end": b"Subject: r\n\nx\r",
    "blank-lines-at-end": b"Subject: b\n\nx\n\n\n",
}
"""Messages in the forms in which a store may hold them: what has gone wrong in one server or another."""

THREE = (b"Subject: one\n\n1\n", b"Subject: two\n\n2\n2\n", b"Subject: three\n\n3\n3\n3\n")
"""Three messages that nobody confuses."""

ARRIVED = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""When every message arrives: copies must not differ by their time."""

LEGAL_UID = re.compile(r"[\x21-\x7e]{1,70}")
"""RFC 1939 section 7, UIDL."""


class StoreUnderTest(Protocol):
    """What the tests ask of a store: one maildrop, which is empty at first."""

    def open(self) -> Maildrop:
        """Open it, as a login does."""
        ...

    def deliver(self, content: bytes) -> None:
        """Put a message behind the others, whether a session is open or not."""
        ...


class StorePlugin(Protocol):
    """A storage plugin that can deliver too."""

    def popframe_open_maildrop(self, account: Account) -> Maildrop | None:
        """Open a maildrop."""
        ...

    def popframe_deliver_message(self, account: Account, message: IncomingMessage) -> bool | None:
        """Put a message into a maildrop."""
        ...


class HookedStore:
    """The store under test for a plugin that has both hooks."""

    def __init__(self, plugin: StorePlugin, account: Account | None = None) -> None:
        """Choose the maildrop.

        Args:
            plugin: The plugin, built with its settings.
            account: Whose maildrop; alice's unless given.
        """
        self._plugin = plugin
        self._account = account or Account("alice")

    def open(self) -> Maildrop:
        """Open the maildrop."""
        maildrop = self._plugin.popframe_open_maildrop(self._account)
        assert maildrop is not None
        return maildrop

    def deliver(self, content: bytes) -> None:
        """Put a message into the maildrop."""
        message = IncomingMessage("bob@example.org", ARRIVED, content)
        assert self._plugin.popframe_deliver_message(self._account, message) is True


def as_sent(content: bytes) -> bytes:
    """Return the octets that a client gets, byte-stuffing undone: CRLF for each line end, the last one included.

    A CR that no LF follows is not a line end.
    """
    lines = re.sub(rb"(?<!\r)\n", b"\r\n", content)
    return lines if lines.endswith(b"\n") or not lines else lines + b"\r\n"


def read_whole(maildrop: Maildrop, index: int) -> bytes:
    """Return one message as it is sent."""
    return as_sent(b"".join(maildrop.read_message(index)))


class MaildropContract:
    """Derive from this; see the module's description."""

    exclusive: ClassVar[bool] = True
    """A second session is refused while one is open (RFC 1939 section 4); False for a store that serves both."""

    @pytest.fixture
    def store(self) -> StoreUnderTest:
        """Return the store, its maildrop empty. To be overridden."""
        raise NotImplementedError("derive from MaildropContract and override the fixture 'store'")

    def kept_form(self, content: bytes) -> bytes:
        """Return a message as the store keeps it, where that is not as it was delivered (mbox quotes From_ lines)."""
        return content

    def fill(self, store: StoreUnderTest, contents: Iterable[bytes]) -> list[bytes]:
        """Deliver messages; return what a client should get of each."""
        delivered = list(contents)
        for content in delivered:
            store.deliver(content)
        return [as_sent(self.kept_form(content)) for content in delivered]

    def look(self, store: StoreUnderTest) -> dict[str, bytes]:
        """Return the whole maildrop, unique-ids and messages, as one session sees it, and check its sizes."""
        maildrop = store.open()
        try:
            uids = list(maildrop.message_uids())
            messages = [read_whole(maildrop, index) for index in range(len(uids))]

            assert list(maildrop.message_octets()) == [len(message) for message in messages]
            return dict(zip(uids, messages, strict=True))
        finally:
            maildrop.close()

    def remove(self, store: StoreUnderTest, deleted: set[int]) -> None:
        """Remove messages in a session of their own."""
        maildrop = store.open()
        try:
            maildrop.commit(deleted, set())
        finally:
            maildrop.close()

    # --- what is in it ---

    def test_maildrop_without_mail_is_empty(self, store: StoreUnderTest) -> None:
        """A user without mail logs in and finds none (RFC 1939 section 5, STAT)."""
        maildrop = store.open()
        sizes, uids = list(maildrop.message_octets()), list(maildrop.message_uids())
        maildrop.commit(set(), set())
        maildrop.close()

        assert (sizes, uids) == ([], [])

    @pytest.mark.parametrize("name", SAMPLES)
    def test_message_is_sent_as_it_was_delivered(self, store: StoreUnderTest, name: str) -> None:
        """No octet is lost, added or changed but line ends, and the size says so (RFC 1939 sections 5 and 11)."""
        expected = self.fill(store, [SAMPLES[name]])

        assert list(self.look(store).values()) == expected

    def test_all_messages_are_sent_in_the_order_of_their_arrival(self, store: StoreUnderTest) -> None:
        """One kind of message does not spoil the next (RFC 1939 section 4)."""
        expected = self.fill(store, SAMPLES.values())

        assert list(self.look(store).values()) == expected

    # --- unique-ids ---

    def test_uids_are_legal_and_distinct_for_copies_too(self, store: StoreUnderTest) -> None:
        """1 to 70 printable characters, and never two the same (RFC 1939 section 7, UIDL)."""
        contents = [*SAMPLES.values(), *THREE, THREE[0], THREE[0]]
        self.fill(store, contents)
        uids = list(self.look(store))

        assert len(uids) == len(contents)
        assert [uid for uid in uids if not LEGAL_UID.fullmatch(uid)] == []

    def test_uids_stay_over_sessions_and_new_mail(self, store: StoreUnderTest) -> None:
        """A message keeps its unique-id, also when a session ended without an update (RFC 1939 section 7)."""
        self.fill(store, THREE)
        before = list(self.look(store))
        again = list(self.look(store))
        self.fill(store, [THREE[0]])

        assert again == before
        assert list(self.look(store))[:3] == before

    @pytest.mark.parametrize("deleted", range(3))
    def test_uids_stay_when_a_neighbour_is_removed(self, store: StoreUnderTest, deleted: int) -> None:
        """What is left keeps its unique-ids (RFC 1939 section 7)."""
        self.fill(store, THREE)
        before = list(self.look(store))
        self.remove(store, {deleted})

        assert list(self.look(store)) == [uid for index, uid in enumerate(before) if index != deleted]

    def test_uid_is_not_given_to_another_message(self, store: StoreUnderTest) -> None:
        """A client that remembers a removed message must not take a new one for it (RFC 1939 section 7)."""
        self.fill(store, THREE)
        before = set(self.look(store))
        self.remove(store, {0, 1, 2})
        self.fill(store, [b"Subject: four\n\n4\n", b"Subject: five\n\n5\n"])

        assert before.isdisjoint(self.look(store))

    # --- a snapshot ---

    def test_session_does_not_see_mail_that_arrives(self, store: StoreUnderTest) -> None:
        """Set, order, sizes and unique-ids are those of the login (RFC 1939 section 4)."""
        expected = self.fill(store, THREE)
        maildrop = store.open()
        before = list(maildrop.message_octets()), list(maildrop.message_uids())
        store.deliver(b"Subject: four\n\n4\n")
        after = list(maildrop.message_octets()), list(maildrop.message_uids())
        messages = [read_whole(maildrop, index) for index in range(3)]
        maildrop.close()

        assert after == before
        assert messages == expected
        assert len(self.look(store)) == 4

    def test_message_can_be_read_twice(self, store: StoreUnderTest) -> None:
        """RETR after RETR or TOP gives the same (RFC 1939 section 5)."""
        expected = self.fill(store, [SAMPLES["long-lines"], *THREE])
        maildrop = store.open()
        next(maildrop.read_message(0))  # and given up, as TOP does
        twice = [read_whole(maildrop, index) for index in (0, 1, 0, 1)]
        maildrop.close()

        assert twice == [expected[0], expected[1]] * 2

    def test_messages_can_be_read_interleaved(self, store: StoreUnderTest) -> None:
        """Each reading has its own place."""
        long = [b"Subject: %d\n\n" % number + b"%d\n" % number * 100_000 for number in range(3)]
        expected = self.fill(store, long)
        maildrop = store.open()
        pieces = zip_longest(*(maildrop.read_message(index) for index in range(3)), fillvalue=b"")
        messages = [as_sent(b"".join(column)) for column in zip(*pieces, strict=True)]
        maildrop.close()

        assert messages == expected

    # --- the update ---

    @pytest.mark.parametrize("deleted", [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)], ids=str)
    def test_commit_removes_exactly_the_marked_messages(self, store: StoreUnderTest, deleted: tuple[int, ...]) -> None:
        """All of the marked messages go, and nothing else changes (RFC 1939 section 6)."""
        self.fill(store, THREE)
        before = self.look(store)
        self.remove(store, set(deleted))
        left = [item for index, item in enumerate(before.items()) if index not in deleted]

        assert list(self.look(store).items()) == left

    def test_commit_removes_every_other_message(self, store: StoreUnderTest) -> None:
        """Removing many scattered messages leaves the others as they were (RFC 1939 section 6)."""
        self.fill(store, [*SAMPLES.values(), *THREE] * 2)
        before = list(self.look(store).items())
        deleted = set(range(0, len(before), 2))
        maildrop = store.open()
        maildrop.commit(deleted, set(range(len(before))))
        maildrop.close()

        assert list(self.look(store).values()) == [message for _, message in before[1::2]]

    def test_close_without_commit_changes_nothing(self, store: StoreUnderTest) -> None:
        """A session that ends without QUIT removes nothing (RFC 1939 section 3)."""
        self.fill(store, THREE)
        before = self.look(store)
        maildrop = store.open()
        read_whole(maildrop, 1)
        maildrop.close()

        assert self.look(store) == before

    @pytest.mark.parametrize("deleted", [{1}, {2}, {0, 1, 2}], ids=str)
    def test_commit_keeps_mail_that_arrived_meanwhile(self, store: StoreUnderTest, deleted: set[int]) -> None:
        """New mail survives the update and is there in the next session (RFC 1939 section 6)."""
        self.fill(store, THREE)
        before = list(self.look(store).items())
        maildrop = store.open()
        arrived = self.fill(store, [b"Subject: four\n\n4\n", SAMPLES["dots"]])
        maildrop.commit(deleted, set())
        maildrop.close()
        after = list(self.look(store).items())
        left = [item for index, item in enumerate(before) if index not in deleted]

        assert after[: len(left)] == left
        assert [message for _, message in after[len(left) :]] == arrived

    # --- one session at a time ---

    def test_second_session_is_refused_while_one_is_open(self, store: StoreUnderTest) -> None:
        """The maildrop is held from login to the end, whether or not there is mail in it (RFC 1939 section 4)."""
        if not self.exclusive:
            pytest.skip("this store serves several sessions of one maildrop")
        for contents in ((), THREE):
            expected = self.fill(store, contents)
            maildrop = store.open()
            with pytest.raises(MaildropInUse):
                store.open()
            messages = [read_whole(maildrop, index) for index in range(len(expected))]
            maildrop.close()

            assert messages == expected
            assert list(self.look(store).values()) == expected

    def test_next_session_begins_at_once(self, store: StoreUnderTest) -> None:
        """Nothing is held when a session has ended, with an update or without (RFC 1939 section 6)."""
        self.fill(store, THREE)
        for number in range(20):
            maildrop = store.open()
            if number % 2:
                maildrop.commit(set(), {0})
            maildrop.close()

        assert len(self.look(store)) == 3
