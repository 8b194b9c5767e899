"""The plugin's table in the configuration."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from pydantic import Field, field_validator

from popframe import ConfigPath, PluginSettings

DEFAULT_MAX_OCTETS = 1024 * 1024
"""A notice is some kilobytes; a larger file in the folder is more likely a slip, and each user would get a copy."""

LARGEST_MAX_OCTETS = 64 * 1024 * 1024
"""A bulletin is held in memory while it is delivered, and as long as it is in the folder by every process."""

MAX_OLD_BULLETINS = 1000
"""Beyond this a new user gets an archive, not what is new."""

_DOMAIN = re.compile(r"[^\x00-\x20\x7f@<>()\[\],;:\\\"]*")


class Settings(PluginSettings):
    """Table ``[plugin.bulletin]``."""

    folder: ConfigPath = Field(
        default=Path("/var/spool/bulls"),
        description="Folder of the bulletins: one file each, whose name begins with its number. Sessions must be able "
        "to read them.",
    )
    state_dir: ConfigPath | None = Field(
        default=None,
        description="Folder of the files 'NAME.popbull', which say up to which number each user has the bulletins. "
        "Default: the file '.popbull' in the home directory of each user. Sessions must be able to create files there.",
    )
    max_old_bulletins: int = Field(
        default=1,
        ge=0,
        le=MAX_OLD_BULLETINS,
        description="How many of the bulletins that are there already a new user gets: the newest.",
    )
    group_bulletins: bool = Field(
        default=False,
        description="A file 'NUMBER.GROUP.TEXT' is for the members of that group alone; for everybody when GROUP is "
        "'ALL', for nobody when there is no such group.",
    )
    groups: dict[str, tuple[str, ...]] = Field(
        default={},
        description="Groups besides those of the machine: user names by name of the group. One of the same name takes "
        "the place of the machine's.",
    )
    domain: str = Field(
        default="",
        max_length=255,
        description="What follows the @ in 'To: user@domain'. Default: the host name of the machine.",
    )
    max_octets: int = Field(
        default=DEFAULT_MAX_OCTETS,
        ge=1,
        le=LARGEST_MAX_OCTETS,
        description="Longest file, in octets; a longer one is not delivered, nor is any other until it is mended.",
    )

    @property
    def host(self) -> str:
        """What stands behind the @."""
        return self.domain or socket.gethostname()

    @field_validator("domain")
    @classmethod
    def _fits_into_an_address(cls, domain: str) -> str:
        """Refuse what cannot stand in an address."""
        if not _DOMAIN.fullmatch(domain):
            raise ValueError("must be a domain, such as 'example.org', without blanks, '@' or quotes")
        return domain
