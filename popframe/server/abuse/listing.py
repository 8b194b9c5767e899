"""The tables for people: what is counted at present, and how to have it forgotten."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from popframe.config import AbuseSettings
from popframe.server.abuse.guard import counted_name
from popframe.server.abuse.ledger import Ledger
from popframe.server.abuse.memory import AttemptMemory
from popframe.server.abuse.networks import Networks
from popframe.server.abuse.storage import Section


@dataclass(frozen=True, slots=True)
class Entry:
    """What is counted of one network, of one network for one of its own users, or for one user.

    Attributes:
        network: The IPv4 address or IPv6 network; empty for a user name, wherever it was tried.
        username: The user name; empty for a network, whatever was tried there.
        wrong_passwords: How many different ones are remembered.
        since: When the oldest of them was last tried, in seconds since 1970.
        until: When logins are let through again; None while they are.
    """

    network: str
    username: str
    wrong_passwords: int
    since: float
    until: float | None


def entries(memory: AttemptMemory, settings: AbuseSettings) -> list[Entry]:
    """Return everything for which a wrong password is remembered: what is refused first, then by their number.

    Raises:
        OSError: The tables cannot be read.
    """
    now = time.time()
    found = []
    for section in (memory.ledgers, memory.users):
        for _, ledger in _ledgers(section, now, settings.forget_after_seconds):
            if ledger.failed:
                network, username = _parts(ledger.label, is_user=section is memory.users)
                until = None
                if section is memory.ledgers:
                    until = ledger.clear_at(settings.max_wrong_passwords, settings.forget_after_seconds)
                times = ledger.failed.values()
                found.append(Entry(network, username, len(times), min(times), until))
    return sorted(found, key=lambda entry: (entry.until is None, -entry.wrong_passwords, entry.network, entry.username))


def clear(memory: AttemptMemory, settings: AbuseSettings, subject: str | None) -> int:
    """Forget the wrong passwords of an address or a user; return how many entries that were.

    Args:
        memory: The tables.
        settings: The table ``[abuse]``.
        subject: An address, an IPv6 network, or a user name; None for everything.

    Raises:
        OSError: The tables cannot be used.
    """
    now = time.time()
    wanted = None if subject is None else {counted_name(subject), Networks().counted_as(subject.partition("/")[0])}
    count = 0
    for section in (memory.ledgers, memory.users):
        for key, ledger in _ledgers(section, now, settings.forget_after_seconds):
            parts = set(_parts(ledger.label, is_user=section is memory.users)) - {""}
            if wanted is None or parts & wanted:
                with memory.file.locked():  # for each by itself: logins need not wait for all
                    section.remove(key)
                count += bool(ledger.failed)
    return count


def _ledgers(section: Section, now: float, memory_seconds: float) -> Iterator[tuple[bytes, Ledger]]:
    for key, payload in section.records():
        yield key, Ledger.parsed(payload, now, memory_seconds)


def _parts(label: str, *, is_user: bool) -> tuple[str, str]:
    """Take a label apart into network and user name."""
    if is_user:
        return "", label
    network, _, username = label.partition(" ")
    return network, username
