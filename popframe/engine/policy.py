"""Choices that the RFCs leave to a site, and the engine's limits."""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass

from popframe.model import Outcome, Peer

MAX_LINE_OCTETS = 512
"""Longest command line, CRLF included.

RFC 2449 section 4 demands 255; an address of RFC 5321 as a user name alone may be 320 octets long.
"""

MAX_RESPONSE_OCTETS = 65_536
"""Longest line of a SASL exchange, CRLF included: a response in base64, or AUTH with an initial one.

Tokens of OAuth have been seen with some 12 KiB (RFC 5034 section 4 sets no limit of its own). A longer one ends the
connection, since nothing tells its rest from commands.
"""

MAX_RESPONSES = 10
"""Responses in one exchange: SCRAM takes three, and a plugin's mechanism may want some more."""

MAX_DISCARDED_OCTETS = 65_536
"""How much of one over-long line is read and thrown away before the connection is closed.

Enough that a client which sent a message by mistake gets its answer; too little to keep a thread busy.
"""

MAX_UNWANTED_OCTETS = 67_108_864
"""How much of the rest of a body is read and thrown away, once it was refused, before the connection is closed.

Enough that a client which sends what is too large learns so: most mail servers take 10 to 50 MiB.
"""

BODY_PROGRESS_OCTETS = 65_536
"""A body resets the autologout timer each time that so much of it has come.

In ten minutes, the least that RFC 1939 section 3 allows, that is 110 octets a second: any line is faster, and a client
that sends an octet now and then holds its session no longer than one that says nothing.
"""

MAX_NUMBER_DIGITS = 20
"""Longest message-number or line count that is looked at: 2**64 has 20 digits. More is refused before it costs time."""

BATCH_OCTETS = 65_536
"""Replies are handed out when this much has been gathered.

Replies to pipelined commands leave in one send; pieces of 16 to 64 KiB are the fastest to convert and to send.
"""

BATCH_BUFFERS = 512
"""Buffers in one batch; half of Linux's IOV_MAX, so that one sendmsg takes them all."""

LOST_CONNECTION = frozenset({Outcome.DISCONNECTED, Outcome.TIMED_OUT})
"""Ends that are the client's, or the line's; for a site that wants marks to count then too."""


class ImplementationShown(enum.Enum):
    """When CAPA tells the IMPLEMENTATION (RFC 2449 section 6.9)."""

    NEVER = "never"
    AFTER_LOGIN = "after-login"
    ALWAYS = "always"


class ClearText(enum.Enum):
    """Where passwords are taken on connections that nothing protects (RFC 2595 section 2.3, RFC 8314 section 4.1)."""

    NEVER = "never"
    LOCAL = "local"
    """From clients on the server's own machine, which nobody else can listen to."""
    ALWAYS = "always"


class Utf8Support(enum.Enum):
    """What of RFC 6856 section 2 a site offers, and takes names and passwords for."""

    USER = "user"
    """The command UTF8, and names and passwords that are UTF-8 and nothing else (``UTF8 USER``)."""
    MESSAGES = "messages"
    """The command UTF8; a password is octets in whatever encoding."""
    OFF = "off"
    """Not the command either."""


class AsciiMode(enum.Enum):
    """What a client that has not said UTF8 gets of a message whose header goes beyond ASCII (RFC 6856 section 2.1)."""

    SURROGATE = "surrogate"
    """The message with its header rewritten in ASCII, as long as the original."""
    REFUSE = "refuse"
    """``-ERR [UTF8]``."""
    AS_IS = "as-is"
    """The message as it is stored, as servers have always sent it, against RFC 6856."""


class Channel(enum.Enum):
    """What the connection between client and server is worth; it decides which commands are taken."""

    CLEAR = "clear"
    """Everybody on the way can read it: no passwords."""
    TRUSTED = "trusted"
    """In clear text, where the site lets passwords through."""
    PROTECTED = "protected"
    """Under TLS."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A site's choices, the same for every session.

    Attributes:
        greeting: Text after ``+OK`` in the greeting.
        implementation: Text of the IMPLEMENTATION capability.
        implementation_shown: When CAPA tells it.
        max_bad_commands: Commands that were not understood before the connection is closed: in all before login, in
            a row after it. Clients probe: at least ten must be free.
        max_failed_logins: Refused passwords before the connection is closed. Clients fall from one mechanism to the
            next with the same password: at least three must be free.
        update_on_abort: Remove what is marked also when the connection ends, or is ended by a timer, without QUIT: what
            popper 2.1 did and RFC 1939 section 6 forbids.
        clear_text: Where passwords are taken without TLS.
        language: Tag of the language that is spoken unless a client chooses another one.
        utf8: What of UTF8 is offered.
        ascii_mode: What a client that has not said UTF8 gets of a message whose header goes beyond ASCII.
        offers_tls: STLS can be answered with a handshake (RFC 2595 section 4).
        login_delay_seconds: What LOGIN-DELAY announces, and the backend enforces (RFC 2449 section 6.5); 0 for none.
        offers_apop: APOP is taken, and the greeting has a timestamp for it (RFC 1939 section 7).
        replace_nul: Send a NUL octet inside a message as 0x80, since some clients stop at NUL; sizes stay the same.
    """

    greeting: str = "POP3 server ready"
    implementation: str = "popframe"
    implementation_shown: ImplementationShown = ImplementationShown.AFTER_LOGIN
    max_bad_commands: int = 20
    max_failed_logins: int = 5
    replace_nul: bool = False
    update_on_abort: bool = False
    clear_text: ClearText = ClearText.LOCAL
    offers_tls: bool = False
    language: str = "en"
    utf8: Utf8Support = Utf8Support.USER
    ascii_mode: AsciiMode = AsciiMode.SURROGATE
    login_delay_seconds: int = 0
    offers_apop: bool = False

    def channel(self, peer: Peer) -> Channel:
        """Return what the connection with a client is worth."""
        if peer.tls is not None:
            return Channel.PROTECTED
        if self.clear_text is ClearText.ALWAYS or (self.clear_text is ClearText.LOCAL and _is_on_this_machine(peer)):
            return Channel.TRUSTED
        return Channel.CLEAR


def _is_on_this_machine(peer: Peer) -> bool:
    """Tell whether a client talks over the loopback interface, or a socket without addresses.

    One behind a proxy does not: what the proxy's own machine calls loopback is not this one's, and a proxy that does
    not know its client tells of itself.
    """
    return not peer.proxy and (not peer.address or ipaddress.ip_address(peer.address.partition("%")[0]).is_loopback)
