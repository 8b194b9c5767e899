"""What the fuzzer's octets mean: a property, and the case that it is tried with.

An input is a spool, what is appended to it, what is put behind a damaged file, and a block of numbers at the end. Any
octets are an input; those of a spool stand in it as they are, so that what a fuzzer does to them is done to a spool.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from .properties import PROPERTIES
from .spool_room import Case, Damage

_NUMBERS = struct.Struct("<BBBHHHHHHHHBHBHB")
"""Property, choices, call; window, marks, lengths of appended and tail, octets kept; hole; three flips."""

_EVERYTHING = 0xFFFF
_READS_FIRST, _IS_SETTLED, _IS_SMALL, _IS_DAMAGED_EARLY = 1, 2, 4, 8


def decoded(octets: bytes) -> tuple[Callable[[Case], None], Case]:
    """Return the property that is tried, and with what."""
    block = octets[-_NUMBERS.size :].ljust(_NUMBERS.size, b"\0")
    kind, choices, crash_at, window_octets, marks, appended, tail, keep, hole, hole_octets, *flips = _NUMBERS.unpack(
        block
    )
    rest, behind = _cut_off(octets[: -_NUMBERS.size], tail)
    spool, later = _cut_off(rest, appended)
    damage = Damage(
        keep=Damage.keep if keep == _EVERYTHING else keep,
        flips=tuple((at, bits) for at, bits in zip(flips[::2], flips[1::2], strict=True) if bits),
        tail=behind,
        hole=(hole, hole_octets),
    )
    case = Case(
        spool=spool,
        appended=later,
        marks=marks,
        damage=damage,
        crash_at=crash_at,
        reads_first=bool(choices & _READS_FIRST),
        is_damaged_early=bool(choices & _IS_DAMAGED_EARLY),
        is_settled=bool(choices & _IS_SETTLED),
        is_small=bool(choices & _IS_SMALL),
        window_octets=window_octets,
    )
    return PROPERTIES[kind % len(PROPERTIES)], case


def encoded(check: Callable[[Case], None], case: Case) -> bytes:
    """Return the octets of a property and a case, which has three flips at most."""
    choices = _READS_FIRST * case.reads_first + _IS_DAMAGED_EARLY * case.is_damaged_early
    choices += _IS_SETTLED * case.is_settled + _IS_SMALL * case.is_small
    flips = [number for flip in (*case.damage.flips, (0, 0), (0, 0), (0, 0))[:3] for number in flip]
    numbers = _NUMBERS.pack(
        PROPERTIES.index(check),
        choices,
        case.crash_at,
        case.window_octets,
        case.marks,
        len(case.appended),
        len(case.damage.tail),
        min(case.damage.keep, _EVERYTHING),
        *case.damage.hole,
        *flips,
    )
    return case.spool + case.appended + case.damage.tail + numbers


def _cut_off(octets: bytes, length: int) -> tuple[bytes, bytes]:
    """Return what is before the last octets, and these; all of them when there are fewer."""
    at = max(len(octets) - length, 0)
    return octets[:at], octets[at:]
