"""A new bulletin: what it says, and the number that it gets.

Rule of this file: a number is given once, even when the file with the highest is gone again, for who has that one would
never get another of the same number.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from pathlib import Path

from popframe_bulletin.catalogue import MAX_NUMBER_DIGITS, Catalogue
from popframe_bulletin.composing import check
from popframe_bulletin.message import BadBulletin, is_field_line, parse
from popframe_bulletin.settings import Settings

HIGHEST = ".highest"
"""The file in the folder that keeps the highest number ever given; popper passes it over."""

EVERYBODY_MAY_READ = 0o644
"""Mode of a bulletin: with ``isolation = "per-user"`` each session reads it as its user."""

MAX_SLUG_CHARACTERS = 40
"""How much of the subject becomes part of the file's name."""

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_POLICY = SMTP.clone(linesep="\n", max_line_length=78)


@dataclass(frozen=True, slots=True)
class Draft:
    """What the command line asks for.

    Attributes:
        text: A message, or only its text when there is a subject.
        subject: The subject; empty when the text is a whole message.
        sender: Who it is from, for a text alone.
        group: Whom it is for; empty for everybody.
        begins: When it begins to be delivered; None for at once.
        expires: When it ends; None for never.
        is_template: Its variables are filled in.
    """

    text: bytes
    subject: str = ""
    sender: str = ""
    group: str = ""
    begins: datetime | None = None
    expires: datetime | None = None
    is_template: bool = False


def post(draft: Draft, settings: Settings, now: datetime) -> Path:
    """Put a bulletin into the folder; return its file, which is there as a whole or not at all.

    Raises:
        BadBulletin: It could not be delivered like this.
        OSError: It cannot be written.
    """
    if draft.expires is not None and draft.expires <= max(now, draft.begins or now):
        raise BadBulletin(f"it would expire, on {draft.expires.isoformat()}, before anybody gets it")
    content = _content(draft, settings, now)
    check(parse(content))
    if len(content) > settings.max_octets:
        raise BadBulletin(f"it has {len(content)} octets, more than max_octets, which is {settings.max_octets}")
    with _turn(settings.folder) as folder:
        entries = Catalogue(settings.folder, settings.max_octets).entries()
        number = 1 + max([_highest(folder), *(entry.number for entry in entries)])
        if len(str(number)) > MAX_NUMBER_DIGITS:
            raise BadBulletin(
                f"{number} is too high a number: look for a file in {settings.folder} that has it by mistake"
            )
        _write(folder, HIGHEST, b"%d\n" % number)
        name = _name(number, draft, settings, content)
        _write(folder, name, content)
        os.fsync(folder)
    return settings.folder / name


def _content(draft: Draft, settings: Settings, now: datetime) -> bytes:
    """Return the file: From_ line, our fields, and the message."""
    text = draft.text.replace(b"\r\n", b"\n")
    sender = draft.sender or f"postmaster@{settings.host}"
    from_line = f"From {_address_in(sender)} {time.asctime(now.astimezone(UTC).utctimetuple())}\n".encode()
    if draft.subject:
        text = _message(text, draft, settings, sender, now)
    elif text.startswith(b"From "):
        first, _, text = text.partition(b"\n")
        from_line = first + b"\n"
    elif not is_field_line(text.partition(b"\n")[0]):
        raise BadBulletin("a text needs --subject; without it, a whole message with its header is expected")
    fields = b""
    for name, moment in (("Begins", draft.begins), ("Expires", draft.expires)):
        if moment is not None:
            fields += f"X-Bulletin-{name}: {moment.isoformat()}\n".encode()
    if draft.is_template:
        fields += b"X-Bulletin-Template: yes\n"
    # popper puts nothing behind a bulletin, so that the next message would begin in its last line without a blank one.
    return from_line + fields + text.rstrip(b"\n") + b"\n\n"


def _message(text: bytes, draft: Draft, settings: Settings, sender: str, now: datetime) -> bytes:
    message = EmailMessage(policy=_POLICY)
    try:
        message["From"] = sender
        message["To"] = f"all@{settings.host}"  # each user finds the own address there
        message["Subject"] = draft.subject
        message["Date"] = format_datetime(now)
        message["Message-ID"] = make_msgid(domain=settings.host)
        message.set_content(text.decode("utf-8"), cte="8bit" if draft.is_template else None)
        return message.as_bytes()
    except UnicodeDecodeError as exc:
        raise BadBulletin("the text is not UTF-8; give a whole message that says what it is") from exc
    except (ValueError, IndexError) as exc:
        raise BadBulletin(f"a header cannot be made of this: {exc}") from exc


def _address_in(sender: str) -> str:
    """Return the address alone, for the From_ line."""
    match = re.search(r"<([^<>]*)>", sender)
    return re.sub(r"\s", "_", match[1] if match else sender)


def _name(number: int, draft: Draft, settings: Settings, content: bytes) -> str:
    subject = draft.subject or parse(content).value_of(b"subject")
    slug = _NOT_IN_NAMES.sub("-", subject.lower())[:MAX_SLUG_CHARACTERS].strip("-") or "bulletin"
    group = f".{draft.group or 'ALL'}" if settings.group_bulletins else ""
    return f"{number:04}{group}.{slug}"


@contextlib.contextmanager
def _turn(path: Path) -> Iterator[int]:
    """Open the folder, and let one after the other give numbers."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)


def _highest(folder: int) -> int:
    try:
        descriptor = os.open(HIGHEST, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return 0
    try:
        match = re.match(rb"[0-9]{1,15}", os.read(descriptor, 64))
        return int(match[0]) if match else 0
    finally:
        os.close(descriptor)


def _write(folder: int, name: str, content: bytes) -> None:
    """Write a file that has its name only when it is whole and on disk."""
    temporary = f".{name}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), EVERYBODY_MAY_READ)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
