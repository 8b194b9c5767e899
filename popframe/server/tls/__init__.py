"""TLS with the standard library's ssl: certificates, the handshake, and moving octets under it (RFC 8446, RFC 5246).

Rule of this folder: an SSLObject over memory, never an SSLSocket, so that every wait is a wait on the socket itself,
with the session's own timers. Private keys are in the memory of the master, and of processes that make handshakes.
"""

from popframe.server.tls.certificates import Certificates
from popframe.server.tls.handshake import TlsLayer

__all__ = ["Certificates", "TlsLayer"]
