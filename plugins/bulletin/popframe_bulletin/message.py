"""A bulletin file as it stands: From_ line, header, text, and what the header says to this plugin.

Rule of this file: a file is one message. Whatever looks like a From_ line behind the first line is text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

FIELD_BEGINS = b"x-bulletin-begins"
FIELD_EXPIRES = b"x-bulletin-expires"
FIELD_TEMPLATE = b"x-bulletin-template"
"""Fields by which a bulletin says when, and how, it is delivered; none of them is delivered."""

OWN_FIELDS = frozenset({FIELD_BEGINS, FIELD_EXPIRES, FIELD_TEMPLATE})

MAX_FIRST_LINE_OCTETS = 2048
"""A From_ line is far shorter; what is longer is none, and is not searched for a date."""

SHOWN_OCTETS = 40
"""How much of a wrong line is told."""

_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_BLANK = rb"[ \t]{1,8}"
_ZONE = rb"(?:" + _BLANK + rb"(?P<%b>[A-Z]{1,5}|[+-][0-9]{4}))?"
_FROM_LINE = re.compile(
    rb"From (?P<sender>[^\n]*?)[ \t]*(?<=[ \t])(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
    + _BLANK
    + rb"(?P<month>"
    + b"|".join(_MONTHS)
    + rb")"
    + _BLANK
    + rb"(?P<day>[0-9]{1,2})"
    + _BLANK
    + rb"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?"
    + _ZONE % b"before"
    + _BLANK
    + rb"(?P<year>[0-9]{4})"
    + _ZONE % b"after"
    + rb"(?:[ \t]+remote from [^\s]+)?[ \t]*"
)
_FIELD_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")


class BadBulletin(Exception):
    """A bulletin file cannot be delivered; the text says why, for the log."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a header (RFC 5322 section 2.2).

    Attributes:
        name: In lower case; empty for a line that is no field.
        octets: The whole of it, with its continuation lines and its line ends.
    """

    name: bytes
    octets: bytes

    @property
    def value(self) -> str:
        """What follows the colon, unfolded; for the fields of this plugin, which are ASCII."""
        return b" ".join(self.octets.partition(b":")[2].split()).decode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class BulletinMessage:
    """One bulletin, line ends LF.

    Attributes:
        sender: What the From_ line says.
        posted: When; the date of the From_ line.
        fields: The header.
        rest: The blank line and the text; empty for a message that ends with its header.
        begins: The moment from which it is delivered; None for at once.
        expires: The moment from which it is not delivered any more; None for never.
        is_template: Its variables are filled in for each user.
    """

    sender: str
    posted: datetime
    fields: tuple[Field, ...]
    rest: bytes
    begins: datetime | None
    expires: datetime | None
    is_template: bool

    def value_of(self, name: bytes) -> str:
        """Return the value of the first field of a name; empty when there is none."""
        return next((field.value for field in self.fields if field.name == name), "")


def parse(octets: bytes) -> BulletinMessage:
    """Take a file apart.

    Raises:
        BadBulletin: It does not begin with a From_ line, or says something that is not understood.
    """
    first, _, text = octets.replace(b"\r\n", b"\n").partition(b"\n")
    sender, posted = _parse_from_line(first)
    header, rest = _split(text)
    fields = tuple(_fields(header))
    values = {field.name: field.value for field in fields if field.name in OWN_FIELDS}
    is_template = values.get(FIELD_TEMPLATE, "no").lower()
    if is_template not in ("yes", "no"):
        raise BadBulletin(f"X-Bulletin-Template is {is_template[:SHOWN_OCTETS]!r} instead of yes or no")
    return BulletinMessage(
        sender=sender,
        posted=posted,
        fields=fields,
        rest=rest,
        begins=_moment("X-Bulletin-Begins", values.get(FIELD_BEGINS), is_end=False),
        expires=_moment("X-Bulletin-Expires", values.get(FIELD_EXPIRES), is_end=True),
        is_template=is_template == "yes",
    )


def parse_moment(text: str, *, is_end: bool) -> datetime:
    """Read a date, or a date and a time (ISO 8601); without a zone it is the local time of the machine.

    Args:
        text: ``2026-12-24``, ``2026-12-24T18:00``, ``2026-12-24 18:00+01:00``.
        is_end: A date alone means the end of that day; else its beginning.

    Raises:
        ValueError: It is neither.
    """
    moment = datetime.fromisoformat(text)
    if is_end and len(text) <= len("2026-12-24"):
        moment += timedelta(days=1)
    return moment.astimezone()  # takes a time without a zone for a local one


def is_field_line(line: bytes) -> bool:
    """Tell whether a line could be the first of a header."""
    return _FIELD_NAME.match(line) is not None


def _moment(name: str, text: str | None, *, is_end: bool) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_moment(text, is_end=is_end)
    except (ValueError, OverflowError) as exc:
        raise BadBulletin(f"{name} is {text[:SHOWN_OCTETS]!r}, which is no date such as 2026-12-24") from exc


def _parse_from_line(line: bytes) -> tuple[str, datetime]:
    """Return sender and date. What has no zone is taken for UTC, so that a store which writes UTC writes the same."""
    match = _FROM_LINE.fullmatch(line) if len(line) <= MAX_FIRST_LINE_OCTETS else None
    if match is None:
        shown = line[:SHOWN_OCTETS].decode("ascii", "backslashreplace")
        raise BadBulletin(f"does not begin with a From_ line (From sender date), but with {shown!r}")
    year, month = int(match["year"]), _MONTHS.index(match["month"]) + 1
    try:
        zone = _zone(match["before"] or match["after"] or b"")
        second = min(int(match["second"] or 0), 59)  # 60 is a leap second, which datetime does not know
        moment = (year, month, int(match["day"]), int(match["hour"]), int(match["minute"]), second)
        posted = datetime(*moment, tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise BadBulletin(f"the date of its From_ line cannot be: {exc}") from exc
    return match["sender"].decode("utf-8", "replace").strip(), posted


def _zone(text: bytes) -> timezone:
    """Return a numeric zone; a named one is not worth a table, since the date is shown to nobody but mail readers."""
    if text[:1] not in (b"+", b"-"):
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[3:5]))
    return timezone(-offset if text.startswith(b"-") else offset)


def _split(text: bytes) -> tuple[bytes, bytes]:
    """Return the header, and the blank line with what follows."""
    if text.startswith(b"\n"):
        return b"", text
    header, blank, body = text.partition(b"\n\n")
    if not blank:
        return text, b""
    return header + b"\n", b"\n" + body


def _fields(header: bytes) -> list[Field]:
    fields: list[Field] = []
    for line in _lines(header):
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] = Field(fields[-1].name, fields[-1].octets + line)
        else:
            match = _FIELD_NAME.match(line)
            fields.append(Field(match[1].lower() if match else b"", line))
    return fields


def _lines(text: bytes) -> list[bytes]:
    """Split at LF alone: a lone CR is no line end (bytes.splitlines takes it for one)."""
    lines = [line + b"\n" for line in text.split(b"\n")]
    lines[-1] = lines[-1].removesuffix(b"\n")
    return [line for line in lines if line]
