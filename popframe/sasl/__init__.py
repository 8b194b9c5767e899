"""The SASL mechanisms that popframe has itself, one class for each (RFC 4422, RFC 5034).

Rule of this folder: a mechanism takes octets and gives octets, credentials, or a name that it has proven. What plugins
know it asks of its context; it sees no session, and says to the log what was wrong and to the client nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from popframe.extension import Mechanism
from popframe.sasl.apop import Apop
from popframe.sasl.cram_md5 import CramMd5
from popframe.sasl.external import External
from popframe.sasl.login import Login
from popframe.sasl.plain import Plain
from popframe.sasl.scram import Scram

__all__ = ["BUILT_IN", "OFF_BY_DEFAULT", "Apop", "built_in"]


def _scram(scheme: str, *, plus: bool) -> Callable[[Collection[str]], Mechanism]:
    return lambda offered: Scram(scheme, is_plus=plus, has_plus=f"{scheme.upper()}-PLUS" in offered)


BUILT_IN: Mapping[str, Callable[[Collection[str]], Mechanism]] = MappingProxyType(
    {
        "SCRAM-SHA-256-PLUS": _scram("scram-sha-256", plus=True),
        "SCRAM-SHA-256": _scram("scram-sha-256", plus=False),
        "SCRAM-SHA-1-PLUS": _scram("scram-sha-1", plus=True),
        "SCRAM-SHA-1": _scram("scram-sha-1", plus=False),
        "EXTERNAL": lambda _offered: External(),
        "CRAM-MD5": lambda _offered: CramMd5(),
        "PLAIN": lambda _offered: Plain(),
        "LOGIN": lambda _offered: Login(),
    }
)
"""What makes each, from the names of all that are offered; the strongest first, as they are announced."""

OFF_BY_DEFAULT = frozenset({"CRAM-MD5"})
"""It needs passwords that can be read in the file, and MD5 (RFC 2195 section 4)."""


def built_in(offered: Collection[str]) -> list[Mechanism]:
    """Return those that are to be offered, in their order.

    Args:
        offered: Their names; others' in it are passed over.
    """
    return [make(offered) for name, make in BUILT_IN.items() if name in offered]
