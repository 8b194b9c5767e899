"""The settings of the core: tables ``[server]``, ``[log]`` and ``[pop3]``; and what a plugin derives its own from.

Rule of this file: a value is never guessed at. ``"600"`` is not a number, and an unknown key is an error. Every field
says what it means, in which unit, and where its bounds come from; that text is the documentation that users see.
"""

from __future__ import annotations

import pwd
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from popframe.config.address import ListenAddress

ElementT = TypeVar("ElementT")

AUTOLOGOUT_SECONDS = 600
"""The autologout timer must run for at least ten minutes (RFC 1939 section 3)."""

MAX_TIMEOUT_SECONDS = 86_400
"""A day: a larger number is a slip of the unit (milliseconds), and no connection is worth keeping so long."""

MAX_CONNECTIONS = 65_536
"""More connections than one machine's port range has for one client address; a larger number is a slip."""

MAX_FRONTS = 256
"""A front is meant to be one per core."""

MIN_BAD_COMMANDS = 10
"""Clients probe what a server can: some send up to ten commands that it may not know before they log in."""

MIN_FAILED_LOGINS = 3
"""A person mistypes a password twice; clients try the next mechanism after a refusal."""

MAX_TRIES = 1000
"""Above this the limit on bad commands or failed logins is none."""

MAX_GREETING_LENGTH = 200
"""Leaves room for the timestamp banner in a line of 512 octets (RFC 1939 section 3, RFC 2449 section 4)."""

MAX_IMPLEMENTATION_LENGTH = 100
"""Characters; far below the 512 octets that a CAPA line may have (RFC 2449 section 5)."""


def _resolve(path: Path, info: ValidationInfo) -> Path:
    """Take a relative path as relative to the directory that the validation context names, if it names one."""
    return Path((info.context or {}).get("directory", "")) / path


ConfigPath = Annotated[Path, Field(strict=False), AfterValidator(_resolve)]
"""A path in a configuration file; a relative one starts from the folder of that file."""


class PluginSettings(BaseModel):
    """The settings of a plugin: its table ``[plugin.NAME]`` of the configuration, validated once and frozen.

    A plugin derives its ``Settings`` from this class. Types are strict, and a key that the model does not have is an
    error; every field has a description that names its unit. The values come from TOML as from JSON, so a list may
    fill a ``tuple``, and a string a ``Path`` or an ``Enum``; a string never fills an ``int``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="after")
    def _resolve_default_paths(self, info: ValidationInfo) -> Self:
        """Let a relative path that is a default start from the same folder as one that is written out."""
        for name in type(self).model_fields.keys() - self.model_fields_set:
            value = getattr(self, name)
            if isinstance(value, Path):
                self.__dict__[name] = _resolve(value, info)  # frozen for everybody else
        return self


Facility = Literal[
    "mail",
    "daemon",
    "auth",
    "authpriv",
    "user",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
]
"""Facilities of syslog that a mail server may sensibly write to (RFC 5424 section 6.2.1)."""


class CoreSettings(BaseModel):
    """A table of the core: strict, frozen, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _not_empty(elements: tuple[ElementT, ...]) -> tuple[ElementT, ...]:
    """Refuse an empty list. Unlike ``min_length`` this leaves alone a list of which no element is right."""
    if not elements:
        raise ValueError("must not be empty")
    return elements


Filled = Annotated[tuple[ElementT, ...], AfterValidator(_not_empty), Field(json_schema_extra={"minItems": 1})]
"""A list of at least one element."""


class ServerSettings(CoreSettings):
    """Table ``[server]``: sockets, processes, limits."""

    listen: tuple[ListenAddress, ...] = Field(
        default=("127.0.0.1:110",),
        description="Where to listen: a list of address:port. Numeric addresses ('127.0.0.1:110', '[::1]:110') or "
        "'localhost'; port 0 lets the system choose one.",
    )
    listen_tls: tuple[ListenAddress, ...] = Field(
        default=(),
        description="Where to listen for clients that speak TLS from the first octet (RFC 8314), usually on port 995; "
        "needs tls.certificate.",
    )
    isolation: Literal["shared", "per-user"] = Field(
        default="shared",
        description="Which process reads the mail. 'shared': the process that talks to the client, for all users. "
        "'per-user': one that has become the user; needs root, and accounts with user ids.",
    )
    run_as: str | None = Field(
        default=None,
        min_length=1,
        description="Name of the user that the server becomes after it has opened its sockets, never root. Needed when "
        "it is started as root, otherwise left out.",
    )
    fronts: int = Field(
        default=0,
        ge=0,
        le=MAX_FRONTS,
        description="How many processes serve clients; 0 means one per core.",
    )
    allow_short_idle_timeout: bool = Field(
        default=False,
        description=f"Allow an idle_timeout_seconds below {AUTOLOGOUT_SECONDS}, against RFC 1939 section 3; for tests.",
    )
    idle_timeout_seconds: int = Field(
        default=AUTOLOGOUT_SECONDS,
        ge=1,
        le=MAX_TIMEOUT_SECONDS,
        description=f"Seconds without a command after which a session ends; at least {AUTOLOGOUT_SECONDS} (RFC 1939 "
        "section 3).",
    )
    login_timeout_seconds: int = Field(
        default=120,
        ge=1,
        le=MAX_TIMEOUT_SECONDS,
        description="Seconds from the accepted connection to a successful login, all tries together.",
    )
    write_timeout_seconds: int = Field(
        default=120,
        ge=1,
        le=MAX_TIMEOUT_SECONDS,
        description="Seconds for which a client may take no octet of a reply before its connection is closed.",
    )
    look_up_client_names: bool = Field(
        default=False,
        description="Look up the name of each client's address, and write it into the log once it is there, with a "
        "warning when the name has another address. No client waits for it, and none is refused for it.",
    )
    shutdown_timeout_seconds: int = Field(
        default=10,
        ge=0,
        le=MAX_TIMEOUT_SECONDS,
        description="Seconds that running sessions get to finish when the server is stopped.",
    )
    max_connections: int = Field(
        default=1024,
        ge=1,
        le=MAX_CONNECTIONS,
        description="How many clients may be connected at the same time.",
    )
    max_connections_per_address: int = Field(
        default=64,
        ge=1,
        le=MAX_CONNECTIONS,
        description="How many of them may come from one address; not more than max_connections.",
    )
    max_connections_per_user: int = Field(
        default=16,
        ge=1,
        le=MAX_CONNECTIONS,
        description="How many of them may be logged in as one user; not more than max_connections.",
    )

    @field_validator("listen", "listen_tls")
    @classmethod
    def _listen_once(cls, addresses: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Refuse an address that is listed twice: the second bind would fail."""
        others = info.data.get("listen", ()) if info.field_name == "listen_tls" else ()
        fixed = [address for address in (*others, *addresses) if not address.endswith(":0")]
        for address in fixed:
            if fixed.count(address) > 1:
                raise ValueError(f"{address} is listed twice")
        return addresses

    @field_validator("run_as")
    @classmethod
    def _user_exists(cls, name: str | None) -> str | None:
        """Refuse a user that this machine does not know, and the superuser."""
        if name is None:
            return None
        try:
            user = pwd.getpwnam(name)
        except (KeyError, ValueError) as exc:
            raise ValueError(f"this machine has no user {name!r}") from exc
        if user.pw_uid == 0:
            raise ValueError(f"{name!r} is the superuser; name an unprivileged user")
        return name

    @field_validator("idle_timeout_seconds")
    @classmethod
    def _idle_timeout_is_long_enough(cls, seconds: int, info: ValidationInfo) -> int:
        """Keep to RFC 1939 section 3 unless the operator has said otherwise."""
        if seconds < AUTOLOGOUT_SECONDS and not info.data.get("allow_short_idle_timeout", True):
            raise ValueError(
                f"must be at least {AUTOLOGOUT_SECONDS} (RFC 1939 section 3); for tests set "
                "allow_short_idle_timeout = true"
            )
        return seconds

    @field_validator("max_connections_per_address", "max_connections_per_user")
    @classmethod
    def _part_is_not_larger_than_whole(cls, count: int, info: ValidationInfo) -> int:
        """Refuse a limit that can never be reached. A default is not checked: it does no harm."""
        whole = info.data.get("max_connections", MAX_CONNECTIONS)
        if count > whole:
            raise ValueError(f"must not be more than max_connections, which is {whole}")
        return count


class LogSettings(CoreSettings):
    """Table ``[log]``: where log lines go and how they look."""

    target: Literal["stderr", "syslog"] = Field(default="stderr", description="Where log lines go.")
    format: Literal["text", "json"] = Field(
        default="text", description="'text' for people and fail2ban, 'json' for one object a line."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least important lines that are written. No level shows a password."
    )
    syslog_address: str = Field(
        default="/dev/log", description="For target 'syslog': the absolute path of its Unix socket."
    )
    syslog_facility: Facility = Field(
        default="mail", description="Facility of the lines, for target 'syslog' (RFC 5424 section 6.2.1)."
    )
    syslog_priority: Literal["info", "notice"] = Field(
        default="info",
        description="Priority of lines of level info, for target 'syslog'; popper's was 'notice'. Other levels have "
        "the priority of their name.",
    )
    refused_replies: bool = Field(
        default=False,
        description="Write a line reply-refused for every '-ERR', at level info; else only at level debug.",
    )

    @field_validator("syslog_address")
    @classmethod
    def _absolute(cls, path: str) -> str:
        """Refuse a path that would depend on where the server was started."""
        if not path.startswith("/"):
            raise ValueError("must be an absolute path")
        return path


class Pop3Settings(CoreSettings):
    """Table ``[pop3]``: what the server says and how much it puts up with."""

    greeting: str = Field(
        default="POP3 server ready",
        min_length=1,
        max_length=MAX_GREETING_LENGTH,
        description="Text of the greeting (RFC 1939 section 4): printable ASCII, without '<', which would begin a "
        f"timestamp banner, not beginning with '['; at most {MAX_GREETING_LENGTH} characters.",
    )
    implementation: str = Field(
        default="popframe",
        min_length=1,
        max_length=MAX_IMPLEMENTATION_LENGTH,
        description="What CAPA says after IMPLEMENTATION (RFC 2449 section 6.9): printable ASCII, at most "
        f"{MAX_IMPLEMENTATION_LENGTH} characters.",
    )
    show_implementation: Literal["never", "after-login", "always"] = Field(
        default="after-login", description="When CAPA has the line IMPLEMENTATION (RFC 2449 section 6.9)."
    )
    max_bad_commands: int = Field(
        default=20,
        ge=MIN_BAD_COMMANDS,
        le=MAX_TRIES,
        description=f"Commands that were not understood after which a session ends; at least {MIN_BAD_COMMANDS}, "
        "since clients probe.",
    )
    max_failed_logins: int = Field(
        default=5,
        ge=MIN_FAILED_LOGINS,
        le=MAX_TRIES,
        description=f"Refused logins after which a session ends; at least {MIN_FAILED_LOGINS}.",
    )
    replace_nul: bool = Field(
        default=False,
        description="Send octet 0x80 in place of NUL, which some clients cannot take; sizes stay the same.",
    )
    update_on_abort: bool = Field(
        default=False,
        description="Remove what a client has marked as deleted also when its connection ends, or times out, without "
        "QUIT, against RFC 1939 section 6; as the Berkeley popper 2.1 does.",
    )
    language: Literal["en", "de"] = Field(
        default="en",
        description="In which language the server speaks to a client that has not chosen one with LANG (RFC 6856 "
        "section 3.2).",
    )
    utf8: Literal["user", "messages", "off"] = Field(
        default="user",
        description="What is offered of UTF8 (RFC 6856 section 2): 'user' takes names and passwords in UTF-8 and "
        "nothing else, 'messages' takes any octets as a password, 'off' does not know the command either.",
    )
    ascii_mode: Literal["surrogate", "refuse", "as-is"] = Field(
        default="surrogate",
        description="What a client that has not said UTF8 gets of a message whose header is not ASCII: the message "
        "with its header rewritten, '-ERR [UTF8]', or the message as it is, against RFC 6856 section 2.1.",
    )

    @field_validator("greeting", "implementation")
    @classmethod
    def _printable(cls, text: str) -> str:
        """Keep to what a status line may hold (RFC 2449 section 4)."""
        if not (text.isascii() and text.isprintable()) or text != text.strip():
            raise ValueError("must be printable ASCII without a blank at its ends")
        return text

    @field_validator("greeting")
    @classmethod
    def _greeting_has_no_other_meaning(cls, text: str) -> str:
        """Refuse what a client would take for a timestamp banner or a response code."""
        if "<" in text:
            raise ValueError(
                "must not hold '<': clients would take it for APOP's timestamp banner (RFC 1939 section 7)"
            )
        if text.startswith("["):
            raise ValueError("must not begin with '[': clients would take it for a response code (RFC 2449 section 8)")
        return text
