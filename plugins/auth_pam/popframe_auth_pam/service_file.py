"""Where libpam finds the rules of a service.

For a service without a file libpam takes ``other`` without a word, which on Debian asks for nothing but a password. So
it is made sure that there is one, at the start and again at every attempt.
"""

from __future__ import annotations

from pathlib import Path

SERVICE_DIRECTORIES = (Path("/etc/pam.d"), Path("/usr/lib/pam.d"))
"""Where Debian's libpam looks, in this order: the administrator's, and what packages bring (pam.d(5))."""


class NoServiceFile(Exception):
    """The service has no file that can be read; the message says where it was looked for."""


def require_service_file(service: str, directories: tuple[Path, ...] = SERVICE_DIRECTORIES) -> Path:
    """Return the file that libpam will read.

    Raises:
        NoServiceFile: There is none, or it cannot be read.
    """
    for directory in directories:
        path = directory / service
        try:
            with path.open("rb") as opened:
                opened.read(1)  # a directory opens, and cannot be read
        except FileNotFoundError:
            continue
        except OSError as error:
            raise NoServiceFile(f"PAM service file {path}: {error.strerror}") from error
        return path
    searched = " or ".join(str(directory) for directory in directories)
    raise NoServiceFile(f"no PAM service file {service!r} in {searched}; packaging/pam.d/popframe is one to begin with")
