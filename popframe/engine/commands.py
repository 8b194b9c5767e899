"""The commands of RFC 1939 and RFC 2449. A handler returns its reply and writes nothing.

State and number of arguments were checked before a handler is called; a :class:`~popframe.errors.Refusal` that it
raises becomes the reply.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from popframe.engine import wire
from popframe.engine.policy import AsciiMode, Utf8Support
from popframe.engine.surrogate import needs_utf8_mode, with_header_in_ascii
from popframe.engine.transaction import decimal
from popframe.errors import CommandSyntaxError
from popframe.extension import IN_AUTHORIZATION, IN_BOTH, IN_TRANSACTION, Command, Reply
from popframe.model import PlainCredentials
from popframe.saslprep import ProhibitedCharacterError, prepared

if TYPE_CHECKING:
    from popframe.engine.session import Session

UTF8_CODE = "UTF8"
"""The message needs UTF-8 mode; for LIST, TOP and RETR alone (RFC 6856 section 5)."""


def capa(session: Session, _arguments: Sequence[str]) -> Reply:
    """``CAPA``: list the capabilities (RFC 2449 section 5)."""
    return Reply(session.speech.texts.capability_list, body=session.capabilities(), body_is_wire=True)


def user(session: Session, arguments: Sequence[str]) -> Reply:
    """``USER name``: take a name, whether it exists or not (RFC 1939 section 7)."""
    username = arguments[0]
    if session.policy.utf8 is Utf8Support.USER:
        try:
            username = prepared(username)
        except ProhibitedCharacterError as exc:
            raise CommandSyntaxError(f"user name {username!r}") from exc
    # Control characters, and lone surrogates that stand for octets that are not UTF-8.
    if not (username and username.isprintable()):
        raise CommandSyntaxError(f"user name {username!r}")
    session.username = username
    return Reply(session.speech.texts.send_pass)


def pass_(session: Session, arguments: Sequence[str]) -> Reply:
    """``PASS string``: log in with the name of the USER just before; all after the one space counts (RFC 1939 s. 7)."""
    username, session.username = session.username, ""
    if not username:
        raise CommandSyntaxError("PASS without USER")
    password = arguments[0].encode("utf-8", "surrogateescape")
    return session.log_in(PlainCredentials(username, password))


def apop(session: Session, arguments: Sequence[str]) -> Reply:
    """``APOP name digest``: log in by a digest of timestamp and password (RFC 1939 section 7)."""
    words = (session.timestamp, *arguments)
    return session.prove("APOP", "\0".join(words).encode("utf-8", "surrogateescape"))


def auth(session: Session, arguments: Sequence[str]) -> Reply:
    """``AUTH mechanism [initial-response]``: begin a SASL exchange (RFC 5034 section 4).

    Without a mechanism it lists them, which is in no RFC; Outlook asks in this way.
    """
    if not arguments:
        names = "".join(f"{name}\r\n" for name in session.mechanisms())
        return Reply(session.speech.texts.mechanism_listing, body=(names.encode("ascii"),), body_is_wire=True)
    mechanism, *initial = arguments
    return session.begin_exchange(mechanism, initial[0] if initial else None)


def respond(session: Session, arguments: Sequence[str]) -> Reply:
    """Take a response in a SASL exchange (RFC 5034 section 4)."""
    return session.respond(arguments[0])


def stls(session: Session, _arguments: Sequence[str]) -> Reply:
    """``STLS``: go on under TLS from the next octet (RFC 2595 section 4)."""
    return session.expect_tls()


def quit_in_authorization(session: Session, _arguments: Sequence[str]) -> Reply:
    """``QUIT`` before login: end without an UPDATE state (RFC 1939 section 4)."""
    return session.leave()


def quit_in_transaction(session: Session, _arguments: Sequence[str]) -> Reply:
    """``QUIT`` after login: remove what is marked, say whether that worked, and end (RFC 1939 section 6)."""
    return session.update()


def stat(session: Session, _arguments: Sequence[str]) -> Reply:
    """``STAT``: the drop listing (RFC 1939 section 5)."""
    return Reply(f"{session.transaction.left_count} {session.transaction.left_octets}")


def list_(session: Session, arguments: Sequence[str]) -> Reply:
    """``LIST [msg]``: the scan listing (RFC 1939 section 5)."""
    transaction = session.transaction
    if arguments:
        index = transaction.message_index(arguments[0])
        return Reply(f"{index + 1} {transaction.scan_column(index)}")
    text = session.speech.texts.messages(transaction.left_count, transaction.left_octets)
    return Reply(text, body=transaction.scan_listing(), body_is_wire=True)


def uidl(session: Session, arguments: Sequence[str]) -> Reply:
    """``UIDL [msg]``: the unique-id listing (RFC 1939 section 7)."""
    transaction = session.transaction
    if arguments:
        index = transaction.message_index(arguments[0])
        return Reply(f"{index + 1} {transaction.message_uid(index)}")
    return Reply(session.speech.texts.unique_id_listing, body=transaction.uid_listing(), body_is_wire=True)


def retr(session: Session, arguments: Sequence[str]) -> Reply:
    """``RETR msg``: one whole message (RFC 1939 section 5)."""
    transaction = session.transaction
    index = transaction.message_index(arguments[0])
    if _is_kept_back(session, index):
        return Reply(session.speech.texts.needs_utf8_mode, is_ok=False, code=UTF8_CODE)
    body = _message_body(session, index, transaction.whole_message(index))
    return Reply(session.speech.texts.octets(transaction.message_octets(index)), body=body, body_is_wire=True)


def top(session: Session, arguments: Sequence[str]) -> Reply:
    """``TOP msg n``: header, blank line and n lines of the body (RFC 1939 section 7)."""
    transaction = session.transaction
    index = transaction.message_index(arguments[0])
    line_count = decimal(arguments[1])
    if line_count is None:
        raise CommandSyntaxError(f"line count {arguments[1]!r}")
    if _is_kept_back(session, index):
        return Reply(session.speech.texts.needs_utf8_mode, is_ok=False, code=UTF8_CODE)
    body = _message_body(session, index, transaction.top_of_message(index, line_count))
    return Reply(session.speech.texts.top_of_message, body=body, body_is_wire=True)


def dele(session: Session, arguments: Sequence[str]) -> Reply:
    """``DELE msg``: mark one message; it is removed in the UPDATE state (RFC 1939 section 5)."""
    index = session.transaction.message_index(arguments[0])
    session.transaction.mark_deleted(index)
    return Reply(session.speech.texts.deleted(index + 1))


def noop(session: Session, _arguments: Sequence[str]) -> Reply:
    """``NOOP``: nothing but a positive reply (RFC 1939 section 5)."""
    return Reply(session.speech.texts.done)


def rset(session: Session, _arguments: Sequence[str]) -> Reply:
    """``RSET``: take back every mark (RFC 1939 section 5)."""
    session.transaction.unmark_all()
    return Reply(session.speech.texts.messages(session.transaction.left_count, session.transaction.left_octets))


def _is_kept_back(session: Session, index: int) -> bool:
    """Tell whether the message is refused without UTF-8 mode (RFC 6856 section 5)."""
    if session.policy.ascii_mode is not AsciiMode.REFUSE or session.speech.is_utf8:
        return False
    return needs_utf8_mode(wire.with_crlf(session.transaction.maildrop.read_message(index)))


def _message_body(session: Session, index: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    if session.policy.replace_nul:
        pieces = wire.without_nul(pieces)
    if session.policy.ascii_mode is AsciiMode.SURROGATE and not session.speech.is_utf8:
        pieces = with_header_in_ascii(pieces)
    return wire.byte_stuffed(pieces) if session.transaction.has_dot_lines(index) else pieces


BUILT_IN: tuple[Command[Session], ...] = (
    Command("CAPA", capa, IN_BOTH),
    Command("STLS", stls, IN_AUTHORIZATION, capability="STLS"),
    Command("USER", user, IN_AUTHORIZATION, arity=range(1, 2), capability="USER", reveals_password=True),
    Command("PASS", pass_, IN_AUTHORIZATION, arity=range(1, 2), takes_rest=True, reveals_password=True),
    Command("APOP", apop, IN_AUTHORIZATION, arity=range(2, 3)),
    Command("AUTH", auth, IN_AUTHORIZATION, arity=range(3)),
    Command("QUIT", quit_in_authorization, IN_AUTHORIZATION),
    Command("QUIT", quit_in_transaction, IN_TRANSACTION),
    Command("STAT", stat, IN_TRANSACTION),
    Command("LIST", list_, IN_TRANSACTION, arity=range(2)),
    Command("RETR", retr, IN_TRANSACTION, arity=range(1, 2)),
    Command("DELE", dele, IN_TRANSACTION, arity=range(1, 2)),
    Command("NOOP", noop, IN_TRANSACTION),
    Command("RSET", rset, IN_TRANSACTION),
    Command("TOP", top, IN_TRANSACTION, arity=range(2, 3), capability="TOP"),
    Command("UIDL", uidl, IN_TRANSACTION, arity=range(2), capability="UIDL"),
)
"""Every command that the engine itself knows."""

RESPONSE: Command[Session] = Command("RESPONSE", respond, IN_AUTHORIZATION, arity=range(1, 2), takes_rest=True)
"""What takes the lines of a SASL exchange; it is in no table."""
