"""The verifier: a process with one thread that asks PAM on behalf of a server with many.

    python -P -m popframe_auth_pam.verifier DESCRIPTOR SERVICE SECONDS ATTEMPTS [sessions]

It stays root when it is started by root, knows nothing of POP3, and reads nothing but questions (:mod:`.message`) from
the socket that it was given. It ends when every process that could ask has closed the other end of that, which holds
however they ended; PR_SET_PDEATHSIG would not do, since a server that gave up root cannot signal root. Two processes:
this one only starts a new worker when one dies, for the server could not start a verifier that is root again.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
import time
from typing import NoReturn

from popframe_auth_pam import attempt, linux
from popframe_auth_pam.attempts import Attempts
from popframe_auth_pam.message import READY, SESSIONS, Limits
from popframe_auth_pam.service_file import NoServiceFile, require_service_file

RESTART_PAUSE_SECONDS = 0.5
"""How long it waits before it starts a worker anew: one that cannot even start would be forked without end."""


def main(arguments: list[str]) -> int:
    """Serve the socket; return the exit status."""
    descriptor, service = int(arguments[0]), arguments[1]
    limits = Limits(float(arguments[2]), int(arguments[3]), opens_sessions=arguments[4:] == [SESSIONS])
    questions = socket.socket(fileno=descriptor)
    questions.set_inheritable(False)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever started the server may have had it ignored, for good
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    linux.forbid_looking_in()
    problem = _problem(service)
    questions.send(problem.encode() if problem else READY)
    if problem:
        return 2
    while True:
        pid = os.fork()
        if pid == 0:
            _work(questions, service, limits)
        _, status = os.waitpid(pid, 0)
        if status == 0:
            return 0
        sys.stderr.write(f"popframe_auth_pam.verifier: worker {pid} ended with status {status}, starting another\n")
        sys.stderr.flush()
        time.sleep(RESTART_PAUSE_SECONDS)


def _problem(service: str) -> str:
    """Say what would make every attempt fail; empty when nothing is known."""
    try:
        require_service_file(service)
        attempt.load_library()
    except NoServiceFile as error:
        return str(error)
    except (OSError, AttributeError) as error:
        return f"no libpam can be loaded (Debian: libpam0g): {error}"
    return ""


def _work(questions: socket.socket, service: str, limits: Limits) -> NoReturn:
    try:
        Attempts(questions, service, limits).run()
    except BaseException:  # never back into the loop that starts workers
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
