"""A front's way to accounts and mail when each user has a process: it asks the gate, and hands the connection over."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from popframe.engine import Handover, Negotiated
from popframe.errors import TemporaryFailure
from popframe.extension import Challenge
from popframe.model import (
    Account,
    Outcome,
    Peer,
    PlainCredentials,
    SessionSummary,
)
from popframe.proof import Proven
from popframe.server.abuse.guard import Attempt
from popframe.server.admission import Admitted
from popframe.server.backend import HookBackend
from popframe.server.isolation.channel import Channel, LoginRequest
from popframe.server.isolation.relay import Relay
from popframe.server.observation.trace import Trace, TraceScope, Write
from popframe.server.sasl.exchange import Run
from popframe.server.service import GateDoor
from popframe.server.transport import Transport


class GateBackend(HookBackend):
    """One session's way to the gate."""

    def __init__(self, local: HookBackend, door: GateDoor, transport: Transport, trace: Trace | None = None) -> None:
        """Ask the gate, where the other backend would ask the plugins.

        Args:
            local: What is known of the session, and how it is counted.
            door: The way to the gate.
            transport: What is handed over after a login.
            trace: What is written of the session; None when it will not be traced.
        """
        super().__init__(
            local.session_id,
            local.peer,
            local.hooks,
            local.rules,
            local.place,
            local.doorkeeper,
            local.mechanisms,
            local.log,
        )
        self._door = door
        self._transport = transport
        self._trace = trace

    def _admitted(self, proof: PlainCredentials | Proven, counted: Attempt, run: Run | None) -> tuple[Handover, str]:
        """Let the gate admit the user; the connection then belongs to a process that is this user.

        Raises:
            PopframeError: The login is refused.
        """
        call = run.call if isinstance(run, _GateRun) else self._asked(proof)
        patience = self._door.patience_seconds
        with call.unless_answered():
            if run is not None:
                call.channel.send_check()
            username, master = call.channel.receive_account(patience)
            admission = Admitted(Account(username), master)
            with self._entered(counted, admission):
                scope = TraceScope.NOTHING if self._trace is None else self._trace.scope(admission.account.username)
                call.channel.send_open(scope)
                call.channel.receive_ready(patience)
        take = None if self._trace is None else self._trace.write
        elsewhere = _Elsewhere(call, self.session_id, self.peer, admission.account, take)
        return Handover(admission.account, elsewhere.go_on, elsewhere.stop), master

    def _begun(self, mechanism: str) -> _GateRun:
        return _GateRun(self._asked(mechanism), self._door.patience_seconds)

    def _asked(self, proof: PlainCredentials | Proven | str) -> _Call:
        """Send the beginning of a login and the connection to the gate; return the way on which the answer comes.

        Under TLS it is not the client's connection that is sent, but one to this process, which goes on with the TLS.

        Raises:
            TemporaryFailure: The gate cannot be asked.
        """
        if isinstance(proof, Proven):
            raise TemporaryFailure("nothing is proven in a process that may not ask for secrets")
        channel, theirs = Channel.pair()
        relay, far_end = None, self._transport.socket
        if self._transport.layer is not None:
            relay, far_end = Relay.pair(self._transport.socket, self._transport.layer)
        call = _Call(channel, relay)
        request = LoginRequest(self.session_id, self.peer, proof).packed()
        try:
            socket.send_fds(self._door.requests, [request], [theirs.fileno(), far_end.fileno()])
        except OSError as exc:
            call.close()
            raise TemporaryFailure(f"the gate cannot be asked: {exc.strerror}") from exc
        finally:
            theirs.close()
            if relay is not None:
                far_end.close()
        return call


@dataclass(frozen=True, slots=True)
class _Call:
    """The way to a process of the gate.

    Attributes:
        channel: Where it answers.
        relay: Between it and the client, under TLS.
    """

    channel: Channel
    relay: Relay | None

    def close(self) -> None:
        """Let go of it: the process ends."""
        self.channel.close()
        if self.relay is not None:
            self.relay.close()

    @contextlib.contextmanager
    def unless_answered(self) -> Iterator[None]:
        """Let go of it when the block raises."""
        try:
            yield
        except BaseException:
            self.close()
            raise


class _GateRun:
    """An exchange that the gate's child runs."""

    def __init__(self, call: _Call, patience_seconds: float) -> None:
        self.call = call
        self._patience_seconds = patience_seconds

    @property
    def username(self) -> str:
        return self.call.channel.username

    def respond(self, response: bytes | None) -> Challenge | PlainCredentials | Proven:
        with self.call.unless_answered():
            self.call.channel.send_response(response)
            return self.call.channel.receive_step(self._patience_seconds)

    def close(self) -> None:
        self.call.close()


class _Elsewhere:
    """A session that goes on in another process."""

    def __init__(self, call: _Call, session_id: str, peer: Peer, account: Account, take: Write | None) -> None:
        """Take over what the front holds of it.

        Args:
            call: The way to the process, and what is between it and the client if the front keeps the client's TLS.
            session_id: The session's name in the log.
            peer: Where the client connects from.
            account: Who has logged in.
            take: Takes what the process writes into the session's trace; None when it will not be traced.
        """
        self._call = call
        self._session_id = session_id
        self._peer = peer
        self._account = account
        self._take = take
        self._lock = threading.Lock()
        self._is_over = False
        self._was_stopped = False

    def go_on(self, negotiated: Negotiated, unread: bytes) -> SessionSummary:
        """Let it go on, and wait for its end."""
        try:
            self._call.channel.send_go_on(negotiated, unread)
            relay = self._call.relay
            summary = self._receive_summary() if relay is None else self._relayed(relay)
        except OSError:
            summary = None
        with self._lock:
            self._is_over = True
            self._call.close()
        if summary is None:
            outcome = Outcome.SHUT_DOWN if self._was_stopped else Outcome.STORAGE_FAILED
            return SessionSummary(self._session_id, self._peer, self._account.username, outcome, 0.0)
        return summary

    def _receive_summary(self) -> SessionSummary | None:
        return self._call.channel.receive_summary(self._take)

    def _relayed(self, relay: Relay) -> SessionSummary | None:
        """Move the octets; somebody else reads what the process says, where it writes a trace meanwhile."""
        if self._take is None:
            relay.run()
            return self._receive_summary()
        summaries: list[SessionSummary | None] = []
        reader = threading.Thread(target=lambda: summaries.append(self._receive_summary()), daemon=True)
        reader.start()
        relay.run()
        reader.join()
        return summaries[0]

    def stop(self) -> None:
        """End it without an UPDATE state, from another thread; the connection is to be shut down behind this."""
        with self._lock:
            if not self._is_over:
                self._was_stopped = True
                try:
                    self._call.channel.send_stop()
                except OSError:
                    return
