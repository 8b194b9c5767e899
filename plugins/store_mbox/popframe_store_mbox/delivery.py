"""New mail at the end of a spool: all of it on disk, or nothing."""

from __future__ import annotations

import logging
import os
import re

from popframe import IncomingMessage, PermanentFailure
from popframe_store_mbox.file import os_errors_refused, read_at, write_at
from popframe_store_mbox.from_line import make_from_line, missing_line_end, missing_separator
from popframe_store_mbox.lock import LockPolicy
from popframe_store_mbox.place import Place
from popframe_store_mbox.spool import locked_spool

_FROM_IN_TEXT = re.compile(rb"\n(>*From )")
_CONTENT_LENGTH = re.compile(rb"\nContent-Length[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*", re.IGNORECASE)
_logger = logging.getLogger("popframe.store_mbox")


def deliver(place: Place, policy: LockPolicy, message: IncomingMessage) -> None:
    """Append a message to the spool, which is created when there is none.

    Raises:
        TemporaryFailure: Not delivered; nothing of it is left.
        PermanentFailure: The same, and trying again will not help.
    """
    if message.received.tzinfo is None:
        raise PermanentFailure("the time at which the message was received has no time zone")
    text = make_from_line(message.sender, message.received) + stored_form(message.content) + b"\n"
    with os_errors_refused(f"delivering to {place.spool}"), locked_spool(place, policy, create=True) as spool:
        if spool is None:
            raise PermanentFailure(f"{place.spool} cannot be created")
        _append(spool, text, place.spool)


def stored_form(content: bytes) -> bytes:
    """Return a message as it is stored: LF line ends, the last line ended, From_ lines quoted.

    Quoting is that of mboxrd, which can be undone: every line of ``>`` signs and ``From `` gets one more ``>``. A
    Content-Length is dropped, because it would count other octets than these (as postfix does).
    """
    text = b"\n" + content.replace(b"\r\n", b"\n")
    header_end = text.find(b"\n\n")
    header = text if header_end < 0 else text[:header_end]
    text = _CONTENT_LENGTH.sub(b"", header) + (b"" if header_end < 0 else text[header_end:])
    text = _FROM_IN_TEXT.sub(rb"\n>\1", text)[1:]
    return text + missing_line_end(text)


def _append(spool: int, text: bytes, path: str) -> None:
    """Write at the end of the locked spool, or leave it as it was."""
    size = os.fstat(spool).st_size
    try:
        tail = read_at(spool, min(size, 3), max(size - 3, 0))
        write_at(spool, missing_separator(tail) + text, size)
        os.fsync(spool)
    except BaseException:
        try:
            os.ftruncate(spool, size)
            os.fsync(spool)
        except OSError:
            _logger.exception("%s: a part of a message could not be taken back", path)
        raise
