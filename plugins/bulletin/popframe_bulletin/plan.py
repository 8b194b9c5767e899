"""Which bulletins a user gets now, and what the user has afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from popframe_bulletin.catalogue import Entry, NotSettled
from popframe_bulletin.message import BadBulletin, BulletinMessage
from popframe_bulletin.popbull import Received


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for one user.

    Attributes:
        bulletins: What to deliver, in order.
        then: What the user has afterwards.
    """

    bulletins: tuple[tuple[Entry, BulletinMessage], ...]
    then: Received


def make_plan(
    entries: Sequence[Entry],
    read: Callable[[Entry], BulletinMessage],
    received: Received | None,
    now: datetime,
    max_old: int,
) -> Plan:
    """Choose.

    Args:
        entries: The bulletins for this user, in order.
        read: Reads one.
        received: What the user has; None for a new one.
        now: What time it is.
        max_old: How many of those that are there a new user gets.

    Raises:
        BadBulletin: One that the user should get cannot be delivered.
    """
    is_new = received is None
    current: list[tuple[Entry, BulletinMessage]] = []
    later: set[int] = set()
    for entry in reversed(entries):
        if received is not None and not received.lacks(entry.number):
            continue
        is_enough = is_new and len({chosen.number for chosen, _ in current}) >= max_old
        try:
            message = read(entry)
        except NotSettled:
            later.add(entry.number)
            continue
        except BadBulletin:
            if is_enough:
                continue
            raise
        if message.begins is not None and message.begins > now:
            later.add(entry.number)
        elif (message.expires is None or message.expires > now) and (
            not is_enough or entry.number in {chosen.number for chosen, _ in current}
        ):
            current.append((entry, message))
    # Two files of one number come together, or not at all: the number is all that is remembered.
    bulletins = tuple(chosen for chosen in reversed(current) if chosen[0].number not in later)
    last = max([entry.number for entry in entries[-1:]] + [0 if received is None else received.last])
    return Plan(bulletins, Received(last, frozenset(later)))
