"""The PROXY protocol, versions 1 and 2: what a trusted proxy says of a client before the client's own octets.

The text is proxy-protocol.txt of HAProxy; "section" in this folder means one of that. No library is used: the one there
is takes address families that are not defined and entries that reach past the end of the header, and verifies checksums
over entries that it has sorted, so that it refuses what HAProxy sends.
"""

from __future__ import annotations

from popframe.server.proxy_protocol.proxies import Proxies

__all__ = ["Proxies"]
