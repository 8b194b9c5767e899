"""One POP3 session: the three states of RFC 1939 section 3, and the way from a line to its reply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from popframe.engine import wire
from popframe.engine.answer import begun, first_line, refusal_for, refused
from popframe.engine.authentication import Authentication, ChallengeReply
from popframe.engine.backend import Backend, Handover, Login
from popframe.engine.body import Intake
from popframe.engine.context import MaildropContext
from popframe.engine.line import CONTROL, LineBuffer, LineFault
from popframe.engine.policy import BATCH_BUFFERS, BATCH_OCTETS, LOST_CONNECTION, Policy, Utf8Support
from popframe.engine.speech import Negotiated, Speech
from popframe.engine.transaction import Transaction
from popframe.engine.verbs import HTTP_METHODS, KEEPS_USERNAME, Table, words
from popframe.errors import CommandSyntaxError, HookContractError, NoSuchMessage, Refusal
from popframe.extension import Challenge, Command, Reply, State
from popframe.model import Outcome, Peer, PlainCredentials, SessionSummary, Tls


class Session(MaildropContext):
    """A session from greeting to end.

    The driver sends :meth:`greeting`, then in turn feeds what it received to :meth:`receive_data` and sends everything
    that :meth:`output` gives. When :attr:`is_closed` is true it closes the connection. When the connection ends by
    itself, or a timer says so, it calls :meth:`abort`. A session is used by one thread at a time.

    Attributes:
        peer: Where the client connects from.
        policy: What the site chose.
        state: Where the session is.
        outcome: How it ended; meaningful when :attr:`is_closed`.
        username: The name of a USER that PASS may still use; empty for none.
        speech: In which language it speaks, and in which characters.
        command_count: Lines, and bodies, that were answered.
        body_progress: Grows as bodies come. A timer that watches for inactivity watches these two numbers.
        timestamp: The timestamp in the greeting, if APOP is offered (RFC 1939 section 7).
        expects_tls: The reply to STLS is the last in clear text: once it is sent, the driver makes the TLS handshake
            and calls :meth:`begin_tls`, or closes the connection.
        handover: Where it goes on after a login, if not here: nothing more is to be fed to this object then, and when
            it has ended there, :meth:`finish_elsewhere` is to be called.
    """

    def __init__(self, peer: Peer, backend: Backend, policy: Policy, table: Table, timestamp: str = "") -> None:
        super().__init__(peer, backend)
        self.policy = policy
        self.state = State.AUTHORIZATION
        self.outcome = Outcome.DISCONNECTED
        self.username = ""
        self.speech = Speech(policy.language)
        self.command_count = 0
        self.body_progress = 0
        self.timestamp = timestamp
        self.expects_tls = False
        self.handover: Handover | None = None
        self._summary_elsewhere: SessionSummary | None = None
        self._table = table
        self._channel = policy.channel(peer)
        self._commands = table.commands(self.state, self._channel)
        self._lines = LineBuffer()
        self._intake: Intake | None = None
        self._bad_command_count = 0
        self._authentication = Authentication(backend, is_utf8=policy.utf8 is Utf8Support.USER)
        self._is_closed = False

    # --- for the driver

    @property
    def is_closed(self) -> bool:
        """The session is over: nothing more is read, nothing more is said."""
        return self._is_closed

    @property
    def failed_login_count(self) -> int:
        """Logins that were refused."""
        return self._authentication.failed_count

    def greeting(self) -> bytes:
        """Return the line that the server speaks first (RFC 1939 section 4)."""
        return wire.status_line(Reply(f"{self.policy.greeting} {self.timestamp}".rstrip()))

    def receive_data(self, data: bytes) -> None:
        """Take what the client sent; the commands in it run when :meth:`output` is asked for their replies."""
        if not self._is_closed:
            self._lines.feed(data)

    def output(self) -> Iterator[list[bytes]]:
        """Run the commands that have come and yield the replies, as many buffers at a time as one send should take.

        A command runs only when everything before it was taken, so a client that does not read stops its own session
        and costs no memory. The end of a multi-line response is never apart from what stands before it.
        """
        buffers: list[bytes] = []
        size = 0
        while not self._is_closed:
            if self._intake is not None and buffers:
                yield buffers  # a client may wait for the word to send it, and what takes a body may take its time
                buffers, size = [], 0
            reply = self._next_reply()
            if reply is None or self.handover is not None:
                break
            pieces = (first_line(reply, self.speech),) if reply.body is None else self._multi_line(reply, reply.body)
            for octets in pieces:
                is_full = size + len(octets) > BATCH_OCTETS or len(buffers) >= BATCH_BUFFERS
                if is_full and buffers and octets is not wire.TERMINATION:
                    yield buffers
                    buffers, size = [], 0
                buffers.append(octets)
                size += len(octets)
            if reply.close:
                self.abort(Outcome.DISCONNECTED)
            if self.expects_tls:
                break
        if buffers:
            yield buffers

    def begin_tls(self, tls: Tls) -> None:
        """Go on under TLS.

        Whatever was received in clear text and not carried out yet is thrown away, and what the client has said of
        itself is forgotten: it may come from somebody on the way (RFC 2595 section 4). What it has done wrong is not.
        Where the client's own TLS ends at a proxy, this is the proxy's, and says nothing of the client.
        """
        self.expects_tls = False
        if self.peer.tls is None:
            self.peer = replace(self.peer, tls=tls)
        self._channel = self.policy.channel(self.peer)
        self._commands = self._table.commands(self.state, self._channel)
        self._lines = LineBuffer()
        self.username = ""
        self.speech = Speech(self.policy.language)

    def continue_from(self, login: Login) -> None:
        """Begin after a login that happened elsewhere, and that :meth:`answer_login` is still to answer.

        Raises:
            HookContractError: The storage contradicts itself; the maildrop is closed.
        """
        self._begin_transaction(login)

    def answer_login(self, negotiated: Negotiated) -> bytes:
        """Return the line that answers a login which happened elsewhere, and speak on as the client has asked there."""
        self.speech.take_over(negotiated)
        return self.speech.status_line(self._welcome())

    def take_unread(self) -> bytes:
        """Take what was received and not yet answered, for the session that goes on elsewhere."""
        return self._lines.take_rest()

    def finish_elsewhere(self, summary: SessionSummary) -> None:
        """Take note that the session has ended where it went on, and of what it did there."""
        self._summary_elsewhere = summary
        self._is_closed = True
        self.outcome = summary.outcome

    def abort(self, outcome: Outcome) -> None:
        """End the session without QUIT: nothing is removed (RFC 1939 section 6), unless the site wants it."""
        if self._is_closed:
            return
        if self.policy.update_on_abort and outcome in LOST_CONNECTION and self.state is State.TRANSACTION:
            self._commit()
        self._end(outcome)

    def summary(self, session_id: str, duration_seconds: float) -> SessionSummary:
        """Return what the session did, once it is over."""
        if self._summary_elsewhere is not None:
            return replace(
                self._summary_elsewhere,
                session_id=session_id,
                peer=self.peer,
                duration_seconds=duration_seconds,
                command_count=self.command_count + self._summary_elsewhere.command_count,
                failed_login_count=self.failed_login_count,
            )
        summary = SessionSummary(
            session_id=session_id,
            peer=self.peer,
            username="",
            outcome=self.outcome,
            duration_seconds=duration_seconds,
            command_count=self.command_count,
            failed_login_count=self.failed_login_count,
        )
        return summary if self._transaction is None else self._transaction.add_to(summary)

    # --- for command handlers

    @property
    def language(self) -> str:
        """Tag of the language that is spoken."""
        return self.speech.texts.tag

    def capabilities(self) -> Iterator[bytes]:
        """Yield the lines of CAPA."""
        yield self._table.capabilities(self.state, self._channel)
        if names := self.mechanisms():
            yield f"SASL {' '.join(names)}\r\n".encode("ascii")

    def mechanisms(self) -> list[str]:
        """Return the names of the SASL mechanisms that AUTH takes on this connection (RFC 5034 section 3)."""
        return self._table.mechanisms.names(self.peer, self._channel)

    def log_in(self, credentials: PlainCredentials) -> Reply:
        """Go to the TRANSACTION state, or stay and say why not (RFC 1939 section 4)."""
        return self._entered(lambda: self._authentication.log_in(self.peer, credentials))

    def begin_exchange(self, mechanism: str, initial: str | None) -> Reply:
        """Begin a SASL exchange, with the initial response if there is one (RFC 5034 section 4)."""
        name = self._table.mechanisms.checked(mechanism, self.peer, self._channel)
        return self._entered(lambda: self._authentication.begin(self.peer, name, initial))

    def respond(self, response: str) -> Reply:
        """Go on with a SASL exchange."""
        return self._entered(lambda: self._authentication.respond(response))

    def prove(self, mechanism: str, message: bytes) -> Reply:
        """Log in by a proof of one message."""
        return self._entered(lambda: self._authentication.prove(self.peer, mechanism, message))

    def _entered(self, ask: Callable[[], Challenge | Login | Handover]) -> Reply:
        try:
            answer = ask()
        except Refusal as error:
            if self._authentication.wrong_count >= self.policy.max_failed_logins:
                self._end(Outcome.TOO_MANY_ERRORS)
            return refused(error, self.speech.texts)
        if isinstance(answer, Challenge):
            return ChallengeReply("challenge", challenge=answer.content)
        if isinstance(answer, Handover):
            self.handover = answer
            return Reply("")
        self._begin_transaction(answer)
        return self._welcome()

    def _begin_transaction(self, login: Login) -> None:
        try:
            self._transaction = Transaction(login)
        except Exception:
            self._authentication.failed_count += 1
            self._quietly("closing the maildrop", login.maildrop.close)
            raise
        self.state = State.TRANSACTION
        self._commands = self._table.commands(self.state, self._channel)

    def _welcome(self) -> Reply:
        return Reply(self.speech.texts.maildrop(self.transaction.left_count, self.transaction.left_octets))

    def expect_tls(self) -> Reply:
        """Take nothing more in clear text."""
        self.expects_tls = True
        return Reply(self.speech.texts.begin_tls)

    def leave(self) -> Reply:
        """End before login."""
        self._end(Outcome.QUIT)
        return Reply(self.speech.texts.bye)

    def update(self) -> Reply:
        """Go through the UPDATE state to the end (RFC 1939 section 6).

        The lock is released before the reply leaves (RFC 1081), so that a client that comes back at once finds it free.
        """
        self.state = State.UPDATE
        error = self._commit()
        if error is not None:
            code = refusal_for(error, self.state).code
            self._end(Outcome.UPDATE_FAILED)
            return Reply(self.speech.texts.not_all_removed, is_ok=False, code=code)
        self._end(Outcome.QUIT)
        return Reply(self.speech.texts.left(self.transaction.left_count))

    def _commit(self) -> Exception | None:
        """Remove what is marked; return what went wrong, which the log then knows already."""
        try:
            self.transaction.commit()
        except Exception as error:
            self._backend.report_error("removing messages", error)
            return error
        return None

    # --- from a line to its reply

    def _next_reply(self) -> Reply | None:
        """Return the reply to what comes next, or None when it is not there yet, or the connection is to be closed."""
        if self._intake is not None:
            return self._take_body(self._intake)
        line = self._lines.next_line(is_response=self._authentication.is_waiting)
        if line is None:
            return None
        if isinstance(line, LineFault):
            return self._answer_fault(line)
        return self._answer(line)

    def _take_body(self, intake: Intake) -> Reply | None:
        self.body_progress -= intake.progress
        rest = intake.feed(self._lines.take_rest())
        self.body_progress += intake.progress
        if rest is not None:
            self._intake = None
            self.command_count += 1
            self._lines.feed(rest)
            return self._carried_out(intake.row, [])
        if intake.is_flood:
            self._end(Outcome.TOO_MANY_ERRORS)
        return None

    def _answer(self, line: bytes) -> Reply:
        self.command_count += 1
        if self._authentication.is_waiting:
            return self._carried_out(self._table.response, [line.decode("latin-1")])
        if CONTROL.search(line):
            return self._not_understood(self.speech.texts.control_character)
        verb, _, rest = line.partition(b" ")
        verb = verb.upper()
        if verb not in KEEPS_USERNAME:
            self.username = ""
        command = self._commands.get(verb)
        if command is None:
            if self._table.knows(verb):
                return self._not_understood(self.speech.texts.wrong_state)
            return self._not_understood(self.speech.texts.unknown_command, close=verb in HTTP_METHODS)
        arguments = words(command, rest.decode("utf-8", "surrogateescape"))
        if len(arguments) not in command.arity:
            return self._not_understood(self.speech.texts.wrong_number_of_arguments)
        reply = self._carried_out(command, arguments)
        if self._bad_command_count and reply.is_ok and self.state is State.TRANSACTION:
            self._bad_command_count = 0
        return reply

    def _answer_fault(self, fault: LineFault) -> Reply | None:
        if fault is LineFault.FLOOD:
            self._end(Outcome.TOO_MANY_ERRORS)
            return None
        self.command_count += 1
        if fault is LineFault.RESPONSE_TOO_LONG:
            return self._not_understood(self.speech.texts.response_too_long, close=True)
        return self._not_understood(self.speech.texts.line_too_long)

    def _carried_out(self, command: Command[Session], arguments: list[str]) -> Reply:
        try:
            reply = begun(command.handler(self, arguments))
            self._intake = None if reply.receive is None else Intake(command, reply.receive)
        except NoSuchMessage as error:
            return refused(error, self.speech.texts)
        except CommandSyntaxError as error:
            return self._not_understood(self.speech.texts.refusal(error))
        except Exception as error:
            refusal = refusal_for(error, self.state)
            if refusal.code:
                self._backend.report_error(command.verb, error)
            if self.state is State.TRANSACTION and not isinstance(error, (Refusal, HookContractError)):
                # The maildrop may be half read: whoever goes on with it could be told lies.
                self._end(Outcome.STORAGE_FAILED)
            return refused(refusal, self.speech.texts)
        return reply

    def _not_understood(self, text: str, *, close: bool = False) -> Reply:
        """Refuse a line, and the whole connection when it was one too many."""
        self.username = ""
        self._bad_command_count += 1
        if close or self._bad_command_count >= self.policy.max_bad_commands:
            self._end(Outcome.TOO_MANY_ERRORS)
        return Reply(text, is_ok=False)

    def _multi_line(self, reply: Reply, body: Iterable[bytes]) -> Iterator[bytes]:
        """Yield a multi-line response; a body that fails ends the session without the line that would end the reply."""
        yield self.speech.status_line(reply)
        try:
            yield from body if reply.body_is_wire else wire.byte_stuffed(wire.with_crlf(body))
        except Exception as error:
            self._backend.report_error("sending a reply", error)
            self._end(Outcome.STORAGE_FAILED)
            return
        yield wire.TERMINATION

    # --- the end

    def _end(self, outcome: Outcome) -> None:
        """Close whatever is open, once."""
        self._is_closed = True
        self.outcome = outcome
        self.username = ""
        self._quietly("ending an exchange", lambda: self._authentication.abandon(f"the session ended: {outcome.value}"))
        if self._intake is not None:
            self._quietly("abandoning a body", self._intake.abort)
        if self._transaction is not None:
            self._quietly("closing the maildrop", self._transaction.maildrop.close)
