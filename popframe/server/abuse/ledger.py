"""What was tried wrong lately, of one network or for one user: a list of attempts, each with its time."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Self

from popframe.config.abuse import MAX_WRONG_PASSWORDS

UNDER_WAY_SECONDS = 5.0
"""How long an attempt holds its place, from the end of its delay: longer than a slow hash, or PAM's own delay, takes.
One that hangs, or whose process has died, must not keep others out; should it fail later, it counts all the same."""

CLOCK_SLIP_SECONDS = 60.0
"""An attempt that is further in the future than this was written by a clock that was wrong."""

TAG_OCTETS = 3
"""Of an attempt's name, these say for which user it was."""

NAME_OCTETS = 8
"""Of an attempt's name: user and password as keyed hashes, or a random number while it is under way."""

LABEL_OCTETS = 160
"""What people are shown; a longer user name is cut."""

_FAILED, _UNDER_WAY = 0, 1
_HEAD = struct.Struct(f"<{LABEL_OCTETS}sB")
_ATTEMPT = struct.Struct(f"<{NAME_OCTETS}sBd")

LEDGER_OCTETS = _HEAD.size + MAX_WRONG_PASSWORDS * _ATTEMPT.size
"""Size of a ledger as octets."""


@dataclass(slots=True)
class Ledger:
    """The attempts of one network, of one network for one user, or for one user.

    Attributes:
        label: What people call it.
        failed: By name of the attempt, when it was last made.
        under_way: For attempts of which nobody knows yet what will come, when their delay is over.
    """

    label: str
    failed: dict[bytes, float] = field(default_factory=dict)
    under_way: dict[bytes, float] = field(default_factory=dict)

    @classmethod
    def parsed(cls, payload: bytes, now: float, memory_seconds: float) -> Self:
        """Read one, and forget what is old."""
        label, count = _HEAD.unpack_from(payload)
        ledger = cls(label.rstrip(b"\0").decode("utf-8", "replace"))
        end = _HEAD.size + min(count, MAX_WRONG_PASSWORDS) * _ATTEMPT.size
        for name, state, when in _ATTEMPT.iter_unpack(payload[_HEAD.size : end]):
            kept_seconds = UNDER_WAY_SECONDS if state == _UNDER_WAY else memory_seconds
            if now - kept_seconds < when < now + CLOCK_SLIP_SECONDS:
                (ledger.under_way if state == _UNDER_WAY else ledger.failed)[name] = when
        return ledger

    def packed(self) -> bytes:
        """Return it as octets; when it holds too much, what is oldest is left out, attempts under way last."""
        failed = sorted(self.failed.items(), key=lambda item: item[1], reverse=True)
        under_way = sorted(self.under_way.items(), key=lambda item: item[1], reverse=True)
        attempts = [_ATTEMPT.pack(name, _UNDER_WAY, when) for name, when in under_way]
        attempts += [_ATTEMPT.pack(name, _FAILED, when) for name, when in failed]
        del attempts[MAX_WRONG_PASSWORDS:]
        label = self.label.encode("utf-8", "replace")[:LABEL_OCTETS]
        return (_HEAD.pack(label, len(attempts)) + b"".join(attempts)).ljust(LEDGER_OCTETS, b"\0")

    @property
    def is_empty(self) -> bool:
        """Nothing is known that is worth keeping."""
        return not self.failed and not self.under_way

    def forget_user(self, tag: bytes) -> None:
        """Forget the wrong passwords for one user."""
        self.failed = {name: when for name, when in self.failed.items() if not name.startswith(tag)}

    def clear_at(self, limit: int, memory_seconds: float) -> float | None:
        """Return when there will be fewer wrong passwords than the limit; None when there are fewer now."""
        times = sorted(self.failed.values())
        return times[len(times) - limit] + memory_seconds if 0 < limit <= len(times) else None


def weight(payload: bytes, now: float, memory_seconds: float) -> tuple[float, ...]:
    """Return what a ledger weighs, for where there is room only for others: how much it knows, then how new it is."""
    ledger = Ledger.parsed(payload, now, memory_seconds)
    times = [*ledger.failed.values(), *ledger.under_way.values()]
    return float(len(times)), max(times, default=0.0)
