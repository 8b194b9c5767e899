"""What a front, the gate and a session's process say to each other.

Every message is one datagram of a SOCK_SEQPACKET socket pair: whole or not at all, and an end of file when the other
side has died. A session has a pair of its own, one end of which reaches its process by way of the gate.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from popframe import errors
from popframe.engine import Negotiated
from popframe.errors import HookContractError, PopframeError, TemporaryFailure
from popframe.extension import Challenge
from popframe.model import (
    Outcome,
    Peer,
    PlainCredentials,
    SessionSummary,
    Tls,
)
from popframe.proof import Proven
from popframe.server.observation.trace import TraceScope, Write

MAX_MESSAGE_OCTETS = 128 * 1024
"""More than the longest: what a client has pipelined behind its password, 64 KiB at most; or a reason for the log."""

MAX_REASON_CHARACTERS = 4096
"""A traceback fits; a plugin that writes a novel is cut."""

_OPEN, _GO_ON, _STOP, _RESPONSE, _NO_RESPONSE, _CHECK = b"o", b"g", b"s", b"r", b"n", b"c"
_END_OF_FIELDS = b"\n"
_LENGTH = struct.Struct("@ll")


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """What a front asks of the gate.

    Attributes:
        session_id: The session, as in every log line.
        peer: Where the client connects from.
        proof: Name and password that it sent; or the name of the mechanism whose exchange begins: its messages follow
            on the channel.
    """

    session_id: str
    peer: Peer
    proof: PlainCredentials | str

    def packed(self) -> bytes:
        """Return the datagram."""
        proof: object = self.proof
        if isinstance(self.proof, PlainCredentials):
            proof = [self.proof.username, base64.b64encode(self.proof.password).decode(), self.proof.authorization]
        return json.dumps([self.session_id, asdict(self.peer), proof]).encode()

    @classmethod
    def parsed(cls, datagram: bytes) -> Self:
        """Read a datagram.

        Raises:
            ValueError: It is not one of these.
        """
        try:
            session_id, peer, proof = json.loads(datagram)
            if isinstance(proof, str):
                return cls(str(session_id), _peer(peer), proof)
            username, password, other = proof
            credentials = PlainCredentials(str(username), base64.b64decode(password), str(other))
            return cls(str(session_id), _peer(peer), credentials)
        except (TypeError, AttributeError) as exc:
            raise ValueError(f"not a request: {exc}") from exc


class FrontGone(Exception):
    """The front wants nothing more: the client has gone, or does not go on."""


class Channel:
    """One end of a session's pair.

    Attributes:
        username: In a front, whom the exchange is about, as the other side has told; empty for nobody yet.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.username = ""

    @classmethod
    def pair(cls) -> tuple[Self, socket.socket]:
        """Return the front's end, and the other one, to be passed on."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        return cls(ours), theirs

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._end.fileno()

    def close(self) -> None:
        """Let go of it; the other side sees an end of file."""
        self._end.close()

    # --- said by the session's process, and waited for by the front

    def send_challenge(self, challenge: Challenge, username: str) -> None:
        """Say what the client is to answer next, and whom the exchange is about."""
        content = base64.b64encode(challenge.content).decode()
        self._send_fields({"challenge": content, "is_refusal": challenge.is_refusal, "user": username})

    def send_proof(self, proof: PlainCredentials | Proven) -> None:
        """Say whose proof has come, for the front to say when it is its turn."""
        password = base64.b64encode(proof.password).decode() if isinstance(proof, PlainCredentials) else None
        self._send_fields({"proof": [proof.username, password, proof.authorization], "user": proof.username})

    def send_account(self, username: str, master: str = "") -> None:
        """Say that the proof was right, who has an account, and which master user comes as that one, if one does."""
        self._send_fields({"account": [username, master]})

    def send_refusal(self, error: Exception, username: str = "") -> None:
        """Say that the login is refused, why, and whom the exchange was about."""
        name = type(error).__name__ if isinstance(error, PopframeError) else TemporaryFailure.__name__
        reason = str(error) if isinstance(error, PopframeError) else f"{type(error).__name__}: {error}"
        self._send_fields({"refused": name, "reason": reason[:MAX_REASON_CHARACTERS], "user": username})

    def send_ready(self) -> None:
        """Say that the maildrop is open."""
        self._send_fields({"ready": True})

    def send_trace(self, name: str, fields: Mapping[str, object]) -> None:
        """Say what belongs into the session's trace; where nobody takes it any more, it is lost."""
        with contextlib.suppress(OSError):
            self._send_fields({"trace": name, "fields": fields})

    def send_summary(self, summary: SessionSummary) -> None:
        """Say what the session did."""
        fields = asdict(summary) | {"outcome": summary.outcome.value}
        self._send_fields({"ended": fields})

    def receive_step(self, seconds: float) -> Challenge | PlainCredentials | Proven:
        """Wait for a challenge, or for whose proof has come; what has been proven of that one is known there alone.

        Raises:
            PopframeError: The login is refused.
            TemporaryFailure: The process died, or took too long.
        """
        fields = self._receive(seconds)
        if "challenge" in fields:
            return Challenge(base64.b64decode(fields["challenge"]), fields["is_refusal"])
        username, password, authorization = fields["proof"]
        if password is None:
            return Proven(username, authorization=authorization)
        return PlainCredentials(username, base64.b64decode(password), authorization)

    def receive_account(self, seconds: float) -> tuple[str, str]:
        """Wait for the account's name, and for that of the master user who comes as that one, or none.

        Raises:
            PopframeError: The login is refused.
            TemporaryFailure: The process died, or took too long.
        """
        username, master = self._receive(seconds)["account"]
        return str(username), str(master)

    def receive_ready(self, seconds: float) -> None:
        """Wait until the maildrop is open.

        Raises:
            PopframeError: The login is refused.
            TemporaryFailure: The process died, or took too long.
        """
        self._receive_fields("ready", seconds)

    def receive_summary(self, take: Write | None = None) -> SessionSummary | None:
        """Wait until the session has ended; None when its process died.

        Args:
            take: Takes what belongs into the session's trace; None when nobody wants it.
        """
        try:
            message = self._receive(0)
            while "trace" in message:
                if take is not None:
                    take(str(message["trace"]), message["fields"])
                message = self._receive(0)
        except TemporaryFailure:
            return None
        fields = message["ended"]
        return SessionSummary(**(fields | {"peer": _peer(fields["peer"]), "outcome": Outcome(fields["outcome"])}))

    def _send_fields(self, fields: dict[str, object]) -> None:
        self._end.send(json.dumps(fields).encode())

    def _receive_fields(self, key: str, seconds: float) -> object:
        """Wait for one message, and return one of its fields."""
        return self._receive(seconds).get(key)

    def _receive(self, seconds: float) -> dict[str, Any]:
        """Wait for one message; 0 seconds are for ever."""
        self._end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _LENGTH.pack(int(seconds), 0))
        try:
            datagram = self._receive_datagram()
        except BlockingIOError as exc:
            raise TemporaryFailure(f"no answer within {seconds:g} s") from exc
        except OSError as exc:
            raise TemporaryFailure(f"the session's process is gone: {exc.strerror}") from exc
        if not datagram:
            raise TemporaryFailure("the session's process has died")
        fields: dict[str, Any] = json.loads(datagram)
        self.username = fields.get("user", "") or self.username
        if "refused" in fields:
            raise _refusal(fields["refused"], fields["reason"])
        return fields

    def _receive_datagram(self) -> bytes:
        """Wait for one; that the other end has gone with something unread is no reason not to read what it has said."""
        try:
            return self._end.recv(MAX_MESSAGE_OCTETS)
        except ConnectionResetError:  # told once, and before what is in the queue
            return self._end.recv(MAX_MESSAGE_OCTETS)

    # --- said by the front, and waited for by the session's process

    def send_response(self, response: bytes | None) -> None:
        """Pass on what the client sent in an exchange; None when it sent no initial response.

        Raises:
            TemporaryFailure: The process has died.
        """
        self._send_order(_NO_RESPONSE if response is None else _RESPONSE + response)

    def send_check(self) -> None:
        """Let it look at the proof.

        Raises:
            TemporaryFailure: The process has died.
        """
        self._send_order(_CHECK)

    def send_open(self, scope: TraceScope) -> None:
        """Let it open the maildrop.

        Args:
            scope: How much of the session it writes into its trace.

        Raises:
            TemporaryFailure: The process has died.
        """
        self._send_order(_OPEN + scope.value.encode())

    def _send_order(self, message: bytes) -> None:
        try:
            self._end.send(message)
        except OSError as exc:
            raise TemporaryFailure(f"the session's process is gone: {exc.strerror}") from exc

    def send_go_on(self, negotiated: Negotiated, unread: bytes) -> None:
        """Let it answer the client, as that has negotiated, and go on with what the client has sent already."""
        self._end.send(_GO_ON + json.dumps(asdict(negotiated)).encode() + _END_OF_FIELDS + unread)

    def send_stop(self) -> None:
        """Tell it that the server is being stopped."""
        self._end.send(_STOP, socket.MSG_DONTWAIT)

    def receive_response(self) -> bytes | None:
        """Wait for what the client sends in an exchange; None when it sent no initial response.

        Raises:
            FrontGone: There will be nothing more.
        """
        message = self._end.recv(MAX_MESSAGE_OCTETS)
        if message[:1] not in (_RESPONSE, _NO_RESPONSE):
            raise FrontGone
        return message[1:] if message[:1] == _RESPONSE else None

    def wait_for_check(self) -> None:
        """Wait for leave to look at the proof.

        Raises:
            FrontGone: There will be none.
        """
        if self._end.recv(MAX_MESSAGE_OCTETS) != _CHECK:
            raise FrontGone

    def receive_open(self) -> TraceScope | None:
        """Wait for leave to open the maildrop, and how much of the session is traced; None for no leave."""
        message = self._end.recv(MAX_MESSAGE_OCTETS)
        return TraceScope(message[1:].decode()) if message[:1] == _OPEN else None

    def receive_go_on(self) -> tuple[Negotiated, bytes] | None:
        """Wait for leave to go on; None when the front wants nothing more."""
        message = self._end.recv(MAX_MESSAGE_OCTETS)
        if message[:1] != _GO_ON:
            return None
        fields, _, unread = message[1:].partition(_END_OF_FIELDS)
        return Negotiated(**json.loads(fields)), unread

    def is_stopped(self) -> bool:
        """Tell whether the server is being stopped."""
        try:
            return self._end.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == _STOP
        except OSError:
            return False


def _peer(fields: dict[str, Any]) -> Peer:
    tls = fields.get("tls")
    return Peer(**(fields | {"tls": None if tls is None else Tls(**tls)}))


def _refusal(name: str, reason: str) -> PopframeError:
    kind = getattr(errors, name, TemporaryFailure)
    if isinstance(kind, type) and issubclass(kind, (errors.Refusal, HookContractError)):
        return kind(reason)
    return TemporaryFailure(reason)
