"""The commands of RFC 6856, and what they have to do with a login."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from popframe.engine.policy import Policy, Utf8Support
from popframe.engine.speech import CATALOGUE
from popframe.extension import IN_AUTHORIZATION, IN_BOTH, Command, Reply

if TYPE_CHECKING:
    from popframe.engine.session import Session


def utf8(session: Session, _arguments: Sequence[str]) -> Reply:
    """``UTF8``: send messages as they are stored, and words in UTF-8 (RFC 6856 section 2.1)."""
    session.speech.use_utf8()
    return Reply(session.speech.texts.utf8_mode)


def lang(session: Session, arguments: Sequence[str]) -> Reply:
    """``LANG [range]``: list the languages, or choose one of them (RFC 6856 section 3.2)."""
    speech = session.speech
    if not arguments:
        return Reply(speech.texts.language_listing, body=_language_listing(), body_is_wire=True)
    if not speech.choose(arguments[0]):
        return Reply(speech.texts.no_such_language, is_ok=False)
    return Reply(f"{speech.texts.tag} {speech.texts.language_chosen}")


def _language_listing() -> Iterator[bytes]:
    yield "".join(f"{texts.tag} {texts.name}\r\n" for texts in CATALOGUE.values()).encode("utf-8")


VERBS = ("UTF8", "LANG")
"""Reserved, even where a site has switched the command off."""

NEEDED_BEYOND_ASCII = ("stringprep", "encodings.punycode")
"""Imported when a name, or the domain of an address, goes beyond ASCII; by then it may be too late to read them, since
the server need not be a user who can read the place where root has installed them."""

CODECS = tuple(f"encodings.{name}" for name in ("gb2312", "gbk", "gb18030", "big5", "euc_jp", "euc_kr", "shift_jis"))
"""The same for headers in these charsets; without them such a charset is called unknown."""

_UTF8_CAPABILITIES = {Utf8Support.USER: "UTF8 USER", Utf8Support.MESSAGES: "UTF8"}


def commands(policy: Policy) -> list[Command[Session]]:
    """Return the rows that a site offers."""
    rows: list[Command[Session]] = []
    if policy.utf8 is not Utf8Support.OFF:
        rows.append(Command("UTF8", utf8, IN_AUTHORIZATION, capability=_UTF8_CAPABILITIES[policy.utf8]))
    rows.append(Command("LANG", lang, IN_BOTH, arity=range(2), capability="LANG"))
    return rows
