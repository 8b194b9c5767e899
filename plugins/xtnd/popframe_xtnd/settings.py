"""The plugin's table in the configuration."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from popframe import ConfigPath, PluginSettings

MIN_MESSAGE_OCTETS = 65_536
"""RFC 5321 section 4.5.3.1.7: every mail system takes messages of 64 KiB."""

MAX_MESSAGE_OCTETS = 2_147_483_647
"""What mailers that count in 32 bits can take."""

MAX_TIMEOUT_SECONDS = 600
"""A client that waits for the reply has given up by then (RFC 5321 section 4.5.3.2.6)."""


class Settings(PluginSettings):
    """Table ``[plugin.xtnd]``."""

    last: bool = Field(default=True, description="Offer LAST (RFC 1460).")
    xlst: bool = Field(default=True, description="Offer XTND XLST, which lists a header field of all messages.")
    groups_dir: ConfigPath | None = Field(
        default=None,
        description="Folder with the maildrops and archives of groups (RFC 1082): mbox files NAME and NAME.archive. "
        "Without it, XTND BBOARDS, ARCHIVE and X-BBOARDS are not offered.",
    )
    xmit: bool = Field(
        default=False,
        description="Offer XTND XMIT: whoever has logged in may send mail, which is handed to the program in sendmail.",
    )
    sendmail: tuple[str, ...] = Field(
        default=("/usr/sbin/sendmail", "-i", "-t"),
        min_length=1,
        description="The program that takes a message on its standard input, as an absolute path, and its arguments; "
        "it must find the recipients in the header. There is no shell.",
    )
    as_server_user: bool = Field(
        default=False,
        description="Take mail also in sessions that are not the user's own process (isolation = 'shared', virtual "
        "users): the program then runs as server.run_as.",
    )
    envelope_sender: str = Field(
        default="",
        description="Address given to the program with -f, {username} standing for the name of the account; empty for "
        "none, so that the program takes that of its user.",
    )
    trace_header: bool = Field(
        default=True,
        description="Put a Received field that names account and client in front of each message.",
    )
    max_message_octets: int = Field(
        default=33_554_432,
        ge=MIN_MESSAGE_OCTETS,
        le=MAX_MESSAGE_OCTETS,
        description="Longest message that is taken, in octets as sent.",
    )
    sendmail_timeout_seconds: float = Field(
        default=60,
        gt=0,
        le=MAX_TIMEOUT_SECONDS,
        description="Time after which the program is ended, and the client is told that it does not answer.",
    )
    spool_dir: ConfigPath = Field(
        default=Path("/var/tmp"),  # noqa: S108 - the file in it has no name
        description="Directory for a message while it comes in: a file that only its process can open, and that is "
        "gone when that ends. All users must be able to create files there.",
    )

    @field_validator("sendmail")
    @classmethod
    def _starts_with_a_path(cls, sendmail: tuple[str, ...]) -> tuple[str, ...]:
        if not sendmail[0].startswith("/"):
            raise ValueError(f"{sendmail[0]!r} is not an absolute path, such as '/usr/sbin/sendmail'")
        if any("\0" in argument for argument in sendmail):
            raise ValueError("an argument cannot hold NUL")
        return sendmail

    @field_validator("envelope_sender")
    @classmethod
    def _is_one_word(cls, sender: str) -> str:
        if not (sender.isascii() and sender.isprintable()) or " " in sender:
            raise ValueError(f"{sender!r} is not an address, such as '{{username}}@example.org'")
        if set("{}") & set(sender.replace("{username}", "")):
            raise ValueError(f"{sender!r}: the one name in braces is {{username}}")
        return sender
