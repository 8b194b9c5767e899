"""``XTND XMIT``: a message from the client, for the mailer (from the Berkeley popper).

Rule of this file: the mailer is started when the whole message is there, and not otherwise; and it is one process for
one message, so that a message is sent once.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import tempfile
import time
from collections.abc import Sequence
from email.utils import formatdate

from popframe import Account, CommandContext, Peer, PermanentFailure, Refusal, Reply, TemporaryFailure
from popframe_xtnd.mailer import Ending, run_mailer
from popframe_xtnd.settings import Settings

REFUSED = frozenset({os.EX_USAGE, os.EX_DATAERR, os.EX_NOINPUT, os.EX_NOUSER, os.EX_NOHOST, os.EX_NOPERM})
"""Exit statuses (sysexits.h) by which a mailer says that this message, from this user, will never do."""

BROKEN = frozenset({os.EX_OSFILE, os.EX_CANTCREAT, os.EX_CONFIG})
"""Exit statuses by which it says that an operator has to do something."""

_logger = logging.getLogger("popframe.xtnd")


class MessageTooLarge(Refusal):
    """The message is longer than ``max_message_octets``."""

    wire_text = "message too large, not sent"


class MessageRefused(Refusal):
    """The mailer does not want this message: no recipients, for one."""

    wire_text = "the mail system has refused the message, not sent"


class NoRoom(TemporaryFailure):
    """The message could not be kept until it is whole."""

    wire_text = "no room for the message now, not sent"


class MailerFailed(TemporaryFailure):
    """The mailer said that it failed, or was killed."""

    wire_text = "the mail system has failed, message not sent"


class MailerTimedOut(TemporaryFailure):
    """The mailer was ended: nobody knows how far it had come."""

    wire_text = "the mail system does not answer, message may not have been sent"


class NoMailer(PermanentFailure):
    """The mailer cannot be started, or says that it is not set up."""

    wire_text = "there is no working mail system here, message not sent"


class Submission:
    """Offers XMIT."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def xmit(self, context: CommandContext, _arguments: Sequence[str]) -> Reply:
        """``XTND XMIT``: take a message, and hand it to the mailer.

        Raises:
            Refusal: This user cannot send mail, or not now.
        """
        settings = self._settings
        if context.account.uid != os.geteuid() and not settings.as_server_user:
            raise PermanentFailure(
                f"XMIT: this process is not user {context.account.username!r} (isolation is 'shared', or the account "
                "has no user id), and plugin.xtnd.as_server_user is not set"
            )
        incoming = IncomingMail(settings, context.account, context.peer)
        return Reply(f"start sending the message, at most {settings.max_message_octets} octets", receive=incoming)


class IncomingMail:
    """One message on its way from the client to the mailer, in a file without a name."""

    def __init__(self, settings: Settings, account: Account, peer: Peer) -> None:
        """Make the file.

        Raises:
            NoRoom: It cannot be made.
            AuthenticationFailed: The account's name cannot be part of an address.
        """
        self._settings = settings
        self._account = account
        self._peer = peer
        self._octets = 0
        self._held = b""
        self._command = [*settings.sendmail, *_sender_arguments(settings.envelope_sender, account.username)]
        try:
            # Not a buffered file: a full disk is to be noticed here, and not when the file is closed.
            self._file = tempfile.TemporaryFile(dir=settings.spool_dir, buffering=0)  # noqa: SIM115 - open until the end
        except OSError as error:
            raise NoRoom(f"XMIT: no file in {settings.spool_dir}: {error}") from error
        if settings.trace_header:
            try:
                self._write(trace_field(account.username, peer))
            except NoRoom:
                self.abort()
                raise

    def take(self, octets: bytes) -> None:
        """Keep a piece, with the line ends of files on this system.

        Raises:
            MessageTooLarge: It is too long by now.
            NoRoom: The disk is full.
        """
        self._octets += len(octets)
        if self._octets > self._settings.max_message_octets:
            raise MessageTooLarge(f"XMIT: more than {self._settings.max_message_octets} octets")
        octets = self._held + octets
        self._held = b"\r" if octets.endswith(b"\r") else b""
        self._write(octets[: len(octets) - len(self._held)].replace(b"\r\n", b"\n"))

    def finish(self) -> Reply:
        """Hand the message to the mailer, and tell how that went.

        Raises:
            Refusal: It was not sent, as far as is known.
        """
        started = time.monotonic()
        with self._file:
            self._write(self._held)
            os.lseek(self._file.fileno(), 0, os.SEEK_SET)
            try:
                ending = run_mailer(
                    self._command,
                    self._file.fileno(),
                    self._account.home,
                    self._settings.sendmail_timeout_seconds,
                )
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
                    raise MailerFailed(f"XMIT: {self._command[0]} cannot be started now: {error}") from error
                raise NoMailer(f"XMIT: {self._command[0]} cannot be started: {error}") from error
        refusal = refusal_for(ending)
        self._tell(ending, time.monotonic() - started)
        if refusal is not None:
            raise refusal
        return Reply("message sent")

    def abort(self) -> None:
        """Forget the message."""
        self._file.close()

    def _write(self, octets: bytes) -> None:
        view = memoryview(octets)
        try:
            while view:
                view = view[self._file.write(view) or 0 :]
        except OSError as error:
            raise NoRoom(f"XMIT: writing in {self._settings.spool_dir}: {error}") from error

    def _tell(self, ending: Ending, seconds: float) -> None:
        """Write into the log who has sent something."""
        _logger.log(
            logging.WARNING if ending.status else logging.INFO,
            "XMIT: user %r at %s, %d octets: %s after %.1f s",
            self._account.username,
            self._peer.address or "-",
            self._octets,
            described(ending),
            seconds,
        )


def refusal_for(ending: Ending) -> Refusal | None:
    """Return what the client is told of the mailer's end; None when the message is sent."""
    text = f"XMIT: the mailer: {described(ending)}"
    if ending.timed_out:
        return MailerTimedOut(text)
    if ending.status == 0:
        return None
    if ending.status in REFUSED:
        return MessageRefused(text)
    if ending.status in BROKEN:
        return NoMailer(text)
    return MailerFailed(text)


def described(ending: Ending) -> str:
    """Return how the mailer ended, for the log."""
    if ending.timed_out:
        how = "was ended since it took too long"
    elif ending.status < 0:
        how = f"was killed by signal {-ending.status}"
    else:
        how = f"exit status {ending.status}"
    said = ending.output.decode("utf-8", "replace").strip()
    return f"{how}, said {said!r}" if said else how


def trace_field(username: str, peer: Peer) -> bytes:
    """Return the field that names account and client (RFC 5321 section 4.4), with LF line ends."""
    client = "IPv6:" + peer.address if ":" in peer.address else peer.address or "unknown"
    lines = [
        f"Received: from [{_in_comment(client)}] (account {_in_comment(username)})",
        f"\tby {_in_comment(socket.gethostname())} (popframe XTND XMIT); {formatdate()}",
    ]
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _in_comment(text: str) -> str:
    """Return a text with nothing in it that could end a comment, a field or a line."""
    return "".join(c if c.isascii() and c.isprintable() and c not in '()[]\\"<>;' else "?" for c in text)


def _sender_arguments(template: str, username: str) -> list[str]:
    if not template:
        return []
    if not (username.isprintable() and not set(username) & set(' <>()[],;:\\"')):
        raise PermanentFailure(f"XMIT: {username!r} cannot be part of an address")
    return ["-f", template.replace("{username}", username)]
