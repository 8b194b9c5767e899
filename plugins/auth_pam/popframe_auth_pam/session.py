"""One PAM session, in the process whose attempt was accepted: it keeps the handle from the login to the end.

Rule of this file: whoever has the other end of the socket is served by what is done with the socket alone. A process
that has become a user may hold it: it says nothing there that is read, and the end of it is the end of the session,
however that process ended.
"""

from __future__ import annotations

import ctypes
import select
import socket
import sys
from collections.abc import Callable

import pam

from popframe_auth_pam.attempt import ANY_OCTETS, trouble, with_messages
from popframe_auth_pam.message import OPEN, OPENED, Unavailable, encode_answer

PROMPTS = frozenset({pam.PAM_PROMPT_ECHO_OFF, pam.PAM_PROMPT_ECHO_ON})

RESPONSE_OCTETS = ctypes.sizeof(ctypes.c_char_p) + ctypes.sizeof(ctypes.c_size_t)
"""Of a struct pam_response, a pointer and an int, with its padding."""


class _Message(ctypes.Structure):
    """struct pam_message (pam_conv(3))."""

    _fields_ = [("style", ctypes.c_int), ("text", ctypes.c_char_p)]  # type: ignore[mutable-override]  # as ctypes wants it


_CONVERSE = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(_Message)),
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_void_p,
)


class _Conversation(ctypes.Structure):
    """struct pam_conv (pam_conv(3))."""

    _fields_ = [("converse", _CONVERSE), ("data", ctypes.c_void_p)]  # type: ignore[mutable-override]  # as ctypes wants it


class PamSession:
    """What becomes of an accepted attempt, on the handle of that attempt, so that modules find what they have left."""

    def __init__(self, handle: pam.PamAuthenticator, reply: socket.socket) -> None:
        """Begin; there is no session yet.

        Args:
            handle: Of the attempt, not ended.
            reply: Where whoever asked may ask for a session.
        """
        self._handle = handle
        self._reply = reply
        self._said: list[str] = []
        # python-pam's own conversation ended with its call to authenticate; modules of a session may say something.
        self._conversation = _Conversation(_CONVERSE(self._converse), None)

    def run(self, when_opened: Callable[[], None], when_over: Callable[[], None]) -> None:
        """Open the session if that is asked for, and close it when it is over; then end the handle.

        Args:
            when_opened: Called when there is one, before whoever asked is told.
            when_over: Called when it is to be closed.
        """
        if self._reply.recv(len(OPEN)) == OPEN:
            problem = self._open()
            if problem:
                self._send(encode_answer(Unavailable(problem)))
            else:
                when_opened()
                self._send(OPENED)
                self._wait()
                when_over()
                self._close()
        self._handle.end()

    def _open(self) -> str:
        """Open it; return what is wrong, or nothing."""
        handle = self._handle
        handle.pam_set_item(handle.handle, pam.PAM_CONV, ctypes.byref(self._conversation))
        if self._set_credentials(pam.PAM_ESTABLISH_CRED) != pam.PAM_SUCCESS:
            return with_messages(f"no credentials for a PAM session: {trouble(handle)}", self._said)
        if handle.open_session(ANY_OCTETS) != pam.PAM_SUCCESS:
            problem = with_messages(f"no PAM session: {trouble(handle)}", self._said)
            self._set_credentials(pam.PAM_DELETE_CRED)
            return problem
        return ""

    def _wait(self) -> None:
        """Wait until nobody holds the other end; an empty datagram is none."""
        poll = select.poll()
        poll.register(self._reply, 0)
        while not poll.poll():
            pass

    def _close(self) -> None:
        self._said.clear()
        if self._handle.close_session(ANY_OCTETS) != pam.PAM_SUCCESS:
            problem = with_messages(f"a PAM session cannot be closed: {trouble(self._handle)}", self._said)
            sys.stderr.write(f"popframe_auth_pam.verifier: {problem}\n")
            sys.stderr.flush()
        self._set_credentials(pam.PAM_DELETE_CRED)

    def _set_credentials(self, what: int) -> int:
        handle = self._handle
        handle.code = handle.pam_setcred(handle.handle, what)
        handle.reason = handle.pam_strerror(handle.handle, handle.code).decode(ANY_OCTETS)
        return int(handle.code)

    def _send(self, datagram: bytes) -> None:
        """Answer; if nobody is there any more, the end of the session is all the same noticed."""
        try:
            self._reply.send(datagram, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return

    def _converse(self, count: int, messages: object, responses: object, _data: object) -> int:
        """Take note of what modules say; there is nobody to ask (pam_conv(3))."""
        for number in range(count):
            message = messages[number].contents  # type: ignore[index]  # a pointer, for ctypes
            if message.style in PROMPTS:
                return int(pam.PAM_CONV_ERR)
            self._said.append((message.text or b"").decode(ANY_OCTETS))
        responses[0] = self._handle.calloc(count, RESPONSE_OCTETS)  # type: ignore[index]  # freed by libpam
        return int(pam.PAM_SUCCESS)
