"""The SASL mechanisms of a server: which of them AUTH takes on which connection (RFC 5034 section 3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from popframe.engine.policy import Channel
from popframe.errors import ConfigError, EncryptionRequired, MechanismRefused
from popframe.model import Peer

MAX_NAMES_OCTETS = 505
"""What is left for names in the line ``SASL …`` of CAPA, 512 octets with its CRLF (RFC 2449 section 5)."""


class OfferedMechanism(Protocol):
    """What the engine needs to know of a :class:`popframe.Mechanism`."""

    @property
    def name(self) -> str:
        """Registered name."""
        ...

    @property
    def reveals_password(self) -> bool:
        """The password can be read off the wire."""
        ...

    def suits(self, peer: Peer) -> bool:
        """Tell whether it can work on a connection like this."""
        ...


class Mechanisms:
    """The mechanisms of one server."""

    def __init__(self, mechanisms: Iterable[OfferedMechanism] = ()) -> None:
        """Take them in the order in which they are announced.

        Raises:
            ConfigError: Their names do not fit into a line of CAPA.
        """
        self._by_name = {mechanism.name: mechanism for mechanism in mechanisms}
        if len(" ".join(self._by_name)) > MAX_NAMES_OCTETS:
            raise ConfigError(f"{len(self._by_name)} SASL mechanisms: their names do not fit into one line of CAPA")

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return bool(self._by_name)

    def names(self, peer: Peer, channel: Channel) -> list[str]:
        """Return the names of those that are taken on a connection."""
        return [
            name
            for name, mechanism in self._by_name.items()
            if not (mechanism.reveals_password and channel is Channel.CLEAR) and mechanism.suits(peer)
        ]

    def checked(self, name: str, peer: Peer, channel: Channel) -> str:
        """Return the registered name for one that a client sent, in any case.

        Raises:
            MechanismRefused: There is no such mechanism, or not on this connection.
            EncryptionRequired: It would show a password to everybody on the way.
        """
        mechanism = self._by_name.get(name.upper()) if name.isascii() else None
        if mechanism is None:
            raise MechanismRefused(f"SASL mechanism {name!r}")
        if mechanism.reveals_password and channel is Channel.CLEAR:
            raise EncryptionRequired(f"SASL mechanism {mechanism.name} in clear text")
        if not mechanism.suits(peer):
            raise MechanismRefused(f"SASL mechanism {mechanism.name} does not suit the connection")
        return mechanism.name
