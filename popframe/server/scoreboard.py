"""Who is connected, over all processes: the board on which connection limits are counted.

One piece of shared memory, made by the master before it forks. Each front process has a region of its own and writes
nowhere else, so nobody waits for a lock; everybody reads all regions. When a front dies, the master wipes its region,
and its sessions no longer count. Addresses and names stand there as keyed hashes.
"""

from __future__ import annotations

import mmap
import secrets
import socket
import threading
from hashlib import blake2b

from popframe.errors import TemporaryFailure

REGIONS = 64
"""Front processes at once, those that finish their last sessions after a reload included."""

SLOTS = 4096
"""Sessions that one front process can hold; 4,096 threads are far beyond what one interpreter should run."""

_KEY_OCTETS = 8
_REGION_OCTETS = 2 * SLOTS * _KEY_OCTETS
_TABLE_OCTETS = 2 * REGIONS * _KEY_OCTETS
_FREE = bytes(_KEY_OCTETS)


class TooManyConnections(TemporaryFailure):
    """A limit on connections is reached; it goes away when others end."""

    wire_text = "too many connections, try again later"

    is_news = True
    """Nobody was refused just before for the same reason: the log is to have a line."""


class Scoreboard:
    """The shared memory, seen from the master."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, _TABLE_OCTETS + REGIONS * _REGION_OCTETS)
        self.secret = secrets.token_bytes(16)
        self._free_regions = list(range(REGIONS - 1, -1, -1))

    def take_region(self) -> int | None:
        """Return a wiped region for a new front; None when all are in use."""
        return self._free_regions.pop() if self._free_regions else None

    def wipe_region(self, region: int) -> None:
        """Take back the region of a front that is gone."""
        start = _TABLE_OCTETS + region * _REGION_OCTETS
        self.memory[start : start + _REGION_OCTETS] = bytes(_REGION_OCTETS)
        for table in (0, REGIONS):
            offset = (table + region) * _KEY_OCTETS
            self.memory[offset : offset + _KEY_OCTETS] = _FREE
        self._free_regions.append(region)

    def session_count(self) -> int:
        """Return how many sessions there are in all."""
        with memoryview(self.memory) as octets, octets[: REGIONS * _KEY_OCTETS].cast("Q") as counts:
            return sum(counts)


class FrontBoard:
    """The board, seen from one front: it writes its own region and counts in all of them.

    A session first takes its place and then counts, so two that come at once may both be refused, but never both be
    admitted above the limit.
    """

    def __init__(self, scoreboard: Scoreboard, region: int) -> None:
        self._memory = scoreboard.memory
        self._secret = scoreboard.secret
        self._region = region
        self._lock = threading.Lock()
        self._free_slots = list(range(SLOTS - 1, -1, -1))
        table = memoryview(self._memory)[:_TABLE_OCTETS].cast("Q")
        self._counts = table[:REGIONS]
        self._high_marks = table[REGIONS:]

    def enter(self) -> int:
        """Take a slot for a new connection, which counts from then on; it is the caller's to give back.

        Raises:
            TooManyConnections: This process has no slot left.
        """
        with self._lock:
            if not self._free_slots:
                raise TooManyConnections(f"this process has {SLOTS} sessions")
            slot = self._free_slots.pop()
            self._counts[self._region] += 1
            self._high_marks[self._region] = max(self._high_marks[self._region], slot + 1)
        return slot

    def is_above(self, limit: int) -> bool:
        """Tell whether there are more connections in all."""
        return sum(self._counts) > limit

    def check_total(self, limit: int, spare: int = 0) -> None:
        """Let one stay that has a slot.

        Args:
            limit: Connections in all.
            spare: How many there may be beyond it for now.

        Raises:
            TooManyConnections: There are too many.
        """
        if self.is_above(limit + spare):
            raise TooManyConnections(f"{limit} connections in all (max_connections)")

    def enter_address(self, slot: int, address: str, limit: int) -> None:
        """Count a connection for its address as well.

        Args:
            slot: The connection's.
            address: The client's numeric address.
            limit: Connections of this address; for IPv6, of its /64 network, which one site owns as a whole.

        Raises:
            TooManyConnections: The address has as many connections as it may have.
        """
        key = self._key(network_of(address))
        self._write(slot, 0, key)
        if self._count(0, key) > limit:
            raise TooManyConnections(f"{limit} connections of one address (max_connections_per_address)")

    def enter_user(self, slot: int, username: str, limit: int) -> None:
        """Count a session for its user as well.

        Raises:
            TooManyConnections: The user has as many sessions as it may have; it is not counted.
        """
        key = self._key(username.encode("utf-8", "surrogateescape"))
        self._write(slot, 1, key)
        if self._count(1, key) > limit:
            self.leave_user(slot)
            raise TooManyConnections(f"{limit} connections of one user (max_connections_per_user)")

    def leave_user(self, slot: int) -> None:
        """Stop counting a session for its user."""
        self._write(slot, 1, _FREE)

    def leave(self, slot: int) -> None:
        """Give a slot back."""
        self._write(slot, 0, _FREE)
        self._write(slot, 1, _FREE)
        with self._lock:
            self._free_slots.append(slot)
            self._counts[self._region] -= 1
            if not self._counts[self._region]:
                self._high_marks[self._region] = 0

    def _write(self, slot: int, column: int, key: bytes) -> None:
        offset = _TABLE_OCTETS + self._region * _REGION_OCTETS + (column * SLOTS + slot) * _KEY_OCTETS
        self._memory[offset : offset + _KEY_OCTETS] = key

    def _count(self, column: int, key: bytes) -> int:
        """Count a key in one column of all regions.

        A match across two slots would need a hash that continues another by chance: one in 2**64.
        """
        count = 0
        for region, high_mark in enumerate(self._high_marks):
            if high_mark:
                start = _TABLE_OCTETS + region * _REGION_OCTETS + column * SLOTS * _KEY_OCTETS
                count += self._memory[start : start + high_mark * _KEY_OCTETS].count(key)
        return count

    def _key(self, value: bytes) -> bytes:
        return blake2b(value, digest_size=_KEY_OCTETS, key=self._secret).digest()


def network_of(address: str) -> bytes:
    """Return what stands for the owner of an address: all of IPv4, the first 64 bits of IPv6."""
    if ":" not in address:
        return address.encode("ascii")
    return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])[:8]
