"""Qpopper's configuration file: lines ``set NAME = VALUE``, ``set NAME``, ``reset NAME``, and comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from popframe.migration.qpopper.given import BadInput, Given
from popframe.migration.qpopper.options import BY_LOWER_CASE, OPTIONS, Kind
from popframe.suggestion import suggest

MAX_FILE_OCTETS = 1_048_576
"""A mebibyte: a larger file is not a configuration."""

INCLUDE = "config-file"

_LINE = re.compile(
    r"""\s*(?P<verb>\S+)(?:\s+(?P<name>[A-Za-z0-9-]+)\s*(?P<equals>=)?\s*
    (?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|`(?P<back>[^`]*)`|(?P<bare>[^\s#]\S*))?)?\s*(?P<rest>.*)""",
    re.VERBOSE,
)


def read_config_file(path: Path, ancestors: tuple[Path, ...] = ()) -> list[Given]:
    """Read a file, and those that it includes.

    Args:
        path: The file; a relative one starts, as for Qpopper, from the working directory.
        ancestors: Those that have led to it.

    Raises:
        BadInput: With everything that cannot be understood.
    """
    lines, given, mistakes = _lines(path), list[Given](), list[str]()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            one = _parsed(line, f"{path}:{number}")
            if one.name != INCLUDE:
                given.append(one)
                continue
            given += _included(Path(str(one.value)), (*ancestors, path))
        except BadInput as error:
            mistakes += [f"{mistake} (included by {path}:{number})" for mistake in error.mistakes]
        except ValueError as error:
            mistakes.append(f"{path}:{number}: {error}")
    if mistakes:
        raise BadInput(mistakes)
    return given


def _included(path: Path, ancestors: tuple[Path, ...]) -> list[Given]:
    if path in ancestors:
        raise ValueError(f"{path} includes itself; remove this line")
    return read_config_file(path, ancestors)


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            octets = stream.read(MAX_FILE_OCTETS + 1)
        if len(octets) > MAX_FILE_OCTETS:
            raise BadInput([f"{path}: is larger than {MAX_FILE_OCTETS} octets: not a configuration of Qpopper"])
        return octets.decode().split("\n")
    except OSError as error:
        raise BadInput([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise BadInput([f"{path}:{line}: is not UTF-8"]) from error


def _parsed(line: str, origin: str) -> Given:
    """Read a line.

    Raises:
        ValueError: It is none; the message says what would be right.
    """
    match = _LINE.fullmatch(line)
    verb = match["verb"].lower() if match else ""
    if match is None or verb not in {"set", "reset"}:
        raise ValueError(f"{line.split()[0]!r} is neither 'set' nor 'reset'; right would be 'set NAME = VALUE'")
    if match["name"] is None:
        raise ValueError(f"the name of an option is missing; right would be '{verb} NAME'")
    name = BY_LOWER_CASE.get(match["name"].lower())
    if name is None:
        raise ValueError(f"Qpopper has no option {match['name']!r}{suggest(match['name'], OPTIONS)}")
    option = OPTIONS[name]
    if verb == "reset" and option.kind is not Kind.BOOLEAN:
        raise ValueError(f"{name} is no option of true and false, which alone can be reset; 'set {name} = VALUE'")
    text = next((match[kind] for kind in ("double", "single", "back", "bare") if match[kind] is not None), None)
    rest = match["rest"]
    if match["bare"] is not None and option.kind is not Kind.TEXT and "#" in match["bare"]:
        text, _, rest = match["bare"].partition("#")
        rest = f"#{rest}"
    if rest and not rest.startswith("#"):
        raise ValueError(f"{rest!r} behind the value of {name}; a value with blanks stands in quotes")
    if match["equals"] is None and text is not None:
        raise ValueError(f"'=' is missing before {text!r}; right would be 'set {name} = VALUE'")
    if text is None:
        if match["equals"] or option.kind is not Kind.BOOLEAN:
            raise ValueError(f"{name} needs a value, {option.kind.value}; 'set {name} = VALUE'")
        return Given(name, verb == "set", f"{verb} {name}", origin)
    try:
        return Given(name, option.parsed(text), f"{verb} {name} = {_shown(name, text)}", origin)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _shown(name: str, text: str) -> str:
    return "****" if name == "tls-passphrase" else text


def names_in(path: Path) -> Iterator[str]:
    """Yield the users in a file of Qpopper's for allowed or refused ones: the first word of each line.

    Raises:
        BadInput: It cannot be read.
    """
    for line in _lines(path):
        words = line.partition("#")[0].split()
        if words:
            yield words[0]
