"""Where to listen, and with which TLS."""

from __future__ import annotations

from collections.abc import Mapping

from popframe.migration.qpopper.command_line import ADDRESS
from popframe.migration.qpopper.given import Given
from popframe.migration.qpopper.plan import DEFAULT, Plan

POP3_PORT, POP3S_PORT = 110, 995
LAST_PORT = 65_535


def set_listening(plan: Plan, effective: Mapping[str, Given], port: int | None) -> None:
    """Say where to listen, and what TLS there is.

    Raises:
        ValueError: There is to be TLS without a certificate; or no address.
    """
    support = effective.get("tls-support")
    has_tls = support is not None and support.value in {"STLS", "alternate-port"}
    certificate = effective.get("tls-server-cert-file")
    if support is not None and has_tls and certificate is None:
        raise ValueError(f"{support.origin}: tls-support: needs tls-server-cert-file, which is not set")
    if not has_tls and (certificate is not None or "tls" in plan.tables):
        for given in (certificate, effective.get("tls-private-key-file")):
            if given is not None:
                plan.note(given, "tls-support is none, so there is no TLS")
        plan.tables.pop("tls", None)
    is_tls_first = support is not None and support.value == "alternate-port"
    given = effective.get(ADDRESS)
    hosts: tuple[str, ...] = ("0.0.0.0", "[::]")  # noqa: S104  # as Qpopper
    number = port or (POP3S_PORT if is_tls_first else POP3_PORT)
    if given is not None:
        hosts, number = _address_of(given, hosts, number)
    addresses = [f"{host}:{number}" for host in hosts]
    reason = given or (f"port {port} of inetd or xinetd" if port else DEFAULT)
    if is_tls_first:
        plan.set("server", "listen", [], str(support))
        plan.set("server", "listen_tls", addresses, reason)
    else:
        plan.set("server", "listen", addresses, reason)


def _address_of(given: Given, hosts: tuple[str, ...], port: int) -> tuple[tuple[str, ...], int]:
    """Read ``[address][:][port]``.

    Raises:
        ValueError: It is none.
    """
    text = str(given.value)
    host, colon, number = text.rpartition(":")
    if text.isdecimal():
        host, number = "", text
    elif not colon or text.endswith("]"):
        host, number = text, ""
    if number and not (number.isdecimal() and 0 < int(number) <= LAST_PORT):
        raise ValueError(f"{given.origin}: {text!r} is no address; right would be ADDRESS, PORT or ADDRESS:PORT")
    return ((host,) if host else hosts), int(number or port)
