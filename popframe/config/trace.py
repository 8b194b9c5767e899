"""The settings of the core: table ``[trace]``, whose sessions are written down command by command."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from popframe.config.network import Network
from popframe.config.settings import ConfigPath, CoreSettings


class TraceSettings(CoreSettings):
    """Table ``[trace]``: traces of sessions."""

    all_sessions: bool = Field(default=False, description="Trace every session.")
    users: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(),
        description="Trace the sessions of these users: by the name that the client sends, or by that of the account.",
    )
    networks: tuple[Network, ...] = Field(
        default=(), description="Trace sessions from these networks, such as '192.0.2.7' or '2001:db8::/32'."
    )
    file: ConfigPath | None = Field(
        default=None,
        description="Where traces are written: a file of the server's user alone, opened anew when it was moved away. "
        "Without it they are lines of the log, at level info.",
    )
    bodies: bool = Field(
        default=False,
        description="Write also what follows the first line of a reply: messages, for whoever reads the file. Needs "
        "file.",
    )

    @field_validator("bodies")
    @classmethod
    def _mail_is_not_for_the_log(cls, bodies: bool, info: ValidationInfo) -> bool:
        """Refuse to write messages where many may read them."""
        if bodies and info.data.get("file") is None:
            raise ValueError("needs file: messages are not written into the log")
        return bodies

    @property
    def is_on(self) -> bool:
        """Some session may be traced."""
        return self.all_sessions or bool(self.users) or bool(self.networks)
