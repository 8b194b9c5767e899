"""Password hashes of crypt(3), through the system's libcrypt: every scheme that the machine itself knows.

The module ``crypt`` of the standard library is gone since Python 3.13, and held the interpreter's lock while it worked;
a call through ctypes lets other threads run. The library writes into a buffer of the caller, so threads do not meet.

Rule of this file: what cannot be verified is wrong. No password and no stored text makes :func:`verify_password` raise.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hmac
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from popframe.errors import ConfigError

LIBRARY_NAMES = ("libcrypt.so.1", "libcrypt.so.2")
"""Debian's and Fedora's. ``ctypes.util`` is asked only when neither is there: it runs ldconfig, or even a compiler."""

DATA_OCTETS = 32_768
"""sizeof(struct crypt_data), fixed by libxcrypt's ABI (crypt(3))."""

SETTING_OCTETS = 192
"""CRYPT_GENSALT_OUTPUT_SIZE (crypt_gensalt(3))."""

MAX_PASSWORD_OCTETS = 511
"""CRYPT_MAX_PASSPHRASE_SIZE less the NUL at its end: libcrypt refuses more (crypt(3))."""

SALT_REFUSED = frozenset({1, 2})
"""CRYPT_SALT_INVALID and CRYPT_SALT_METHOD_DISABLED: libcrypt would not compute such a hash (crypt_checksalt(3))."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way to hash new passwords.

    Attributes:
        prefix: What its hashes begin with (crypt(5)).
        cost: The CPU time cost parameter of crypt_gensalt(3), each scheme's own unit; 0 for libcrypt's default.
        max_octets: Longer passwords are refused, because the scheme would look only at their beginning.
    """

    prefix: bytes
    cost: int = 0
    max_octets: int = MAX_PASSWORD_OCTETS


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        "yescrypt": Scheme(b"$y$"),
        "bcrypt": Scheme(b"$2b$", cost=10, max_octets=72),
        "sha512crypt": Scheme(b"$6$", cost=50_000),
    }
)
"""Schemes for new hashes. Each takes some 20 to 50 ms: libcrypt's own defaults for bcrypt (2^5) and sha512crypt (5000
rounds) take 2 ms, which crypt(5) calls too low for modern hardware; yescrypt's default is as it should be."""

DEFAULT_SCHEME = "yescrypt"
"""The strongest, and what Debian and Fedora use for /etc/shadow."""

_HASH_FORM = re.compile(
    r"""  \$g?y\$ [./A-Za-z0-9]+ \$ [./A-Za-z0-9]{0,86} \$ [./A-Za-z0-9]{43}            # yescrypt, gost-yescrypt
        | \$7\$ [./A-Za-z0-9]{11,97} \$ [./A-Za-z0-9]{43}                               # scrypt
        | \$2[abxy]\$ [0-9]{2} \$ [./A-Za-z0-9]{53}                                     # bcrypt
        | \$6\$ (?:rounds=[1-9][0-9]{3,8}\$)? [!-#%-9;-~]{1,16} \$ [./A-Za-z0-9]{86}     # sha512crypt
        | \$5\$ (?:rounds=[1-9][0-9]{3,8}\$)? [!-#%-9;-~]{1,16} \$ [./A-Za-z0-9]{43}     # sha256crypt
        | \$sha1\$ [1-9][0-9]+ \$ [./A-Za-z0-9]{1,64} \$ [./A-Za-z0-9]{28}              # sha1crypt
        | \$md5 (?:,rounds=[1-9][0-9]+)? \$ [./A-Za-z0-9]{8} \${1,2} [./A-Za-z0-9]{22}  # SunMD5
        | \$1\$ [!-#%-9;-~]{1,8} \$ [./A-Za-z0-9]{22}                                   # md5crypt
        | \$3\$\$ [0-9a-f]{32}                                                          # NT
        | _ [./A-Za-z0-9]{19}                                                           # BSDI's extended DES
        | [./A-Za-z0-9]{13}                                                             # traditional DES
    """,
    re.VERBOSE,
)
"""The whole hash for each method of crypt(5). bigcrypt is left out: a long password in clear text looks the same."""

SETTING_WITHOUT_HASHES = "$y$j9T$............"
"""What costs as much as a new hash of the default scheme, for a site where nobody has a password yet."""

_COST = re.compile(
    r"""  \$ g?y \$ [^$]+                # yescrypt: flavour and parameters
        | \$ 7 \$ .{11}                  # scrypt: N, r and p in 1, 5 and 5 letters
        | \$ 2[abxy] \$ [0-9]+           # bcrypt: log2 of the rounds
        | \$ [56] \$ (?:rounds=[0-9]+)?  # SHA-2
        | \$ sha1 \$ [0-9]+
        | \$ [^$]+ \$                    # the rest: the cost is fixed, or stands in the prefix
        | _?                             # DES
    """,
    re.VERBOSE,
)
"""The beginning of a hash (crypt(5)) that decides how long it takes."""


def verify_password(password: bytes, stored: str) -> bool:
    """Tell whether a password belongs to a stored hash, in a time that does not depend on where they differ.

    To take as long over an unknown user as over a wrong password, verify against a :func:`typical_hash` and ignore the
    answer.

    Args:
        password: What the client sent. Empty, with a NUL, or longer than 511 octets, it never matches.
        stored: The hash field of passwd, shadow or a password file. Empty, locked (``!``, ``*``), malformed and unknown
            ones never match.

    Raises:
        ConfigError: This machine has no libcrypt.
    """
    if not _can_be_hashed(password) or not stored.isascii():
        return False
    result = _crypt(password, stored.encode("ascii"))
    return result is not None and hmac.compare_digest(result, stored.encode("ascii"))


def is_password_hash(stored: str) -> bool:
    """Tell whether a text is a hash that this machine's libcrypt can verify, without the time that verifying takes.

    A locked field (``!``, ``*``) is not one, nor is a hash that was cut short. A password in clear text is one only if
    it has exactly the 13 letters of a traditional DES hash.

    Raises:
        ConfigError: This machine has no libcrypt.
    """
    if not _HASH_FORM.fullmatch(stored):
        return False
    check = getattr(_library(), "crypt_checksalt", None)  # libxcrypt 4.3 and later
    return check is None or check(stored.encode("ascii")) not in SALT_REFUSED


def hash_password(password: bytes, scheme: str = DEFAULT_SCHEME) -> str:
    """Make a hash with a fresh salt.

    Args:
        password: 1 to 511 octets (bcrypt: 72), none of them NUL.
        scheme: ``"yescrypt"``, ``"bcrypt"`` or ``"sha512crypt"``.

    Raises:
        ValueError: The password cannot be hashed, or this machine's libcrypt does not know the scheme.
        ConfigError: This machine has no libcrypt.
    """
    row = SCHEMES.get(scheme)
    if row is None:
        raise ValueError(f"unknown scheme {scheme!r} (known: {', '.join(SCHEMES)})")
    if not _can_be_hashed(password) or len(password) > row.max_octets:
        raise ValueError(f"a password for {scheme} has 1 to {row.max_octets} octets, and no NUL")
    buffer = ctypes.create_string_buffer(SETTING_OCTETS)
    setting = _library().crypt_gensalt_rn(row.prefix, row.cost, None, 0, buffer, SETTING_OCTETS)
    result = None if setting is None else _crypt(password, setting)
    if result is None:
        raise ValueError(f"this machine's libcrypt cannot make {scheme} hashes")
    return result.decode("ascii")


def typical_hash(hashes: Iterable[str]) -> str:
    """Return what costs as much to verify as most of these hashes do.

    It is for the time that verifying takes, where there is no hash to verify: for a user who does not exist, or is
    locked.

    Args:
        hashes: Those of a site's users.

    Returns:
        One of the hashes, of the commonest scheme and cost. Without any, what costs as much as a new hash of the
        default scheme and belongs to no password.
    """
    by_cost: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for stored in hashes:
        match = _COST.match(stored)
        cost = match.group() if match else ""
        counts[cost] += 1
        by_cost.setdefault(cost, stored)
    return by_cost[counts.most_common(1)[0][0]] if counts else SETTING_WITHOUT_HASHES


def _can_be_hashed(password: bytes) -> bool:
    return 0 < len(password) <= MAX_PASSWORD_OCTETS and b"\0" not in password


def _crypt(password: bytes, setting: bytes) -> bytes | None:
    """Return what crypt(3) makes of a password, or None when it cannot."""
    if not setting or b"\0" in setting:
        return None
    buffer = ctypes.create_string_buffer(DATA_OCTETS)
    result: bytes | None = _library().crypt_rn(password, setting, buffer, DATA_OCTETS)
    # Some builds answer with "*0" or "*1" instead of NULL; that would match a field which holds just this.
    return None if result is None or result.startswith(b"*") else result


def library_names() -> Iterator[str]:
    """Yield the names under which libcrypt may be found, the likeliest first."""
    yield from LIBRARY_NAMES
    found = ctypes.util.find_library("crypt")
    if found is not None:
        yield found


def load_library(names: Iterable[str]) -> ctypes.CDLL:
    """Load the first library that has what is needed.

    Raises:
        ConfigError: None has.
    """
    for name in names:
        try:
            library = ctypes.CDLL(name)
            library.crypt_rn.restype = library.crypt_gensalt_rn.restype = ctypes.c_char_p
        except (OSError, AttributeError):  # not there, or without these functions, as glibc's own was up to 2.27
            continue
        library.crypt_rn.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int]
        library.crypt_gensalt_rn.argtypes = [
            ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int
        ]  # fmt: skip
        return library
    raise ConfigError("no libcrypt with crypt_rn found: install libxcrypt (Debian: libcrypt1, Fedora: libxcrypt)")


@cache
def _library() -> ctypes.CDLL:
    return load_library(library_names())
