"""Every text of the engine, in English; another language is a class derived from this one."""

from __future__ import annotations

import unicodedata

from popframe.errors import Refusal


class English:
    """The texts behind the status indicators.

    A language overrides every name of this class but :meth:`refusal`. What it lacks would be said in English. No text
    begins with a bracket, and each fits into a status line.
    """

    tag = "en"
    """The language's tag (RFC 5646)."""
    name = "English"
    """What the language is called in itself."""
    refusals: dict[str, str] = {}  # noqa: RUF012 - a constant of the class, which its subclasses override
    """The words of every :class:`popframe.Refusal`, by those in English."""
    ascii_letters: dict[str, str] = {}  # noqa: RUF012
    """What is written for letters beyond ASCII where only ASCII may be said, unless it is the letter without its mark.
    """

    # --- the answers of commands

    capability_list = "capability list follows"
    mechanism_listing = "mechanisms follow"
    send_pass = "send PASS"  # noqa: S105 - no password
    unique_id_listing = "unique-id listing follows"
    top_of_message = "top of message follows"
    done = "done"
    language_listing = "language listing follows"
    language_chosen = "this is English"
    no_such_language = "no such language"
    utf8_mode = "UTF-8 mode"
    needs_utf8_mode = "message has a header beyond ASCII, say UTF8 before the login"

    def octets(self, octets: int) -> str:
        """RETR: how long the message is."""
        return f"{octets} octets"

    def messages(self, count: int, octets: int) -> str:
        """LIST and RSET: how many messages there are, and how long they are together."""
        return f"{count} messages ({octets} octets)"

    def deleted(self, number: int) -> str:
        """DELE: which message was marked."""
        return f"message {number} deleted"

    # --- the session

    begin_tls = "begin TLS negotiation"
    bye = "bye"
    not_all_removed = "some deleted messages not removed"
    control_character = "control character in command"
    wrong_state = "command not valid in this state"
    unknown_command = "unknown command"
    wrong_number_of_arguments = "wrong number of arguments"
    line_too_long = "line too long"
    response_too_long = "response too long"

    def maildrop(self, count: int, octets: int) -> str:
        """PASS: what is in the maildrop."""
        return f"maildrop has {count} messages ({octets} octets)"

    def left(self, count: int) -> str:
        """QUIT: how many messages stay."""
        return f"bye, {count} messages left"

    # --- what needs no translation

    def refusal(self, refusal: Refusal) -> str:
        """Return what is said of a refusal; a plugin's own words stay as they are."""
        return self.refusals.get(refusal.wire_text, refusal.wire_text)

    def in_ascii(self, text: str) -> str:
        """Write a text with the letters of ASCII alone, as people do who have no others."""
        if text.isascii():
            return text
        spelled = "".join(self.ascii_letters.get(character, character) for character in text)
        return "".join(letter for letter in unicodedata.normalize("NFKD", spelled) if not unicodedata.combining(letter))
