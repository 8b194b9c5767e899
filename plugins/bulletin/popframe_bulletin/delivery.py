"""All bulletins of a login, each exactly once, or none.

A delivery and the note of it are two writes, and a process can die between any two. So, under a lock:

1. the next ``.popbull`` is written beside the old one, which takes all the room that will be needed;
2. the record says what is about to be delivered, under a token that nobody can guess;
3. the messages are delivered, the token in a field of each;
4. the next ``.popbull`` takes the place of the old one;
5. the record is emptied.

A login that finds a record and the old ``.popbull`` looks for the token in the maildrop. What it finds whole was
delivered; what is torn it removes; what is missing is still to come. If step 3 or 4 fails, what was delivered is
removed again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress

from popframe import AccountMail, HookContractError, IncomingMessage, PopframeError
from popframe_bulletin import popbull
from popframe_bulletin.finding import Found, find, text_length
from popframe_bulletin.popbull import Place, Received
from popframe_bulletin.record import Record, RecordFile

Messages = Sequence[tuple[int, IncomingMessage]]
"""What to deliver: number and message, in order."""

_logger = logging.getLogger("popframe.bulletin")


class Delivery:
    """The deliveries of one user while the lock is held."""

    def __init__(self, place: Place, record: RecordFile, mail: AccountMail) -> None:
        """Take what belongs to the user.

        Args:
            place: The user's files.
            record: The record, locked.
            mail: The way to the maildrop.
        """
        self._place = place
        self._record = record
        self._mail = mail

    def finish(self) -> None:
        """Bring to its end what a login has begun that died.

        Raises:
            PopframeError: The maildrop cannot be looked at now.
            NoState: What the user has cannot be read.
            OSError: It cannot be written.
        """
        record = self._record.read()
        before = popbull.read(self._place)
        if record is not None and _content(before) == record.before:
            self._take_note_of(record, self._keep_whole(record))
        popbull.sync_folder(self._place.popbull)
        self._record.clear()

    def deliver(self, token: str, messages: Messages, before: Received | None, then: Received) -> None:
        """Deliver all, and take note of it; or nothing.

        Args:
            token: What stands in the mark of each.
            messages: What to deliver.
            before: What the user has.
            then: What the user has afterwards.

        Raises:
            PopframeError: The store does not take them.
            OSError: What the user has cannot be written.
        """
        lengths = tuple((number, text_length(message.content)) for number, message in messages)
        popbull.write_next(self._place, then)
        self._record.write(Record(token, _content(before), then.content(), lengths))
        popbull.sync_folder(self._place.popbull)
        delivered = 0
        try:
            for _, message in messages:
                self._mail.deliver(message)
                delivered += 1
            popbull.take_next(self._place)
        except (PopframeError, OSError) as exc:
            if delivered or isinstance(exc, HookContractError):
                self._withdraw(token, len(messages))
            self._record.clear()
            with suppress(OSError):
                os.unlink(self._place.next_popbull)
            raise
        popbull.sync_folder(self._place.popbull)
        self._record.clear()

    def note(self, then: Received) -> None:
        """Take note that the user needs nothing of what is new.

        Raises:
            OSError: It cannot be written.
        """
        popbull.write_next(self._place, then)
        popbull.take_next(self._place)

    def _take_note_of(self, record: Record, delivered: set[int]) -> None:
        """Let these count as delivered; if that cannot be written, they are removed again."""
        then = popbull.parse(record.then)
        if then is None or not delivered:
            return
        missing = {number for number, _ in record.messages} - delivered
        received = Received(then.last, then.later | missing)
        try:
            if not popbull.has_next(self._place, received):
                popbull.write_next(self._place, received)
            popbull.take_next(self._place)
        except OSError:
            self._withdraw(record.token, len(record.messages))
            self._record.clear()
            raise

    def _keep_whole(self, record: Record) -> set[int]:
        """Remove what is torn; return the numbers of which all messages are there."""
        with closing(self._mail.open()) as maildrop:
            found = find(maildrop, record.token, len(record.messages))
            whole = _whole_numbers(record, found)
            torn = {
                message.index
                for position, message in found.items()
                if position >= len(record.messages) or record.messages[position][0] not in whole
            }
            if torn:
                maildrop.commit(torn, set())
        return whole

    def _withdraw(self, token: str, count: int) -> None:
        """Remove what was delivered, so that none or all of it is there.

        Raises:
            PopframeError: It cannot be; the record stays, and the next login takes note of what is there.
        """
        with closing(self._mail.open()) as maildrop:
            if found := find(maildrop, token, count):
                maildrop.commit({message.index for message in found.values()}, set())


def _whole_numbers(record: Record, found: Mapping[int, Found]) -> set[int]:
    numbers = {number for number, _ in record.messages}
    for position, (number, length) in enumerate(record.messages):
        if position not in found or found[position].length != length:
            numbers.discard(number)
    return numbers


def _content(received: Received | None) -> bytes:
    return b"" if received is None else received.content()
