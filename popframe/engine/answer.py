"""What becomes of a handler's reply before the first octet of it is sent."""

from __future__ import annotations

from itertools import chain

from popframe.errors import HookContractError, Refusal
from popframe.extension import Reply


def begun(reply: Reply) -> Reply:
    """Take the first piece of a reply's body now, so that what cannot be read is refused before ``+OK`` is said.

    Raises:
        HookContractError: A command extension returned something that is not a reply.
    """
    if not (isinstance(reply, Reply) and isinstance(reply.text, str)):
        raise HookContractError(f"a command returned {type(reply).__name__} where a Reply with a text is due")
    if reply.body is None:
        return reply
    if not reply.is_ok:
        return Reply(reply.text, is_ok=False, code=reply.code, close=reply.close)
    pieces = iter(reply.body)
    body = chain((next(pieces, b""),), pieces)
    return Reply(reply.text, code=reply.code, body=body, body_is_wire=reply.body_is_wire, close=reply.close)


def refused(refusal: Refusal) -> Reply:
    """Return what the client is told of a refusal."""
    return Reply(refusal.wire_text, is_ok=False, code=refusal.code)
