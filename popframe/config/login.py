"""The settings of the core: table ``[login]``, who may log in once the password was found right.

Rule of this file: a default is the safe value, and a name that could only be a slip is an error, for in a list of whom
to refuse a slip opens the door.
"""

from __future__ import annotations

import grp
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from popframe.config.network import Network
from popframe.config.settings import ConfigPath, CoreSettings, Filled

LEAST_REFUSAL_SECONDS = 0.25
"""A wrong password costs a slow hash, a right one that a plugin remembers does not: without some time for all of them
the time would tell that a password was right which a rule then refused. Hashes meant for logins cost less than this."""

MAX_REFUSAL_SECONDS = 10.0
"""More than PAM's usual delay (two seconds) and sshd's; people who mistype wait as long, and so does a thread."""

FIRST_USER_UID = 1000
"""Smallest user id of a person; those below belong to services (UID_MIN of login.defs(5) on today's systems)."""

LARGEST_UID = 2**32 - 2
"""Largest user id on Linux; the one above means "none" (chown(2))."""


def _literal_name(name: str) -> str:
    """Refuse what no account is called, and what is meant as a pattern: it would match nobody."""
    if not name or not name.isprintable() or name != name.strip():
        raise ValueError(f"{name!r} is not a name: empty, blanks at its ends, or characters that do not print")
    if "*" in name or "?" in name:
        raise ValueError(f"{name!r}: names are compared as they are, patterns are not known")
    return name


def _known_group(name: str) -> str:
    """Refuse a group that this machine does not know: one that was meant to be refused would be let in."""
    try:
        grp.getgrnam(name)
    except (KeyError, ValueError) as exc:
        raise ValueError(f"this machine has no group {name!r}") from exc
    return name


def _mechanism_name(name: str) -> str:
    """Refuse what cannot be the name of a SASL mechanism (RFC 4422 section 3.1)."""
    if not re.fullmatch("[A-Z0-9_-]{1,20}", name):
        raise ValueError(f"{name!r} is not the name of a mechanism: 1 to 20 of A-Z 0-9 - _, such as 'PLAIN'")
    return name


MechanismName = Annotated[str, AfterValidator(_mechanism_name)]
"""A SASL mechanism; only the plugins know which there are."""

Username = Annotated[str, AfterValidator(_literal_name)]
"""The canonical name of an account; only the plugins know which there are."""

GroupName = Annotated[str, AfterValidator(_known_group)]
"""The name of a group of the machine."""


class LoginSettings(CoreSettings):
    """Table ``[login]``: rules that hold whichever plugin found the password right."""

    clear_text: Literal["never", "local", "always"] = Field(
        default="local",
        description="Where passwords are taken without TLS: nowhere; from clients on the same machine, over its "
        "loopback interface; or everywhere, for everybody on the way to read (RFC 8314 section 4.1).",
    )
    refusal_seconds: float = Field(
        default=LEAST_REFUSAL_SECONDS,
        ge=LEAST_REFUSAL_SECONDS,
        le=MAX_REFUSAL_SECONDS,
        description="Seconds from a password to its refusal with [AUTH], whatever the reason, if finding that out did "
        "not take longer.",
    )
    mechanisms: tuple[MechanismName, ...] | None = Field(
        default=None,
        description="The SASL mechanisms that AUTH takes (RFC 5034), in the order in which CAPA announces them. "
        "Without it, all that the server and its plugins have and that can work, but for CRAM-MD5.",
    )
    apop: bool = Field(
        default=False,
        description="Take APOP (RFC 1939 section 7) if a plugin has passwords in readable form; the greeting then has "
        "a timestamp.",
    )
    master_users: tuple[Username, ...] = Field(
        default=(),
        description="Accounts that may log in as any other one with their own password: as 'master*user', or by the "
        "authorization identity of a SASL mechanism.",
    )
    master_separator: str = Field(
        default="*",
        min_length=1,
        max_length=8,
        pattern=r"^[!-~]+$",
        description="What stands between the two names.",
    )
    require_shell: bool = Field(
        default=True,
        description="Let an account of the machine in only when its login shell is in shells_file.",
    )
    shells_file: ConfigPath = Field(
        default=Path("/etc/shells"),
        description="The list of login shells (shells(5)); when it is missing, /bin/sh and /bin/csh.",
    )
    min_uid: int = Field(
        default=FIRST_USER_UID,
        ge=1,
        le=LARGEST_UID,
        description="Smallest user id that may log in. Root never may.",
    )
    respect_nologin: bool = Field(
        default=True,
        description="While nologin_file exists, let no account of the machine in.",
    )
    nologin_file: ConfigPath = Field(
        default=Path("/etc/nologin"),
        description="The file that says so (nologin(5)); its text is shown to nobody.",
    )
    allow_users: Filled[Username] | None = Field(
        default=None, description="Only these accounts may log in; without it, all."
    )
    deny_users: tuple[Username, ...] = Field(default=(), description="These accounts may not.")
    allow_groups: Filled[GroupName] | None = Field(
        default=None, description="Only members of one of these groups of the machine may log in; without it, all."
    )
    deny_groups: tuple[GroupName, ...] = Field(default=(), description="Members of one of these groups may not.")
    allow_networks: Filled[Network] | None = Field(
        default=None, description="Logins are taken only from these networks, such as '192.0.2.0/24'; without it, all."
    )
    deny_networks: tuple[Network, ...] = Field(default=(), description="From these networks none is taken.")
