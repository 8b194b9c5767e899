"""One login attempt against libpam, for a process that does nothing else afterwards.

Rule of this file: it runs in a process of its own. Modules are anybody's code: they keep state in the process, fork,
change signal handlers, hang and crash.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from collections.abc import Mapping
from types import MappingProxyType

import pam

from popframe_auth_pam.message import MAX_REASON_OCTETS, Accepted, Answer, Question, Refused, Unavailable
from popframe_auth_pam.service_file import NoServiceFile, require_service_file

TTY = b"popframe"
"""PAM_TTY. There is no terminal, but pam_access, pam_time and pam_group match rules by it; other services without a
terminal give their name as well (``ssh``, ``cron``, ``dovecot``)."""

PAM_FAIL_DELAY = 10
"""An item that python-pam does not have: the function that libpam calls instead of waiting (pam_fail_delay(3))."""

ANY_OCTETS = "latin-1"
"""How python-pam decodes what modules say: with UTF-8, a message in another encoding would fail the login."""

REFUSALS: Mapping[int, str] = MappingProxyType(
    {
        pam.PAM_AUTH_ERR: "wrong password, or locked (PAM_AUTH_ERR)",
        pam.PAM_USER_UNKNOWN: "unknown user (PAM_USER_UNKNOWN)",
        pam.PAM_MAXTRIES: "too many tries (PAM_MAXTRIES)",
        pam.PAM_PERM_DENIED: "access denied (PAM_PERM_DENIED)",
        pam.PAM_ACCT_EXPIRED: "the account has expired (PAM_ACCT_EXPIRED)",
        pam.PAM_NEW_AUTHTOK_REQD: "the password must be changed (PAM_NEW_AUTHTOK_REQD)",
        pam.PAM_AUTHTOK_EXPIRED: "the password has expired (PAM_AUTHTOK_EXPIRED)",
        pam.PAM_CRED_EXPIRED: "the credentials have expired (PAM_CRED_EXPIRED)",
    }
)
"""Results that say something about the user. All others, known or not, say that nobody can tell now."""

TROUBLES: Mapping[int, str] = MappingProxyType(
    {
        pam.PAM_OPEN_ERR: "a PAM module cannot be loaded (PAM_OPEN_ERR)",
        pam.PAM_SYMBOL_ERR: "a PAM module lacks a function (PAM_SYMBOL_ERR)",
        pam.PAM_MODULE_UNKNOWN: "a PAM module is not there or cannot be loaded (PAM_MODULE_UNKNOWN)",
        pam.PAM_SERVICE_ERR: "error in a PAM module (PAM_SERVICE_ERR)",
        pam.PAM_SYSTEM_ERR: "system error in PAM (PAM_SYSTEM_ERR)",
        pam.PAM_BUF_ERR: "PAM has no memory (PAM_BUF_ERR)",
        pam.PAM_CONV_ERR: "a PAM module asked for more than a password (PAM_CONV_ERR)",
        pam.PAM_AUTHINFO_UNAVAIL: "PAM cannot reach, or may not read, what it checks against (PAM_AUTHINFO_UNAVAIL)",
        pam.PAM_CRED_INSUFFICIENT: "the server lacks the right to check (PAM_CRED_INSUFFICIENT)",
        pam.PAM_CRED_UNAVAIL: "PAM cannot get the user's credentials (PAM_CRED_UNAVAIL)",
        pam.PAM_AUTHTOK_RECOVER_ERR: "a PAM module got no password (PAM_AUTHTOK_RECOVER_ERR)",
        pam.PAM_ABORT: "PAM broke off (PAM_ABORT)",
    }
)
"""Words for the usual results of the other kind; ``pam_strerror`` has some for the rest."""


def _do_not_wait(_result: int, _microseconds: int, _data: object) -> None:
    """Leave the time that a refusal takes to the server.

    pam_unix has pam_authenticate(3) wait for two seconds, more or less, after a wrong password, but nothing waits when
    account management then refuses a right one: the time would tell that it was right.
    """


_DELAY = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)(_do_not_wait)
"""The same for libpam, for as long as this process lives."""


def load_library() -> None:
    """Load libpam, so that an attempt need not.

    Raises:
        OSError: There is none.
        AttributeError: There is none, or it lacks a function.
    """
    pam.PamAuthenticator()


def ask_pam(service: str, question: Question, *, keeps_handle: bool = False) -> tuple[Answer, pam.PamAuthenticator]:
    """Ask whether this user may log in with this password; may block for as long as a module likes.

    Without a password only the service's ``account`` modules are asked, which know of closed and expired accounts.

    Empty passwords are refused whatever the modules' options say (PAM_DISALLOW_NULL_AUTHTOK). The password is never
    changed; nothing is asked of the user: what a module says goes to the log, and a second prompt gets the password
    again.

    Args:
        service: Name of the service, in lower case as libpam has it.
        question: Who, with what, and from where.
        keeps_handle: Leave pam_end(3) to the caller.

    Returns:
        The answer, and the handle.
    """
    handle = _authenticator(question.address, has_password=question.password is not None)
    try:
        require_service_file(service)
    except NoServiceFile as error:
        return Unavailable(str(error)), handle
    is_right = handle.authenticate(
        question.username,
        question.password or b"",
        service=service,
        call_end=not keeps_handle,
        encoding=ANY_OCTETS,
        resetcreds=False,
    )
    if is_right:
        return _account(question.username), handle
    reason = REFUSALS.get(handle.code)
    if reason is not None:
        return Refused(with_messages(reason, handle.messages)), handle
    return Unavailable(with_messages(trouble(handle), handle.messages)), handle


def trouble(handle: pam.PamAuthenticator) -> str:
    """Return words for the last result, one that says nothing about the user."""
    return TROUBLES.get(handle.code, f"{handle.reason} (PAM result {handle.code})")


def _authenticator(address: bytes, *, has_password: bool) -> pam.PamAuthenticator:
    """Return a handle that tells modules where the client is, refuses empty passwords, and does not wait.

    python-pam has no argument for any of these. It calls libpam through attributes of the object, so they are replaced.
    """
    handle = pam.PamAuthenticator()
    authenticate, check_account = handle.pam_authenticate, handle.pam_acct_mgmt

    def authenticate_from_there(pam_handle: object, _flags: int) -> int:
        handle.pam_set_item(pam_handle, PAM_FAIL_DELAY, ctypes.cast(_DELAY, ctypes.c_void_p))
        for item, value in ((pam.PAM_RHOST, address), (pam.PAM_TTY, TTY)):
            result: int = handle.pam_set_item(pam_handle, item, ctypes.c_char_p(value)) if value else pam.PAM_SUCCESS
            if result != pam.PAM_SUCCESS:
                return result
        if not has_password:
            return int(pam.PAM_SUCCESS)  # whoever asks knows already who it is
        code: int = authenticate(pam_handle, pam.PAM_DISALLOW_NULL_AUTHTOK)
        return code

    def check_account_with_password(pam_handle: object, _flags: int) -> int:
        code: int = check_account(pam_handle, pam.PAM_DISALLOW_NULL_AUTHTOK)
        return code

    handle.pam_authenticate = authenticate_from_there
    handle.pam_acct_mgmt = check_account_with_password
    return handle


def _account(username: bytes) -> Answer:
    """Return what passwd knows of the user whom PAM accepted."""
    try:
        entry = pwd.getpwnam(os.fsdecode(username))
    except KeyError:
        return Refused("PAM accepts the user, but passwd does not know it, and mail needs a user id")
    return Accepted(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell)


def with_messages(reason: str, messages: list[str]) -> str:
    """Add what the modules said, less their prompts."""
    said = [" ".join(text.split()) for text in messages if not text.rstrip().endswith(":")]
    whole = "; ".join([reason, *filter(None, said)]).replace("\0", "")
    return whole.encode()[:MAX_REASON_OCTETS].decode("utf-8", "ignore")
