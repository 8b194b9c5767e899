"""Who somebody is, without a password to be looked at: what an exchange has proven, and what that is held against."""

from __future__ import annotations

from dataclasses import dataclass, field

from popframe.model import Account


@dataclass(frozen=True, slots=True)
class Proven:
    """Whom a SASL exchange has proven, without a password that plugins would have to check.

    Attributes:
        username: The name; not canonical yet when the account is not known.
        account: The account, if the exchange knows it; else plugins are asked (``popframe_lookup_account``).
        authorization: The user as whom to log in, if that is to be another one (RFC 4422 section 3.4.1).
    """

    username: str
    account: Account | None = None
    authorization: str = ""


@dataclass(frozen=True, slots=True)
class SecretScheme:
    """A form in which a plugin has stored secrets of its users.

    Attributes:
        name: As in :class:`StoredSecret`.
        iterations: For SCRAM, the iteration count that most of its users' secrets have (RFC 5802 section 5.1): users
            who do not exist are told the same. 0 for other schemes.
    """

    name: str
    iterations: int = 0


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """What a mechanism that never sends the password needs to check its proof.

    Attributes:
        account: Who is logged in when the proof is right.
        scheme: ``"plain"``, ``"scram-sha-1"`` or ``"scram-sha-256"``.
        value: For ``plain`` the password's octets; for SCRAM the text of RFC 5803
            (``SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey``), 4096 iterations at least. Never empty.
    """

    account: Account
    scheme: str
    value: bytes = field(repr=False)
