"""What an mbox file holds, worked out from its octets alone: the judge of every session in the fuzz tests.

The scanner is judged first, by a reading of the file that knows nothing of windows, columns or limits; what it finds
then judges the sessions, which have an index, locks and a journal between them and the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Self

from popframe import PermanentFailure
from popframe.engine.wire import byte_stuffed, with_crlf
from popframe_store_mbox.columns import Index
from popframe_store_mbox.from_line import FROM_LINE, MAX_FROM_LINE_OCTETS, NEXT_FROM_LINE
from popframe_store_mbox.scan import scan

BLANK_LINES = re.compile(rb"(?:\r?\n)*")
SEPARATORS = (b"", b"\n", b"\r\n")
CONTENT_LENGTH = re.compile(rb"\ncontent-length[ \t]*:[ \t]*([0-9]+)", re.IGNORECASE)
INTERNAL_DATA = re.compile(rb"\nSubject:[ \t]*DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA", re.IGNORECASE)
MAX_WINDOWS = 100
"""A file is read in no more pieces than that: many files say more than many pieces of one."""
LEGAL_UID = re.compile(r"[!-~]{1,70}")
"""RFC 1939 section 7."""


class Contents(NamedTuple):
    """Everything that a maildrop says.

    Attributes:
        octets: The sizes.
        uids: The unique-ids.
        scan_listing: The lines of LIST.
        uid_listing: The lines of UIDL.
        texts: The messages as stored.
    """

    octets: Sequence[int]
    uids: Sequence[str]
    scan_listing: bytes
    uid_listing: bytes
    texts: Sequence[bytes]

    @classmethod
    def of(cls, octets: bytes, index: Index) -> Self:
        """Return what a scan of a file has found."""
        texts = [octets[start:end] for start, end in zip(index.content, index.end, strict=True)]
        lists = b"".join(index.list_lines()), b"".join(index.uid_lines())
        return cls(list(index.octets), list(index.uids), *lists, texts)


def scanned(octets: bytes, window_octets: int | None = None) -> Index | None:
    """Scan octets as a file; None when they are refused."""
    fd = os.memfd_create("mbox")
    try:
        with open(fd, "wb", buffering=0, closefd=False) as file:
            file.write(octets)
        return scan(fd, len(octets)) if window_octets is None else scan(fd, len(octets), window_octets)
    except PermanentFailure:
        return None
    finally:
        os.close(fd)


def sent(text: bytes) -> bytes:
    """Return what the engine sends for a message, before leading dots are doubled."""
    return b"".join(with_crlf([text]))


def from_lines(octets: bytes) -> list[tuple[int, int]]:
    """Return where the From_ lines begin and end, one line after the other."""
    found = []
    at = 0
    while at < len(octets):
        after = octets.find(b"\n", at) + 1 or len(octets)
        match = FROM_LINE.match(octets, at)
        if match:
            assert match.end(1) == after <= at + MAX_FROM_LINE_OCTETS
            found.append((at, after))
        at = after
    return found


def blank_line_behind(octets: bytes) -> bytes:
    """Return the blank line that ends a message and belongs to none."""
    return next((line for line in (b"\r\n", b"\n") if octets.endswith(b"\n" + line)), b"")


def check_scan(octets: bytes, window_octets: int) -> Contents | None:
    """Judge a scan; return what it has found, None when the file is refused.

    Args:
        octets: The file.
        window_octets: Another size of window, which has to give the same.
    """
    index = scanned(octets)
    blank = BLANK_LINES.match(octets)
    first = blank.end() if blank else 0
    separators = from_lines(octets)
    is_mbox = first == len(octets) or bool(separators and separators[0][0] == first)
    assert [match.start() + 1 for match in NEXT_FROM_LINE.finditer(octets)] == [at for at, _ in separators if at]
    windowed = scanned(octets, max(window_octets, len(octets) // MAX_WINDOWS + 1))

    assert (index is not None) == is_mbox
    if index is None or windowed is None:
        assert windowed is index
        return None
    assert replace(windowed, has_dot_lines=index.has_dot_lines) == index
    _check_places(octets, index, first, dict(separators))
    if not CONTENT_LENGTH.search(octets):
        assert [octets[end:following] for end, following in zip(index.end, index.next, strict=True)] == [
            blank_line_behind(octets[content - 1 : following])
            for content, following in zip(index.content, index.next, strict=True)
        ]
        assert list(index.start) == [at for at, _ in separators][len(separators) - len(index.start) :]
    contents = Contents.of(octets, index)
    for one in (index, windowed):  # they may take different messages for long ones, which are not searched for dots
        check_contents(octets, contents, list(map(bool, one.has_dot_lines)))
    return contents


def _check_places(octets: bytes, index: Index, first: int, separators: dict[int, int]) -> None:
    """Every octet belongs to one message, to the blank lines before the first, or to the pseudo message."""
    begins = [*index.start, len(octets)]
    assert index.size == len(octets)
    assert list(index.next) == begins[1:]
    assert begins[0] in (first, len(octets)) or INTERNAL_DATA.search(octets, first, begins[0])
    for start, content, header_end, end, following in zip(
        index.start, index.content, index.header_end, index.end, index.next, strict=True
    ):
        assert separators[start] == content
        assert start < header_end <= following
        assert content <= end <= following
        assert octets[end:following] in SEPARATORS


def check_contents(octets: bytes, contents: Contents, has_dot_lines: Sequence[bool]) -> None:
    """Judge what a maildrop says of a file, without asking the scanner.

    Sizes are those of what is sent (RFC 1939 section 11), unique-ids are legal and distinct (section 7), the listings
    say the same, and messages, From_ lines and the blank lines between make up the file.
    """
    answers = [sent(text) for text in contents.texts]
    numbered = enumerate(zip(contents.octets, contents.uids, strict=True), 1)
    lines = [(f"{number} {size}\r\n", f"{number} {uid}\r\n") for number, (size, uid) in numbered]

    assert list(contents.octets) == list(map(len, answers))
    assert len(set(contents.uids)) == len(contents.uids) == len(contents.texts)
    assert all(map(LEGAL_UID.fullmatch, contents.uids))
    assert contents.scan_listing.decode() == "".join(line for line, _ in lines)
    assert contents.uid_listing.decode() == "".join(line for _, line in lines)
    for has_dots, answer in zip(has_dot_lines, answers, strict=True):
        assert has_dots or b"".join(byte_stuffed([answer])) == answer
    places_of(octets, contents.texts)


def places_of(octets: bytes, texts: Sequence[bytes]) -> list[tuple[int, int]]:
    """Return where each message begins, From_ line included, and where the next one does.

    The messages follow each other in the file, and nothing but a blank line lies between; only a pseudo message may
    precede them.
    """
    begins = [at for at, _ in from_lines(octets)] or [len(octets)]
    if not INTERNAL_DATA.search(octets, begins[0]):
        begins = begins[:1]
    elif not texts:
        return []
    found = next((places for at in begins if (places := _places_from(octets, texts, at)) is not None), None)
    assert found is not None, f"{texts} are not the messages of {octets!r}"
    return found


def _places_from(octets: bytes, texts: Sequence[bytes], at: int) -> list[tuple[int, int]] | None:
    """Return the places of messages that follow each other from one place to the end; None when they do not."""
    places = []
    for text in texts:
        from_line = FROM_LINE.match(octets, at)
        if not from_line or not octets.startswith(text, from_line.end(1)):
            return None
        end = from_line.end(1) + len(text)
        ends = (end + len(separator) for separator in SEPARATORS if octets.startswith(separator, end))
        following = next((one for one in ends if one == len(octets) or FROM_LINE.match(octets, one)), -1)
        places.append((at, following))
        at = following
    return places if at == len(octets) else None


def may_look_different(octets: bytes) -> bool:
    """Tell whether the limits of messages may move when others come or go, as the README of the plugin says.

    A Content-Length that points behind its message is ignored until a From_ line or the end of the file happens to be
    there; and a message that looks like the pseudo message of an IMAP server is shown until it is the first.
    """
    index = scanned(octets)
    if index is None:
        return False
    for start, header_end, following in zip(index.start, index.header_end, index.next, strict=True):
        head = octets[start:header_end]
        lengths = [int(length) for length in CONTENT_LENGTH.findall(head)]
        if any(header_end + length + 3 > following for length in lengths) or INTERNAL_DATA.search(head):
            return True
    return False
