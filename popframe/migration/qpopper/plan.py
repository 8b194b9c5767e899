"""What is to be written: settings, and remarks on what needs none or has no equal."""

from __future__ import annotations

from dataclasses import dataclass, field

from popframe.migration.qpopper.given import Given

SettingValue = str | int | bool | list[str]


DEFAULT = "Qpopper's default"
"""Why something is set that nobody has set."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting.

    Attributes:
        value: Its value.
        reason: Where it comes from.
        remark: What to know of it; empty for nothing.
    """

    value: SettingValue
    reason: str
    remark: str = ""


@dataclass(slots=True)
class Plan:
    """A configuration in the making.

    Attributes:
        plugins: Which ones, in their order.
        tables: Settings by key, by name of their table.
        notes: What was given and needs no setting.
        left_out: What was given and has no equal.
        unknown: What nobody gives, since it was compiled in or not, and what is to be done then.
    """

    plugins: list[str]
    tables: dict[str, dict[str, Entry]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def set(self, table: str, key: str, value: SettingValue, reason: Given | str, remark: str = "") -> None:
        """Set something, whatever was there before."""
        self.tables.setdefault(table, {})[key] = Entry(value, str(reason), remark)

    def note(self, given: Given, text: str) -> None:
        """Remark that something needs no setting."""
        self.notes.append(f"{given}: {text}")

    def leave_out(self, given: Given, text: str) -> None:
        """Remark that something has no equal."""
        self.left_out.append(f"{given}: {text}")
