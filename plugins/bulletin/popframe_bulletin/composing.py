"""A bulletin as one user gets it.

Popper's rules: each field ``To:`` names the user, each field ``Status:`` is left out, and so is ``X-UIDL:``, which
would be another message's; the rest stays as it is.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping

from popframe import Account, IncomingMessage
from popframe_bulletin.message import OWN_FIELDS, BadBulletin, BulletinMessage, Field

DROPPED = OWN_FIELDS | {b"status", b"x-uidl"}

MARK = b"X-Bulletin-Delivery"
"""The field, first in the header, by which a delivery is found again after a crash."""

VARIABLES = ("user", "address", "domain", "number")
"""What can stand between braces in a template."""

_PLAIN_ENCODINGS = frozenset({"", "7bit", "8bit", "binary"})
_PLAIN_TYPES = frozenset({"", "text/plain", "text/html"})
_BRACES = re.compile(rb"\{\{|\}\}|\{([^{}\n]{0,40})\}|[{}]")
_ATOMS = re.compile(r"[^\x00-\x20\x7f()<>@,;:\\\"\[\].]+(?:\.[^\x00-\x20\x7f()<>@,;:\\\"\[\].]+)*")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def compose(bulletin: BulletinMessage, number: int, account: Account, host: str, mark: str) -> IncomingMessage:
    """Return the message for a user.

    Args:
        bulletin: What all get.
        number: Its number.
        account: Who gets it.
        host: What follows the @ in the user's address.
        mark: What this delivery is found again by.

    Raises:
        BadBulletin: It is a template, and cannot be filled in.
    """
    address = address_of(account.username, host)
    fields = [field for field in bulletin.fields if field.name not in DROPPED]
    rest = bulletin.rest
    if bulletin.is_template:
        values = {"user": account.username, "address": address, "domain": host, "number": str(number)}
        values = {name: _CONTROLS.sub("_", value) for name, value in values.items()}
        fields = [Field(field.name, _filled(field.octets, values, str)) for field in fields]
        rest = _filled(rest, values, _escape_for(bulletin))
    lines = [b"%b: %b\n" % (MARK, mark.encode()), *_with_recipient(fields, address)]
    header = b"".join(lines)
    if not header.endswith(b"\n"):
        header += b"\n"
    return IncomingMessage(bulletin.sender, bulletin.posted, header + rest)


def check(bulletin: BulletinMessage) -> None:
    """Make sure that a bulletin can be composed for everybody.

    Raises:
        BadBulletin: It is a template, and cannot be filled in.
    """
    compose(bulletin, 0, Account("user"), "localhost", "")


def address_of(username: str, host: str) -> str:
    """Return a user's address (RFC 5322 section 3.4.1); a name that holds an @ is one already."""
    name = _CONTROLS.sub("_", username)
    local, at, domain = name.rpartition("@")
    if not at:
        local, domain = name, host
    if not _ATOMS.fullmatch(local):
        local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{local}@{domain}"


def _with_recipient(fields: list[Field], address: str) -> Iterator[bytes]:
    for field in fields:
        yield b"To: %b\n" % address.encode() if field.name == b"to" else field.octets


def _escape_for(bulletin: BulletinMessage) -> Callable[[str], str]:
    """Return how a value is written into the text.

    Raises:
        BadBulletin: Its text is not one that values can be written into.
    """
    kind = bulletin.value_of(b"content-type").partition(";")[0].strip().lower()
    encoding = bulletin.value_of(b"content-transfer-encoding").lower()
    if kind not in _PLAIN_TYPES or encoding not in _PLAIN_ENCODINGS:
        found = f"{kind} {encoding}".strip()
        raise BadBulletin(f"a template is text/plain or text/html, 7bit or 8bit, and not {found}")
    return html.escape if kind == "text/html" else str


def _filled(text: bytes, values: Mapping[str, str], escape: Callable[[str], str]) -> bytes:
    """Fill in the variables; doubled braces stand for themselves.

    Raises:
        BadBulletin: A brace is left over, or a variable is unknown.
    """

    def fill(match: re.Match[bytes]) -> bytes:
        found = match[0].decode("ascii", "backslashreplace")
        if found in ("{{", "}}"):
            return match[0][:1]
        if match[1] is None or found[1:-1] not in values:
            known = ", ".join(f"{{{name}}}" for name in values)
            raise BadBulletin(f"template: {found!r} is none of {known}; a brace itself is written twice")
        return escape(values[found[1:-1]]).encode("utf-8", "replace")

    return _BRACES.sub(fill, text)
