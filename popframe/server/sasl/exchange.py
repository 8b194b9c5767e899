"""Running a SASL mechanism over the plugins, in whichever process may know their secrets."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping
from typing import Protocol

from popframe.errors import PopframeError, TemporaryFailure
from popframe.extension import Challenge, Mechanism
from popframe.model import Peer, PlainCredentials
from popframe.plugins import Hooks, contract
from popframe.proof import Proven, StoredSecret
from popframe.scram_keys import LEAST_ITERATIONS
from popframe.server.sasl import decoy

_logger = logging.getLogger("popframe.sasl")


class Clock:
    """When the looking at a password, or a proof, began."""

    __slots__ = ("started",)

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin now."""
        self.started = time.monotonic()


class Run(Protocol):
    """An exchange, here or in another process."""

    @property
    def username(self) -> str:
        """Who it is about, as far as is known by now; empty for nobody yet."""
        ...

    def respond(self, response: bytes | None) -> Challenge | PlainCredentials | Proven:
        """Take the client's message.

        Raises:
            PopframeError: The exchange has failed.
        """
        ...

    def close(self) -> None:
        """Let go of it before its end."""
        ...


class HookContext:
    """What a mechanism may ask; see :class:`popframe.MechanismContext`.

    Attributes:
        peer: Where the client connects from.
        username: The name that was claimed last; empty for none.
    """

    def __init__(self, hooks: Hooks, peer: Peer) -> None:
        self.peer = peer
        self.username = ""
        self._hooks = hooks

    def claim(self, username: str) -> None:
        """Keep the name for the log."""
        self.username = username

    def lookup_secret(self, username: str, scheme: str) -> StoredSecret | None:
        """Ask the plugins, under the canonical name."""
        self.claim(username)
        return self._hooks.lookup_secret(self.peer, self._hooks.canonical_username(self.peer, username), scheme)

    def random_octets(self, count: int) -> bytes:
        """Return octets from the system's generator."""
        return secrets.token_bytes(count)

    def decoy_octets(self, label: str, count: int) -> bytes:
        """Return octets that depend on the label and on this machine alone."""
        return decoy.decoy_octets(label, count)

    def typical_iterations(self, scheme: str) -> int:
        """Return what the first plugin says that has the scheme."""
        counts = (known.iterations for known in self._hooks.secret_schemes if known.name == scheme)
        return next(counts, LEAST_ITERATIONS)


class MechanismRun:
    """One exchange."""

    def __init__(self, mechanisms: Mapping[str, Mechanism], name: str, hooks: Hooks, peer: Peer) -> None:
        """Begin it.

        Raises:
            TemporaryFailure: The mechanism fails, or is not there any more.
        """
        mechanism = mechanisms.get(name)
        if mechanism is None:
            raise TemporaryFailure(f"no mechanism {name!r} since the configuration was read again")
        self._source = f"mechanism {name}"
        self._context = HookContext(hooks, peer)
        try:
            self._exchange = contract.accept_exchange(self._source, mechanism.start(self._context))
        except PopframeError:
            raise
        except Exception as exc:
            raise self._failure(exc) from exc

    @property
    def username(self) -> str:
        """Who it is about, as far as is known by now; empty for nobody yet."""
        return self._context.username

    def respond(self, response: bytes | None) -> Challenge | PlainCredentials | Proven:
        """Take the client's message.

        Raises:
            Refusal: The exchange has failed.
            HookContractError: The mechanism, or a plugin that it asked, broke its contract.
        """
        try:
            step = contract.accept_step(self._source, self._exchange.respond(response))
        except PopframeError:
            raise
        except Exception as exc:
            raise self._failure(exc) from exc
        if not isinstance(step, Challenge):
            self._context.claim(step.username)  # what is proven is more than what was claimed
        return step

    def close(self) -> None:
        """Let go of it; nothing is held."""

    def _failure(self, error: Exception) -> TemporaryFailure:
        _logger.error("%s failed", self._source, exc_info=error)
        return TemporaryFailure(f"{self._source} failed: {type(error).__name__}")
