"""Any octets at all, as a spool, an index or a journal: nothing is lost, and nothing fails but by a refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import assume, example, given
from hypothesis import strategies as st

from .fuzz_input import decoded, encoded
from .mbox_pieces import (
    FIELDS,
    FROM,
    FROM_LINES,
    HUGE_LENGTHS,
    INTERNAL_DATA,
    LENGTH,
    LINE_ENDS,
    NEAR_FROM_LINES,
    TEXTS,
)
from .properties import (
    PROPERTIES,
    check_any_index,
    check_any_interruption,
    check_any_journal,
    check_any_private_copy,
    check_any_spool,
    check_hostile_index,
)
from .spool_room import Case, Damage

fields = st.one_of(
    st.sampled_from(FIELDS),
    st.one_of(st.integers(0, 400), st.sampled_from(HUGE_LENGTHS)).map((LENGTH + b"%d\n").__mod__),
)
line_ends = st.sampled_from([b"\n", *LINE_ENDS])
texts = st.sampled_from(TEXTS)
messages = st.tuples(
    st.sampled_from(FROM_LINES), st.lists(fields, max_size=3), line_ends, st.lists(st.one_of(texts, line_ends))
).map(lambda parts: parts[0] + b"".join(parts[1]) + parts[2] + b"".join(parts[3]))
pieces = st.one_of(
    messages, messages, st.sampled_from(NEAR_FROM_LINES), fields, line_ends, texts, st.binary(max_size=8)
)
some_pieces = st.lists(pieces, max_size=12).map(b"".join)
several = st.lists(
    st.tuples(messages, st.sampled_from([b"\n\n", b"\n", b""])).map(b"".join), min_size=2, max_size=8
).map(b"".join)
copies = st.builds(lambda message, count, rest: message * count + rest, messages, st.integers(2, 5), some_pieces)
mboxes = st.one_of(several, several, some_pieces.map(FROM.__add__), copies, some_pieces.map(INTERNAL_DATA.__add__))
files = st.one_of(mboxes, mboxes, mboxes, some_pieces, st.binary())
marks = st.one_of(st.integers(0, 0xFF), st.sampled_from([0, 1, 2, 5, 6, 0xFFFF]))

tails = st.one_of(st.just(b""), st.binary(max_size=300))
# A header of 4096 octets and a filter of 512 precede the rows of an index.
places = st.one_of(st.integers(0, 300), st.integers(4096, 4700), st.integers(4600, 5200), st.integers(4600, 10_000))
flips = st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=3).map(tuple)
holes = st.tuples(st.sampled_from([0, 4096, 4608]), st.sampled_from([64, 512, 4096]))
damages = st.one_of(
    st.just(Damage()),
    st.builds(Damage, flips=flips),
    st.builds(Damage, hole=holes),
    st.builds(Damage, keep=st.integers(0, 6000), tail=tails),
    st.builds(Damage, keep=st.just(0), tail=st.binary(max_size=5000)),
)
cases = st.builds(
    Case,
    spool=files,
    appended=st.one_of(st.just(b""), mboxes, some_pieces),
    marks=marks,
    damage=damages,
    crash_at=st.integers(0, 20),
    reads_first=st.booleans(),
    is_damaged_early=st.booleans(),
    is_settled=st.booleans(),
    is_small=st.booleans(),
    window_octets=st.integers(1, 700),
)
cases_with_copies = cases.map(lambda case: replace(case, appended=case.spool))
cases = st.one_of(cases, cases, cases_with_copies)
removals = st.builds(
    replace, cases, spool=several, marks=st.integers(1, 0xFF), crash_at=st.integers(0, 14), is_small=st.booleans()
)


@given(cases)
def test_any_spool_is_refused_or_accounted_for(case: Case) -> None:
    """LIST tells what RETR sends, no octet is lost, and QUIT keeps exactly the survivors (RFC 1939 sections 5 to 7)."""
    check_any_spool(case)


MOVING_LIMIT = Case(
    # Believed only when what arrives completes the From_ line behind it: the index keeps the limits from before.
    spool=FROM + b"A: 1\n\n1\n\n" + FROM + b"Content-Length: 46\n\n" + FROM + b"\n" + FROM[:21],
    appended=FROM[21:] + b"A: 2\n\n2\n\n",
    marks=1,
)


@given(cases)
@example(MOVING_LIMIT)
def test_any_index_gives_the_maildrop_that_a_scan_gives(case: Case) -> None:
    """Whatever octets are in the index; a damaged one costs a login at most."""
    check_any_index(case)


@given(cases)
def test_an_index_that_lies_breaks_nothing(case: Case) -> None:
    """Where its checksums are right as well, a session may be told something wrong, and can only be refused."""
    check_hostile_index(case)


@given(removals)
def test_any_interruption_of_a_removal_is_made_good(case: Case) -> None:
    """The removal has happened whole or not at all, wherever the server died and whatever arrives then."""
    check_any_interruption(case)


@given(removals)
def test_any_journal_of_another_spool_changes_nothing(case: Case) -> None:
    """It is refused, removed or set aside."""
    check_any_journal(case)


@given(removals)
def test_any_private_copy_goes_in_front_of_the_spool(case: Case) -> None:
    """Octet for octet, or the login is refused and both stay as they are."""
    check_any_private_copy(case)


@given(st.sampled_from(PROPERTIES), cases)
def test_what_the_fuzzer_tries_can_be_written_down(check: Callable[[Case], None], case: Case) -> None:
    """Octets mean a property and a case, and every case has octets, so that each tool can try what the other found."""
    assume(len(case.spool + case.appended) < 0xFFFF)

    assert decoded(encoded(check, case)) == (check, case)


@given(st.binary(max_size=60))
def test_any_octets_are_an_input(octets: bytes) -> None:
    """The fuzzer need not know where the numbers are."""
    check, case = decoded(octets)

    assert check in PROPERTIES
    assert octets.startswith(case.spool + case.appended + case.damage.tail)
