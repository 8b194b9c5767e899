"""The command line of the Berkeley and Qualcomm popper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from popframe.migration.qpopper.config_file import read_config_file
from popframe.migration.qpopper.given import BadInput, Given
from popframe.migration.qpopper.options import CLEAR_TEXT, OPTIONS, TLS_SUPPORT

ORIGIN = "command line"

ADDRESS = "address"
"""Stands for the first argument of a popper that is no child of inetd: ``[address][:][port]``."""

UNKNOWN_MEANING = "-x"
"""Qpopper 4.1 lists it without saying what it is for."""


@dataclass(frozen=True, slots=True)
class Switch:
    """One switch.

    Attributes:
        option: The option that it sets; empty for those that mean something else.
        value: What it sets it to; None when an argument says so.
    """

    option: str
    value: bool | None = None


SWITCHES: dict[str, Switch] = {
    "b": Switch("bulldir"),
    "B": Switch("bulldb-nonfatal", True),
    "c": Switch("downcase-user", True),
    "C": Switch("trim-domain", True),
    "d": Switch("debug", True),
    "D": Switch("drac-host"),
    "e": Switch(""),
    "f": Switch("config-file"),
    "F": Switch("fast-update", True),
    "k": Switch("kerberos", True),
    "K": Switch("kerberos-service"),
    "l": Switch("tls-support"),
    "L": Switch("mail-lock-check"),
    "p": Switch("clear-text-password"),
    "R": Switch("reverse-lookup", False),
    "s": Switch("statistics", True),
    "S": Switch("server-mode", True),
    "t": Switch("tracefile"),
    "T": Switch("timeout"),
    "u": Switch("user-options", True),
    "U": Switch("spool-options", True),
    "x": Switch(UNKNOWN_MEANING, True),
    "y": Switch("log-facility"),
}

NUMBERED = {"l": TLS_SUPPORT[:3], "p": CLEAR_TEXT[:5]}
"""Switches whose argument is the place of a word in a list."""

_EXTENSIONS = {"login_delay": "announce-login-delay", "expire": "announce-expire"}


def read_command_line(words: Sequence[str]) -> list[Given]:
    """Read a command line; what stands in files that it names comes in their place.

    Args:
        words: With or without the name of the program in front.

    Raises:
        BadInput: With everything that cannot be understood.
    """
    rest, given, mistakes = list(words), list[Given](), list[str]()
    if rest and "popper" in Path(rest[0]).name:
        del rest[0]
    if rest and not rest[0].startswith("-"):
        address = rest.pop(0)
        given.append(Given(ADDRESS, address, address, ORIGIN))
    while rest:
        word = rest.pop(0)
        try:
            given += _switches(_checked(word), rest)
        except BadInput as error:
            mistakes += error.mistakes
        except ValueError as error:
            mistakes.append(f"{ORIGIN}: {error}")
    if mistakes:
        raise BadInput(mistakes)
    return given


def _checked(word: str) -> str:
    """Return the letters of a word with switches.

    Raises:
        ValueError: It has none.
    """
    if not word.isprintable():  # octets that are no text stand in it as lone surrogates
        raise ValueError(f"{word!r}: characters that do not print")
    if not word.startswith("-") or word == "-":
        raise ValueError(f"{word!r} is no switch; an address can only be the first word")
    return word[1:]


def _switches(letters: str, rest: list[str]) -> list[Given]:
    """Read the switches of one word; one that has an argument takes the rest of the word, or the next word."""
    given: list[Given] = []
    while letters:
        letter, letters = letters[0], letters[1:]
        switch = SWITCHES.get(letter)
        if switch is None:
            raise ValueError(f"popper has no switch -{letter} (known: {', '.join(f'-{known}' for known in SWITCHES)})")
        if switch.value is not None:
            given.append(Given(switch.option, switch.value, f"-{letter}", ORIGIN))
            continue
        if not letters and not rest:
            raise ValueError(f"-{letter} needs an argument")
        argument, letters = letters or rest.pop(0), ""
        given += _with_argument(letter, switch, argument)
    return given


def _with_argument(letter: str, switch: Switch, argument: str) -> list[Given]:
    if switch.option == "config-file":
        return read_config_file(Path(argument))
    if letter == "e":
        return [_extension(part) for part in argument.split(",")]
    if not argument.isprintable():
        raise ValueError(f"-{letter} {argument!r}: characters that do not print")
    written = f"-{letter} {argument}"
    if letter in NUMBERED:
        words = NUMBERED[letter]
        if not (argument.isdecimal() and int(argument) < len(words)):
            raise ValueError(f"{written}: must be a number from 0 to {len(words) - 1}")
        return [Given(switch.option, words[int(argument)], written, ORIGIN)]
    try:
        return [Given(switch.option, OPTIONS[switch.option].parsed(argument), written, ORIGIN)]
    except ValueError as error:
        raise ValueError(f"-{letter}: {error}") from error


def _extension(part: str) -> Given:
    name, _, value = part.partition("=")
    option = _EXTENSIONS.get(name.strip().lower())
    if option is None or not value.strip().isdecimal():
        raise ValueError(f"-e {part}: right would be login_delay=SECONDS, or expire=DAYS")
    return Given(option, int(value), f"-e {part}", ORIGIN)
