"""An address to listen on, as the configuration file spells it.

Rule of this file: numeric addresses only. A host name would be looked up once, at start, by a resolver that may not be
there yet, and may stand for several addresses; the operator is asked to say which one is meant.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field

LOCALHOST = "127.0.0.1"
"""What ``localhost`` stands for: one address, since one entry is one socket; ``[::1]`` is written out."""

MAX_PORT = 65_535
"""A port is 16 bits wide (RFC 9293 section 3.1)."""


def normal_address(text: str) -> str:
    """Check ``address:port`` and return its one usual form.

    Args:
        text: ``127.0.0.1:110``, ``[::1]:110`` or ``localhost:110``; port 0 is allowed.

    Raises:
        ValueError: It is none of these; the message says what is wrong.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ValueError(f"{text!r} is not address:port, as in '127.0.0.1:110' or '[::1]:110'")
    if not (port.isascii() and port.isdigit() and len(port) <= len(str(MAX_PORT)) and int(port) <= MAX_PORT):
        raise ValueError(f"{port!r} is not a port, a number from 0 to {MAX_PORT}")
    return f"{_normal_host(host)}:{int(port)}"


def _normal_host(host: str) -> str:
    """Return the numeric address in its usual form, IPv6 in brackets, or raise :class:`ValueError`."""
    if host == "localhost":
        return LOCALHOST
    if host.startswith("[") and host.endswith("]"):
        try:
            return f"[{ipaddress.IPv6Address(host[1:-1])}]"
        except ValueError as exc:
            raise ValueError(f"{host!r} is not an IPv6 address") from exc
    if ":" in host:
        raise ValueError(f"{host!r}: an IPv6 address stands in brackets, as in '[::1]:110'")
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError as exc:
        raise ValueError(
            f"{host!r} is not a numeric address; host names are not looked up, except 'localhost'"
        ) from exc


ADDRESS_PATTERN = r"^(localhost|[0-9.]+|\[[^\]]+\]):[0-9]{1,5}$"
"""What editors check; the full check is :func:`normal_address`."""

ListenAddress = Annotated[str, AfterValidator(normal_address), Field(json_schema_extra={"pattern": ADDRESS_PATTERN})]
"""One entry of ``listen``."""
