"""The settings of the core: table ``[abuse]``, what strangers and programs gone wild may try, and how often.

Rule of this file: a limit keeps nobody from the mail for long whose own mistake it was not; so all of them forget.
"""

from __future__ import annotations

from pydantic import Field

from popframe.config.network import Network
from popframe.config.settings import ConfigPath, CoreSettings

MAX_WRONG_PASSWORDS = 40
"""More are not remembered for one network; a person with a list of all passwords ever used needs fewer."""

SHORTEST_MEMORY_SECONDS = 60
LONGEST_MEMORY_SECONDS = 7 * 86_400
"""A week: whoever was refused by mistake must not wait for ever."""

MAX_DELAY_SECONDS = 30
"""Mail programs wait for an answer for a minute, some for less."""

MAX_KNOWN_DAYS = 365
MAX_CONNECTION_RATE = 1_000_000
MAX_LOGIN_DELAY_SECONDS = 86_400
"""A day; a larger number is a slip of the unit."""


class AbuseSettings(CoreSettings):
    """Table ``[abuse]``: wrong passwords, and how often somebody may come."""

    max_wrong_passwords: int = Field(
        default=20,
        ge=0,
        le=MAX_WRONG_PASSWORDS,
        description="Different wrong passwords of one IPv4 address, or one IPv6 /64 network, after which its logins "
        "are refused before the password is looked at, until enough are forgotten; 0 for no such limit, and no delay.",
    )
    forget_after_seconds: int = Field(
        default=3600,
        ge=SHORTEST_MEMORY_SECONDS,
        le=LONGEST_MEMORY_SECONDS,
        description="Seconds after which a wrong password is forgotten.",
    )
    delay_after: int = Field(
        default=3,
        ge=0,
        le=MAX_WRONG_PASSWORDS,
        description="Different wrong passwords, of an address or for a user, that cost no delay; each one more doubles "
        "the delay of the next attempt, beginning with half a second.",
    )
    max_delay_seconds: int = Field(
        default=8, ge=0, le=MAX_DELAY_SECONDS, description="Longest delay of one attempt; 0 for none."
    )
    known_network_days: int = Field(
        default=30,
        ge=0,
        le=MAX_KNOWN_DAYS,
        description="Days for which a network from which a user has logged in counts as that user's own: what others "
        "try, there or for this user, neither delays nor refuses the user there.",
    )
    exempt_networks: tuple[Network, ...] = Field(
        default=(),
        description="Networks whose logins and connections are not counted here: of a webmail server, or a monitor.",
    )
    max_connections_per_minute: int = Field(
        default=3000,
        ge=0,
        le=MAX_CONNECTION_RATE,
        description="New connections of one IPv4 address, or one IPv6 /64 network, within a minute; 0 for no limit.",
    )
    login_delay_seconds: int = Field(
        default=0,
        ge=0,
        le=MAX_LOGIN_DELAY_SECONDS,
        description="Seconds between two logins of one user, announced by CAPA as LOGIN-DELAY (RFC 2449 section 6.5); "
        "0 for none.",
    )
    state_file: ConfigPath | None = Field(
        default=None,
        description="Where all this is kept, so that it survives a restart and 'popframe bans' can show it; without "
        "it, in memory alone. Read at start only.",
    )
