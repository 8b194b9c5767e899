"""Password hashes through libcrypt: ours, other programs', and texts that are none."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe import ConfigError
from popframe.password import (
    MAX_PASSWORD_OCTETS,
    SCHEMES,
    hash_password,
    is_password_hash,
    library_names,
    load_library,
    typical_hash,
    verify_password,
)

PASSWORD = b"correct horse"

HASHES = {
    "yescrypt": "$y$j9T$8gWRjdqa6jchZteBd4G3a1$gMxdfl541Nghov/1ydrjcV9Xu8TklP5fwfvtG1H4eU6",
    "gost-yescrypt": "$gy$j9T$IgxHijVA6g2BJP21qOrR00$8aSk96Hbu60s4lPdPHgYDOBU9bFKBNwSaVRkQqmOSg/",
    "scrypt": "$7$CU..../....YqI2TcmPe.dsE16ZGEAWf0$gKTaV3b1voQHTGhOxpDGsOyC8x1m4f6RfHs4hI7K5.C",
    "bcrypt": "$2b$05$mJ8QEK.Zxv2G5Nih7e6uwuKqhXfJ8Y3mdtBdR3FM2Xt.orIzRJ74K",
    "bcrypt-a": "$2a$05$jJbpNVZFf1NLM.fVXeTqr.Fp83e/LrRHpVh6HIaneHIUJZkWbHE3K",
    "sha512crypt": "$6$3O4LSJvT.FvOctAh$"
    "J./QMhA6uwKtKOEDK8SIz44lGO6kSMRFcYbJuDmpZUw6Anmn1nP1zCmLNr5PqHWBn9C59kpElxAgxoDEuHfiL.",
    "sha256crypt": "$5$7iqbXBJ/y29VHrkq$D9cSSqcZdeo2C0WnZlacoOnUZEVOpQkM8lKzrCcDhM.",
    "sunmd5": "$md5,rounds=68744$WNFfHnc2$$D4.krssmKLpPJK4NpllEY/",
    "md5crypt": "$1$iH8nh9Ru$10vWy2kL3UYutmsYQeq6X1",
    "bsdicrypt": "_J9..qlni09STGACVp9.",
    "descrypt": "EtNSDFBgVbtR2",
    "nt": "$3$$cfc43211ba8dc470832267827cac1407",
}
"""Made by mkpasswd(1) of Debian's package whois, from PASSWORD; the keys are its names for the methods."""

SALT_WITH_PUNCTUATION = "$5$,.(salt)=?$CPwrKmKUkQeD1Spt2aGP58boDjZviW0d0Z1YOkJMH1A"

CUT_SHORT = [stored[:-1] for stored in HASHES.values()]

NO_HASHES = [
    *("", "!", "!!", "*", "x", "*0", "*1", "!" + HASHES["yescrypt"], "*" + HASHES["bcrypt"]),
    *("$", "$$", "$y$", "$6$", "$6$salt$", "$6$rounds=x$salt$abc", "$9$salt$abcdefgh", "$y$j9T$$", "$2b$99$abc"),
    *("correct horse", "correcthorsebatterystaple", "pässwörd", "\udcff", "\ud800", "a\0b", "\n"),
    HASHES["yescrypt"] + "\n",
    HASHES["md5crypt"] + "\0",
    HASHES["sha512crypt"].replace("$6$", "$6$rounds=5000000000000000000000$"),
    *CUT_SHORT,
]

each_hash = pytest.mark.parametrize("stored", [*HASHES.values(), SALT_WITH_PUNCTUATION], ids=[*HASHES, "punctuation"])
each_non_hash = pytest.mark.parametrize("stored", NO_HASHES)
each_scheme = pytest.mark.parametrize("scheme", SCHEMES)


@each_hash
def test_right_password_matches(stored: str) -> None:
    """A hash of any method that the machine knows is verified."""
    assert verify_password(PASSWORD, stored)


@each_hash
@pytest.mark.parametrize("password", [b"", b"Correct horse", b"correct", b"\xff", b"x" * MAX_PASSWORD_OCTETS])
def test_wrong_password_does_not_match(stored: str, password: bytes) -> None:
    """Nothing but the password matches."""
    assert not verify_password(password, stored)


@each_hash
def test_form_of_a_hash_is_known(stored: str) -> None:
    """What can be verified is told from what cannot without computing it."""
    assert is_password_hash(stored)


@each_non_hash
def test_what_is_no_hash_matches_nothing(stored: str) -> None:
    """Empty, locked, malformed and cut fields refuse every password, the field's own text included."""
    own = stored.encode("utf-8", "surrogatepass")

    assert not any(verify_password(password, stored) for password in (PASSWORD, b"", b"!", b"*0", own))


@each_non_hash
def test_what_is_no_hash_is_told(stored: str) -> None:
    """A field that no password can match is not called a hash."""
    assert not is_password_hash(stored)


@given(st.text(), st.binary())
def test_no_text_makes_it_raise(stored: str, password: bytes) -> None:
    """Whatever stands in a password file and whatever a client sends, the answer is yes or no."""
    assert is_password_hash(stored) in {True, False}
    assert verify_password(password, stored) in {True, False}


@pytest.mark.skipif(shutil.which("mkpasswd") is None, reason="mkpasswd is not installed (Debian package whois)")
@pytest.mark.parametrize("method", HASHES)
def test_hash_made_by_another_program_matches(method: str) -> None:
    """A hash with a salt that nobody chose is verified as well."""
    command = ["mkpasswd", f"--method={method}", "--stdin"]
    stored = subprocess.run(command, input=PASSWORD, stdout=subprocess.PIPE, check=True).stdout.decode().strip()

    assert is_password_hash(stored)
    assert verify_password(PASSWORD, stored)
    assert not verify_password(PASSWORD[:7], stored)


@each_scheme
@pytest.mark.parametrize("password", [b"x", b" a  b ", b"p\xe4ssw\xf6rd", b"\xff" * 72], ids=repr)
def test_new_hash_matches_its_password_alone(scheme: str, password: bytes) -> None:
    """What is hashed here is verified here, octet by octet."""
    stored = hash_password(password, scheme)

    assert stored.startswith(SCHEMES[scheme].prefix.decode())
    assert is_password_hash(stored)
    assert verify_password(password, stored)
    assert not verify_password(password[:-1] + b"y", stored)


@each_scheme
def test_longest_password_is_hashed_whole(scheme: str) -> None:
    """The last octet that a scheme accepts counts as much as the first."""
    longest = b"x" * SCHEMES[scheme].max_octets
    stored = hash_password(longest, scheme)

    assert verify_password(longest, stored)
    assert not verify_password(longest[:-1], stored)
    assert not verify_password(longest[:-1] + b"y", stored)


@each_scheme
@pytest.mark.parametrize("password", [b"", b"\0", b"a\0b", b"x" * (MAX_PASSWORD_OCTETS + 1)])
def test_password_that_cannot_be_hashed_is_refused(scheme: str, password: bytes) -> None:
    """A password of which libcrypt would see only a part, or nothing, is not hashed."""
    with pytest.raises(ValueError, match="octets, and no NUL"):
        hash_password(password, scheme)


def test_password_longer_than_bcrypt_looks_is_refused() -> None:
    """The 72nd octet is the last that bcrypt looks at, so a longer password would be a shorter one (crypt(5))."""
    with pytest.raises(ValueError, match="72 octets"):
        hash_password(b"x" * 73, "bcrypt")


def test_unknown_scheme_is_refused_by_name() -> None:
    """The message tells which schemes there are."""
    with pytest.raises(ValueError, match=r"'md5' \(known: yescrypt, bcrypt, sha512crypt\)"):
        hash_password(PASSWORD, "md5")


@each_scheme
def test_password_with_nul_or_too_long_matches_nothing(scheme: str) -> None:
    """The library would stop at the NUL and take the rest for right."""
    stored = hash_password(PASSWORD, scheme)

    assert not verify_password(PASSWORD + b"\0", stored)
    assert not verify_password(PASSWORD + b"\0more", stored)
    assert not verify_password(PASSWORD.ljust(MAX_PASSWORD_OCTETS + 1), stored)


def test_hash_of_the_empty_password_matches_nothing() -> None:
    """Other programs may store such a hash; the empty password never logs in (RFC 1939 section 3)."""
    stored = "$1$JNXwDtP7$7syLqyEAS2WTM/G5lKQ7A1"

    assert is_password_hash(stored)
    assert not verify_password(b"", stored)


def test_salts_differ() -> None:
    """Two users with the same password have different hashes."""
    assert hash_password(PASSWORD) != hash_password(PASSWORD)


@each_scheme
def test_new_hash_is_slow_enough(scheme: str) -> None:
    """Guessing must cost: libcrypt's own defaults for bcrypt and sha512crypt take 2 ms."""
    stored = hash_password(PASSWORD, scheme)
    start = time.thread_time()
    verify_password(b"a guess", stored)
    seconds = time.thread_time() - start

    assert seconds > 0.005


@pytest.mark.parametrize(
    ("expected", "other"),
    [
        (HASHES["yescrypt"], HASHES["md5crypt"]),
        (HASHES["bcrypt"].replace("$05$", "$12$"), HASHES["bcrypt"]),
        (HASHES["sha512crypt"].replace("$6$", "$6$rounds=1000$"), HASHES["sha512crypt"]),
        (HASHES["scrypt"].replace("$7$C", "$7$D"), HASHES["scrypt"]),
        (HASHES["md5crypt"], HASHES["descrypt"]),
        (HASHES["sunmd5"], HASHES["sunmd5"].replace("68744", "4096")),
    ],
)
def test_typical_hash_has_the_commonest_scheme_and_cost(expected: str, other: str) -> None:
    """What decides the time is compared, not the salt."""
    assert typical_hash([other, expected, expected]) == expected


def test_typical_hash_without_hashes_takes_as_long_as_a_new_one() -> None:
    """Even the first user of a new server does not stand out."""

    def seconds_for(stored: str) -> float:
        start = time.thread_time()
        assert not verify_password(b"a guess", stored)
        return time.thread_time() - start

    with_users, without = (
        statistics.median(seconds_for(stored) for _ in range(5))
        for stored in (hash_password(PASSWORD), typical_hash([]))
    )

    assert with_users / 2 < without < with_users * 2


def test_threads_hash_at_the_same_time() -> None:
    """Each call has its own buffer: answers of threads never mix."""
    passwords = [b"password of thread %d" % number for number in range(8)]
    hashes = [hash_password(password) for password in passwords]
    wrong: list[tuple[int, int]] = []

    def check(number: int) -> None:
        for other in (number - 1, number):
            if verify_password(passwords[number], hashes[other]) is not (number == other):
                wrong.append((number, other))

    threads = [threading.Thread(target=check, args=(number,)) for number in range(len(passwords))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_other_threads_run_while_a_hash_is_computed() -> None:
    """A login that hashes holds nobody up: the interpreter's lock is released meanwhile."""
    stored = HASHES["scrypt"]  # more than 100 ms
    done = threading.Event()

    def hash_slowly() -> None:
        verify_password(PASSWORD, stored)
        done.set()

    thread = threading.Thread(target=hash_slowly)
    thread.start()
    turns = 0
    while not done.is_set():
        turns += 1
        time.sleep(0.001)
    thread.join()

    assert turns > 5


def test_libcrypt_is_found_under_each_of_its_names() -> None:
    """A library that is not there, or is too old to have crypt_rn, is passed over."""
    library = load_library(["libnosuchthing.so.1", "libc.so.6", *reversed([*library_names()])])

    assert library.crypt_rn(b"x", b"", None, 0) is None


def test_machine_without_libcrypt_is_told_what_to_install() -> None:
    """The operator reads the name of the package."""
    with pytest.raises(ConfigError, match="Debian: libcrypt1, Fedora: libxcrypt"):
        load_library(["libnosuchthing.so.1", "libc.so.6"])
