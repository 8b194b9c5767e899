"""The table ``[plugin.session_stats]``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from popframe import ConfigPath, PluginSettings
from popframe_session_stats.endpoint import parse_endpoint


def _checked_endpoint(text: str) -> str:
    """Return it as it is, if it can be listened on."""
    if text:
        parse_endpoint(text)
    return text


class SessionStatsSettings(PluginSettings):
    """Table ``[plugin.session_stats]``."""

    record: Literal["popper", "dovecot", "json", "none"] = Field(
        default="popper",
        description="What is written of each session: the line of a server, a JSON object, or nothing.",
    )
    file: ConfigPath | None = Field(
        default=None, description="Where it is written: appended to this file; without it, to the log."
    )
    listen: Annotated[str, AfterValidator(_checked_endpoint)] = Field(
        default="127.0.0.1:9110",
        description="Where Prometheus finds the metrics: address:port, or the path of a Unix socket; empty: nowhere.",
    )

    @model_validator(mode="after")
    def _no_cut_objects(self) -> Self:
        """Refuse what would come out broken: the log cuts a long value, and quotes it once more."""
        if self.record == "json" and self.file is None:
            raise ValueError(
                "record = 'json' needs 'file', since the log cuts long values; a log with log.format = 'json' has an "
                "object for each session already (session-ended)"
            )
        return self
