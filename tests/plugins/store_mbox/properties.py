"""What holds for any octets at all: as a spool, as an index, as a journal. Shared by hypothesis and the fuzzer.

A property raises ``AssertionError`` when it does not hold; whatever else it raises is a defect too, since the only
way in which a store may fail is a :class:`popframe.Refusal`.
"""

from __future__ import annotations

from contextlib import closing, suppress
from zlib import crc32

from popframe import Refusal, TemporaryFailure
from popframe_store_mbox.index_format import HEADER_OCTETS, ROW_OCTETS, Header

from .spool_model import Contents, check_scan, may_look_different, places_of
from .spool_room import Case, Damage, Room, contents_of, files_at, room

CHECKSUM_OCTETS = 4


def check_any_spool(case: Case) -> None:
    """Whatever is in a spool, it is refused and left alone, or every octet of it is accounted for."""
    with room(case, {"alice": case.spool}) as made:
        expected = check_scan(case.spool, case.window_octets)
        assert made.contents() == expected
        if expected is not None:
            _remove(made, case)
            is_steady = not may_look_different(case.spool)
            _check_survivors(made, case, case.spool, expected, is_steady=is_steady)


def _remove(made: Room, case: Case) -> None:
    """Remove messages in a session."""
    session = made.opened()
    try:
        session.commit(case.deleted(len(session.message_octets())), set())
    finally:
        session.close()


def _check_survivors(made: Room, case: Case, before: bytes, contents: Contents, *, is_steady: bool) -> None:
    """Exactly the octets of the marked messages have gone; the others have their text and their unique-id.

    Where the limits of messages may move, the octets are all that is compared.
    """
    deleted = case.deleted(len(contents.uids))
    places = places_of(before, contents.texts)
    begin = places[0][0] if places else len(before)
    kept = [before[start:end] for message, (start, end) in enumerate(places) if message not in deleted]
    assert made.spool.read_bytes() == before[:begin] + b"".join(kept)
    assert not made.journals()

    after = _contents_at_second_try(made, case)
    assert after is not None
    if is_steady:
        left = [message for message in range(len(places)) if message not in deleted]
        assert after.texts == [contents.texts[message] for message in left]
        digests = [one.partition("-")[0] for one in contents.uids]
        for message, name in zip(left, after.uids, strict=True):
            assert name.partition("-")[0] == digests[message]
            assert name == contents.uids[message] or digests.count(digests[message]) > 1


def check_any_index(case: Case) -> None:
    """A maildrop is the same with an index, without one, and with a damaged one; that may cost one login."""
    grown = case.spool + case.appended
    is_steady = not may_look_different(case.spool) and not may_look_different(grown)
    with room(case, {"alice": case.spool}, is_indexed=True) as made:
        expected = check_scan(case.spool, case.window_octets)
        assert made.contents() == expected
        assert made.contents() == expected
        if case.is_damaged_early:
            made.damage_index(case)
        with made.spool.open("ab") as spool:
            spool.write(case.appended)
        expected = check_scan(grown, case.window_octets)
        found = _contents_at_second_try(made, case)
        _check_same(found, expected, is_steady=is_steady)
        made.damage_index(case)
        if case.reads_first or not is_steady:  # a damaged index is made anew, and then limits that may move have moved
            found = _contents_at_second_try(made, case)
            _check_same(found, expected, is_steady=is_steady)
        if found is not None:
            try:
                _remove(made, case)
            except TemporaryFailure:
                assert case.damage != Damage()
                assert made.spool.read_bytes() == grown
                found = made.contents()
                assert found is not None
                _remove(made, case)
            _check_survivors(made, case, grown, found, is_steady=is_steady)
            _check_same(made.contents(), check_scan(made.spool.read_bytes(), case.window_octets), is_steady=is_steady)


def _contents_at_second_try(made: Room, case: Case) -> Contents | None:
    """Return what a session is told, or the next one when damage is noticed in the first."""
    try:
        return made.contents()
    except TemporaryFailure:
        assert case.damage != Damage()
        return made.contents()


def _check_same(found: Contents | None, expected: Contents | None, *, is_steady: bool) -> None:
    """Compare what a session with an index is told with what a scan finds.

    Where the limits of messages may move, an index that knows them from before may keep them.
    """
    assert found == expected if is_steady else (found is None) == (expected is None)


def check_hostile_index(case: Case) -> None:
    """An index whose checksums are right and whose numbers lie is believed, refused or scanned over; nothing breaks.

    Only the user whose sessions read it can have written it, so what it says need not be right. Nothing but a removal
    touches the spool.
    """
    with room(case, {"alice": case.spool}, is_indexed=True) as made:
        if made.contents() is None or not made.index.exists():
            return
        hostile = resealed(case.damage.applied(made.index.read_bytes()))
        made.write(made.index.name, hostile)
        with suppress(Refusal), closing(made.opened()) as session:
            contents_of(session)
        assert made.spool.read_bytes() == case.spool
        made.write(made.index.name, hostile)
        with suppress(Refusal):
            _remove(made, case)
        made.index.unlink(missing_ok=True)
        left = made.spool.read_bytes()
        assert made.contents() == check_scan(left, case.window_octets)


def resealed(octets: bytes) -> bytes:
    """Return an index with checksums that are right for what it says, but for those of its listings."""
    block = octets[: HEADER_OCTETS - CHECKSUM_OCTETS].ljust(HEADER_OCTETS - CHECKSUM_OCTETS, b"\0")
    sealed = bytearray(block + _checksum(block) + octets[HEADER_OCTETS:])
    header = Header.parsed(bytes(sealed[:HEADER_OCTETS]))
    for segment in header.segments if header else ():
        for at in range(segment.offset, min(segment.list_offset, len(sealed)), ROW_OCTETS):
            end = at + ROW_OCTETS - CHECKSUM_OCTETS
            sealed[end : end + CHECKSUM_OCTETS] = _checksum(sealed[at:end])
    return bytes(sealed)


def _checksum(octets: bytes | bytearray) -> bytes:
    return crc32(octets).to_bytes(CHECKSUM_OCTETS, "little")


def check_any_interruption(case: Case) -> None:
    """A removal that is cut off at any call has happened or has not, and mail that arrives meanwhile is there."""
    interrupted = files_at(case)
    if interrupted is None:
        return
    files, after = interrupted
    files["alice"] += case.appended
    with room(case, files) as made:
        session_or_refusal = _opened_or_refusal(made)
        left = made.spool.read_bytes()
        assert left in (case.spool + case.appended, after + case.appended)
        assert not made.journals()
        assert session_or_refusal == check_scan(left, case.window_octets)


def _opened_or_refusal(made: Room) -> Contents | None:
    """Open a maildrop twice: the first time, what was begun is finished."""
    with suppress(Refusal):
        made.opened().close()
    return made.contents()


def check_any_journal(case: Case) -> None:
    """A journal that is not that of the spool, or no journal at all, changes nothing in the spool."""
    interrupted = files_at(case)
    names = interrupted[0] if interrupted else {}
    journals = {name: octets for name, octets in names.items() if "redo" in name} or {".alice.popframe-redo": b""}
    spool = case.appended
    files = {name: case.damage.applied(octets) for name, octets in journals.items()}
    with room(case, {"alice": spool, **files}) as made:
        found = _opened_or_refusal(made)
        assert made.spool.read_bytes() == spool
        assert found == check_scan(spool, case.window_octets)


def check_any_private_copy(case: Case) -> None:
    """Whatever is in a private copy and in the spool: a session has the one in front of the other, and so has QUIT."""
    copied, arrived = case.spool, case.appended
    with room(case, {"alice": arrived, ".alice.pop": copied}, is_classic=True) as made:
        try:
            session = made.opened()
        except Refusal:
            assert made.spool.read_bytes() == arrived
            assert not made.private_copy.exists() or made.private_copy.read_bytes() == copied
            return
        with closing(session):
            merged = made.private_copy.read_bytes() if made.private_copy.exists() else b""
            assert merged in (copied + separator + arrived for separator in (b"", b"\n", b"\n\n", b"\r\n\n"))
            contents = contents_of(session)
            deleted = case.deleted(len(contents.octets))
            session.commit(deleted, set())
        left = made.spool.read_bytes()
        assert not made.private_copy.exists()
        assert not made.journals()
    with room(case, {"alice": merged}) as made:
        assert made.contents() == contents
        _remove(made, case)
        expected = made.spool.read_bytes()
        assert left == expected or (len(deleted) == len(contents.octets) and not expected.strip(b"\r\n"))


PROPERTIES = (
    check_any_spool,
    check_any_index,
    check_hostile_index,
    check_any_interruption,
    check_any_journal,
    check_any_private_copy,
)
"""All of them."""
