"""The plugin's table in the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from popframe import ConfigPath, PluginSettings
from popframe_store_mbox.dotlock_helper import DEFAULT_HELPER
from popframe_store_mbox.lock import LockKind, LockPolicy

MAX_LOCK_TIMEOUT_SECONDS = 60
"""Half a minute of silence per lock is what mail clients bear; above a minute they have given up."""

MIN_STALE_SECONDS = 60
"""No program may lose a dot-lock that it has held for less; mail transfer agents wait for five to ten minutes."""


class Settings(PluginSettings):
    """Table ``[plugin.store_mbox]``."""

    spool_dir: ConfigPath = Field(
        default=Path("/var/mail"),
        description="Directory of the spools; the mail of alice is the file 'alice' in it, unless the account names "
        "another (a relative name is in this directory).",
    )
    state_dir: ConfigPath | None = Field(
        default=None,
        description="Directory for session locks, and for journals while messages are removed. Default: that of the "
        "spool itself. The sessions must be able to create files there.",
    )
    private_copy: bool = Field(
        default=False,
        description="Move the spool into '.NAME.pop' beside it from login to QUIT, as the Berkeley and Qualcomm popper "
        "do. What one of them has left there is merged with the spool whatever is set here.",
    )
    session_lock: Literal["exclusive", "shared"] = Field(
        default="exclusive",
        description="Whether a second login to a maildrop is refused while a session has it (RFC 1939 section 4), or "
        "let in beside it.",
    )
    locks: tuple[LockKind, ...] = Field(
        default=("dotlock", "fcntl", "flock"),
        min_length=1,
        description="Locks that are taken on a spool, in this order: those of all the local programs that write to it.",
    )
    lock_timeout_seconds: float = Field(
        default=10,
        ge=0,
        le=MAX_LOCK_TIMEOUT_SECONDS,
        description="Longest wait, in seconds, for each of the locks.",
    )
    stale_dotlock_seconds: float = Field(
        default=300,
        ge=MIN_STALE_SECONDS,
        description="Age, in seconds, from which a dot-lock is removed that no running process of this host has "
        "signed.",
    )

    dotlock_helper: ConfigPath = Field(
        default=Path(DEFAULT_HELPER),
        description="Program that makes dot-locks where sessions may not create files: 'dotlockfile' of liblockfile. "
        "It is used only there, and only if it exists.",
    )
    uidl: Literal["digest", "x-uidl"] = Field(
        default="digest",
        description="What a message's unique-id is. 'digest': made from its From_ line and header. 'x-uidl': what "
        "Qpopper has written into the field X-UIDL, where there is one; then there is no index.",
    )
    status_headers: Literal["keep", "popper"] = Field(
        default="keep",
        description="What QUIT writes into messages that stay. 'keep': nothing. 'popper': 'Status: RO' into those that "
        "were retrieved, 'Status: U' into others that have no such field, as the Berkeley popper does.",
    )

    @property
    def lock_policy(self) -> LockPolicy:
        """Which locks are taken, and how patiently."""
        return LockPolicy(self.locks, self.lock_timeout_seconds, self.stale_dotlock_seconds, str(self.dotlock_helper))

    @field_validator("locks")
    @classmethod
    def _each_lock_once(cls, locks: tuple[LockKind, ...]) -> tuple[LockKind, ...]:
        """Refuse a lock that would wait for itself."""
        if len(set(locks)) != len(locks):
            raise ValueError("must name each lock once")
        return locks

    @field_validator("session_lock")
    @classmethod
    def _a_private_copy_is_not_shared(cls, lock: str, info: ValidationInfo) -> str:
        """Refuse two sessions on one private copy."""
        if lock == "shared" and info.data.get("private_copy"):
            raise ValueError("must be 'exclusive' with private_copy = true: a private copy has one session")
        return lock
