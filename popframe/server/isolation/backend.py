"""A front's way to accounts and mail when each user has a process: it asks the gate, and hands the connection over."""

from __future__ import annotations

import socket
import threading

from popframe.engine import Handover, Negotiated
from popframe.errors import TemporaryFailure
from popframe.model import Account, Outcome, Peer, PlainCredentials, SessionSummary
from popframe.server.abuse.guard import Attempt
from popframe.server.backend import HookBackend
from popframe.server.isolation.channel import Channel, LoginRequest
from popframe.server.isolation.relay import Relay
from popframe.server.service import GateDoor
from popframe.server.transport import Transport


class GateBackend(HookBackend):
    """One session's way to the gate."""

    def __init__(self, local: HookBackend, door: GateDoor, transport: Transport) -> None:
        """Ask the gate, where the other backend would ask the plugins.

        Args:
            local: What is known of the session, and how it is counted.
            door: The way to the gate.
            transport: What is handed over after a login.
        """
        super().__init__(local.session_id, local.peer, local.hooks, local.rules, local.place, local.doorkeeper)
        self._door = door
        self._transport = transport

    def _admitted(self, credentials: PlainCredentials, counted: Attempt) -> Handover:
        """Let the gate admit the user; the connection then belongs to a process that is this user.

        Raises:
            PopframeError: The login is refused.
        """
        channel, relay = self._asked(credentials)
        try:
            account = Account(channel.receive_account(self._door.patience_seconds))
            with self._entered(counted, account):
                channel.send_open()
                channel.receive_ready(self._door.patience_seconds)
        except BaseException:
            channel.close()
            if relay is not None:
                relay.close()
            raise
        elsewhere = _Elsewhere(channel, relay, self.session_id, self.peer, account)
        return Handover(account, elsewhere.go_on, elsewhere.stop)

    def _asked(self, credentials: PlainCredentials) -> tuple[Channel, Relay | None]:
        """Send the credentials and the connection to the gate.

        Under TLS it is not the client's connection that is sent, but one to this process, which goes on with the TLS.

        Returns:
            The way on which the answer comes, and what is between the two connections if there are two.

        Raises:
            TemporaryFailure: The gate cannot be asked.
        """
        channel, theirs = Channel.pair()
        relay, far_end = None, self._transport.socket
        if self._transport.layer is not None:
            relay, far_end = Relay.pair(self._transport.socket, self._transport.layer)
        request = LoginRequest(self.session_id, self.peer, credentials).packed()
        try:
            socket.send_fds(self._door.requests, [request], [theirs.fileno(), far_end.fileno()])
        except OSError as exc:
            channel.close()
            if relay is not None:
                relay.close()
            raise TemporaryFailure(f"the gate cannot be asked: {exc.strerror}") from exc
        finally:
            theirs.close()
            if relay is not None:
                far_end.close()
        return channel, relay


class _Elsewhere:
    """A session that goes on in another process."""

    def __init__(self, channel: Channel, relay: Relay | None, session_id: str, peer: Peer, account: Account) -> None:
        self._channel = channel
        self._relay = relay
        self._session_id = session_id
        self._peer = peer
        self._account = account
        self._lock = threading.Lock()
        self._is_over = False
        self._was_stopped = False

    def go_on(self, negotiated: Negotiated, unread: bytes) -> SessionSummary:
        """Let it go on, and wait for its end."""
        try:
            self._channel.send_go_on(negotiated, unread)
            if self._relay is not None:
                self._relay.run()
            summary = self._channel.receive_summary()
        except OSError:
            summary = None
        with self._lock:
            self._is_over = True
            self._channel.close()
        if self._relay is not None:
            self._relay.close()
        if summary is None:
            outcome = Outcome.SHUT_DOWN if self._was_stopped else Outcome.STORAGE_FAILED
            return SessionSummary(self._session_id, self._peer, self._account.username, outcome, 0.0)
        return summary

    def stop(self) -> None:
        """End it without an UPDATE state, from another thread; the connection is to be shut down behind this."""
        with self._lock:
            if not self._is_over:
                self._was_stopped = True
                try:
                    self._channel.send_stop()
                except OSError:
                    return
