"""A plan as TOML, with comments."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence

from popframe.migration.qpopper.plan import Plan, SettingValue

WIDTH = 116
"""Of a comment's line."""

TABLES = ("server", "login", "tls", "abuse", "pop3", "log", "trace")
"""The order of the tables; those of plugins come behind them."""


def toml(plan: Plan) -> str:
    """Return the text of a configuration file."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    yield from _comment("Made by 'popframe import qpopper'. Read it, then try it: popframe check-config FILE")
    yield ""
    yield f"plugins = {_value(plan.plugins)}"
    plugins = [name for name in plan.tables if name not in TABLES]
    for table in (*TABLES, *plugins):
        if table not in plan.tables:
            continue
        yield ""
        yield f"[{table}]"
        for key, entry in plan.tables[table].items():
            yield from _comment(f"{entry.reason}{f'; {entry.remark}' if entry.remark else ''}")
            yield f"{key} = {_value(entry.value)}"
    yield from _remarks("Needs no setting:", plan.notes)
    yield from _remarks("Has no equal, and was left out:", plan.left_out)
    yield from _remarks("Cannot be known, since it was compiled in or not:", plan.unknown)


def _remarks(title: str, remarks: Sequence[str]) -> Iterator[str]:
    if remarks:
        yield ""
        yield f"# {title}"
        for remark in remarks:
            yield from _comment(remark, indent="  ")


def _comment(text: str, indent: str = "") -> Iterator[str]:
    plain = " ".join(text.split())
    for line in textwrap.wrap(plain, WIDTH, break_long_words=False, break_on_hyphens=False):
        yield f"# {indent}{line if line.isprintable() else json.dumps(line)}"
        indent = f"  {indent}" if indent == "  " else indent


def _value(value: SettingValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # What JSON escapes, TOML escapes in the same way; and one character that JSON lets stand.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
