"""The handshake, and what comes after it."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping

from popframe.model import Tls
from popframe.server.tls.certificates import PROTOCOL, Certificate, Certificates
from popframe.server.tls.client_hello import MAX_HELLO_OCTETS, ClientHello, read_client_hello
from popframe.server.transport import HandshakeFailed, Wire

READ_OCTETS = 65_536
"""Plain octets taken from OpenSSL at once; it gives one record, 16 KiB at most."""

NO_APPLICATION_PROTOCOL = b"\x15\x03\x01\x00\x02\x02\x78"
"""The alert of that name, fatal, in a record of its own (RFC 7301 section 3.2, RFC 8446 section 6)."""


class TlsLayer:
    """TLS on one connection.

    Attributes:
        tls: What was agreed on.
    """

    def __init__(self, wire: Wire, certificates: Certificates, seconds: float) -> None:
        """Make the handshake.

        Args:
            wire: The connection; the client's first message is the next that comes on it.
            certificates: Which there are.
            seconds: How long all of it may take.

        Raises:
            HandshakeFailed: The two do not come together.
            BlockingIOError: The client has taken too long.
            OSError: The connection is broken.
        """
        self._wire = wire
        self._deadline = time.monotonic() + seconds
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        hello, octets = self._first_message()
        if hello.protocols is not None and PROTOCOL.encode() not in hello.protocols:
            wire.send([NO_APPLICATION_PROTOCOL])
            raise HandshakeFailed("the client wants to speak another protocol")
        certificate = certificates.for_name(hello.server_name)
        self._object = certificate.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._incoming.write(octets)
        self._shake_hands()
        self.tls = self._agreed(certificates, certificate, hello)

    def _first_message(self) -> tuple[ClientHello, bytes]:
        """Read until the client's first message is there, or what cannot be one."""
        octets = self._wire.receive(self._deadline - time.monotonic())
        if not octets:
            raise ConnectionAbortedError("the client has said nothing")  # a port scan, or a monitor: no failure
        while len(octets) <= MAX_HELLO_OCTETS:
            try:
                hello = read_client_hello(octets)
            except ValueError:
                break  # OpenSSL says what is wrong with it
            if hello is not None:
                return hello, octets
            octets += self._received()
        return ClientHello(), octets

    def _received(self) -> bytes:
        octets = self._wire.receive(self._deadline - time.monotonic())
        if not octets:
            raise HandshakeFailed("the client has closed the connection")
        if time.monotonic() > self._deadline:
            raise BlockingIOError("the handshake takes too long")
        return octets

    def _shake_hands(self) -> None:
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._incoming.write(self._received())
            except ssl.SSLError as error:
                self._flush()  # the alert
                raise HandshakeFailed(error.reason or str(error)) from error
            else:
                self._flush()
                return

    def _agreed(self, certificates: Certificates, certificate: Certificate, hello: ClientHello) -> Tls:
        shown: Mapping[str, object] | None = self._object.getpeercert()
        cipher = self._object.cipher()
        return Tls(
            version=self._object.version() or "",
            cipher=cipher[0] if cipher else "",
            server_name=hello.server_name,
            client_name=certificates.client_name_in(shown),
            end_point=certificate.end_point,
        )

    # --- plain octets, waited for

    def receive(self, seconds: float) -> bytes:
        """Wait for plain octets; none are the end, whether the client has said so or not.

        Raises:
            BlockingIOError: None came in time, whatever else did.
            OSError: The connection is broken, or what comes is not TLS.
        """
        deadline = time.monotonic() + seconds
        while (octets := self.read_now()) is None:
            self._flush()
            left = deadline - time.monotonic()
            if left <= 0:
                raise BlockingIOError("nothing came")
            received = self._wire.receive(left)
            if not received:
                return b""
            self.put_in(received)
        return octets

    def send(self, buffers: list[bytes]) -> None:
        """Send all of it.

        Raises:
            BlockingIOError: The client has read nothing for too long.
            OSError: The connection is broken.
        """
        self.write_now(b"".join(buffers))
        self._flush()

    # --- the same without a wait, for whoever moves the octets itself

    def put_in(self, octets: bytes) -> None:
        """Take what came from the client."""
        self._incoming.write(octets)

    def read_now(self) -> bytes | None:
        """Return plain octets from the client; none at the end that it has announced; None when more has to come.

        Raises:
            OSError: What came is not TLS.
        """
        try:
            return self._object.read(READ_OCTETS)
        except ssl.SSLWantReadError:
            return None

    def write_now(self, octets: bytes) -> None:
        """Take plain octets for the client."""
        self._object.write(octets)

    def take_out(self) -> bytes:
        """Take what is to be sent to the client."""
        return self._outgoing.read()

    # --- the end

    def say_end(self) -> None:
        """Send the alert that says that this is the end, unless that would have to wait (RFC 8446 section 6.1).

        Raises:
            OSError: The connection is broken.
        """
        try:
            self._object.unwrap()
        except ssl.SSLError:  # the client's own alert is not waited for
            octets = self.take_out()
            if octets:
                self._wire.socket.send(octets, socket.MSG_DONTWAIT)

    def _flush(self) -> None:
        octets = self.take_out()
        if octets:
            self._wire.send([octets])
