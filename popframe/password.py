"""Password hashes of crypt(3), through the system's libcrypt: every scheme that the machine itself knows.

The module ``crypt`` of the standard library is gone since Python 3.13, and held the interpreter's lock while it worked;
a call through ctypes lets other threads run. The library writes into a buffer of the caller, so threads do not meet.
"""

from __future__ import annotations

import ctypes
import hmac
import re
from functools import cache

from popframe.errors import ConfigError

LIBRARY_NAMES = ("libcrypt.so.1", "libcrypt.so.2")
"""Debian's and Fedora's; asking ``ctypes.util`` would start a compiler on a session's path."""

DATA_OCTETS = 32_768
"""sizeof(struct crypt_data) of libxcrypt, fixed by its ABI (crypt(3))."""

SETTING_OCTETS = 192
"""CRYPT_GENSALT_OUTPUT_SIZE of libxcrypt (crypt_gensalt(3))."""

MAX_PASSWORD_OCTETS = 511
"""CRYPT_MAX_PASSPHRASE_SIZE less its NUL: libcrypt refuses more (crypt(3))."""

SCHEMES = {"yescrypt": b"$y$", "bcrypt": b"$2b$", "sha512crypt": b"$6$"}
"""Schemes for new hashes, with the prefixes of crypt(5); the first is the default."""

DEFAULT_SCHEME = "yescrypt"

_HASH_FORM = re.compile(r"\$[0-9a-z]+\$[!-~]{8,}|[./0-9A-Za-z]{13}")  # modular forms, and DES (crypt(5))
_SALT_INVALID = 1  # CRYPT_SALT_INVALID of crypt.h


def verify_password(password: bytes, stored: str) -> bool:
    """Tell whether a password belongs to a stored hash, in a time that does not depend on where they differ.

    Args:
        password: What the client sent.
        stored: The hash field of passwd, shadow or a password file. Empty, locked (``!``, ``*``) and unknown ones never
            match.
    """
    result = _crypt(password, stored)
    return result is not None and hmac.compare_digest(result, stored.encode("utf-8", "surrogateescape"))


def is_password_hash(stored: str) -> bool:
    """Tell whether a stored hash has the form of one, without the time that computing it takes.

    A password in clear text is not one, although crypt(3) would take its first two letters for an old salt.
    """
    if not _HASH_FORM.fullmatch(stored):
        return False
    check = getattr(_library(), "crypt_checksalt", None)  # libxcrypt 4.3 and later
    return check is None or check(stored.encode("ascii")) != _SALT_INVALID


def hash_password(password: bytes, scheme: str = DEFAULT_SCHEME) -> str:
    """Make a hash with a fresh salt.

    Args:
        password: 1 to 511 octets, none of them NUL.
        scheme: A key of :data:`SCHEMES`.

    Raises:
        ValueError: The password cannot be hashed, or this machine's libcrypt does not know the scheme.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r} (known: {', '.join(SCHEMES)})")
    if not password or b"\0" in password or len(password) > MAX_PASSWORD_OCTETS:
        raise ValueError(f"a password has 1 to {MAX_PASSWORD_OCTETS} octets and no NUL")
    buffer = ctypes.create_string_buffer(SETTING_OCTETS)
    setting = _library().crypt_gensalt_rn(SCHEMES[scheme], 0, None, 0, buffer, SETTING_OCTETS)
    result = None if setting is None else _crypt(password, setting.decode("ascii"))
    if result is None:
        raise ValueError(f"this machine's libcrypt cannot make {scheme} hashes")
    return result.decode("ascii")


def _crypt(password: bytes, setting: str) -> bytes | None:
    """Return what crypt(3) makes of a password, or None for a setting that no password can match."""
    octets = setting.encode("utf-8", "surrogateescape")
    if not octets or b"\0" in octets or b"\0" in password or len(password) > MAX_PASSWORD_OCTETS:
        return None
    buffer = ctypes.create_string_buffer(DATA_OCTETS)
    result: bytes | None = _library().crypt_rn(password, octets, buffer, DATA_OCTETS)
    return None if result is None or result.startswith(b"*") else result


@cache
def _library() -> ctypes.CDLL:
    """Load libcrypt.

    Raises:
        ConfigError: There is none.
    """
    for name in LIBRARY_NAMES:
        try:
            library = ctypes.CDLL(name)
            library.crypt_rn.restype = library.crypt_gensalt_rn.restype = ctypes.c_char_p
        except (OSError, AttributeError):
            continue
        library.crypt_rn.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int]
        library.crypt_gensalt_rn.argtypes = [
            ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int
        ]  # fmt: skip
        return library
    raise ConfigError("no libcrypt with crypt_rn found: install libxcrypt (Debian: libcrypt1, Fedora: libxcrypt)")
