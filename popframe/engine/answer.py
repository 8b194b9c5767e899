"""What becomes of a handler's reply, or of an error, before the first octet of it is sent."""

from __future__ import annotations

from itertools import chain

from popframe.engine import wire
from popframe.engine.authentication import ChallengeReply
from popframe.engine.speech import English, Speech
from popframe.errors import (
    AuthenticationFailed,
    HookContractError,
    LoginDelayed,
    MaildropInUse,
    PermanentFailure,
    Refusal,
    TemporaryFailure,
)
from popframe.extension import Reply, State

LOGIN_CODES = frozenset({AuthenticationFailed.code, MaildropInUse.code, LoginDelayed.code})
"""Response codes that may answer a login and nothing else (RFC 2449 section 8.1, RFC 3206 section 5)."""


def begun(reply: Reply) -> Reply:
    """Take the first piece of a reply's body now, so that what cannot be read is refused before ``+OK`` is said.

    Raises:
        HookContractError: A command extension returned something that is not a reply.
    """
    if not (isinstance(reply, Reply) and isinstance(reply.text, str)):
        raise HookContractError(f"a command returned {type(reply).__name__} where a Reply with a text is due")
    if reply.receive is not None and (reply.body is not None or reply.close or not reply.is_ok):
        reply.receive.abort()
        raise HookContractError("a command wants a body behind a reply that is not a plain +OK")
    if reply.body is None:
        return reply
    if not reply.is_ok:
        return Reply(reply.text, is_ok=False, code=reply.code, close=reply.close)
    pieces = iter(reply.body)
    body = chain((next(pieces, b""),), pieces)
    return Reply(reply.text, code=reply.code, body=body, body_is_wire=reply.body_is_wire, close=reply.close)


def first_line(reply: Reply, speech: Speech) -> bytes:
    """Render the first line of a reply, or a challenge."""
    return wire.challenge_line(reply.challenge) if isinstance(reply, ChallengeReply) else speech.status_line(reply)


def refusal_for(error: Exception, state: State) -> Refusal:
    """Return what the client may be told of an error in a state."""
    if isinstance(error, HookContractError):
        return PermanentFailure()
    if isinstance(error, Refusal) and (state is State.AUTHORIZATION or error.code not in LOGIN_CODES):
        return error
    return TemporaryFailure()


def refused(refusal: Refusal, texts: English) -> Reply:
    """Return what the client is told of a refusal, in its language."""
    return Reply(texts.refusal(refusal), is_ok=False, code=refusal.code)
