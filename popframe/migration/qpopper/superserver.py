"""Lines of inetd.conf and xinetd that start a popper."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from popframe.migration.qpopper.given import BadInput

_ENTRY = re.compile(r"^\s*service\s+(?P<name>\S+)\s*\n\s*\{(?P<body>.*?)^\s*\}", re.MULTILINE | re.DOTALL)
_SERVER = re.compile(r"^\s*server\s*=\s*(.+)$", re.MULTILINE)
_ARGUMENTS = re.compile(r"^\s*server_args\s*\+?=\s*(.+)$", re.MULTILINE)

PROGRAM = 5
"""Fields of a line of inetd.conf before the program: service, socket, protocol, wait, user."""

OLD_PORTS = {"pop": 110, "pop2": 109, "pop-2": 109, "pop3": 110, "pop-3": 110, "pop3s": 995, "spop3": 995}
"""Names of services that popper was started by, which an /etc/services of today need not have."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A popper that somebody starts.

    Attributes:
        service: Name or port, as in the file.
        port: The port.
        words: Its arguments.
    """

    service: str
    port: int
    words: tuple[str, ...]


def read_inetd_conf(path: Path, service: str | None) -> Invocation:
    """Find the popper in an inetd.conf.

    Args:
        path: The file.
        service: Which one, if there are several.

    Raises:
        BadInput: There is none, or there are several.
    """
    return _chosen(path, service, _of_inetd(_text(path)))


def read_xinetd(path: Path, service: str | None) -> Invocation:
    """Find the popper in a file of xinetd; see :func:`read_inetd_conf`."""
    return _chosen(path, service, _of_xinetd(_text(path)))


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise BadInput([f"{path}: cannot be read: {reason}"]) from error


def _of_inetd(text: str) -> Iterator[tuple[str, Sequence[str]]]:
    for line in text.splitlines():
        fields = line.split()
        if line.startswith("#") or len(fields) <= PROGRAM:
            continue
        # Behind tcpd the program is what stands in the place of its name.
        program, *arguments = fields[PROGRAM:]
        if any("popper" in Path(word).name for word in (program, *arguments[:1])):
            yield fields[0], arguments[1:]


def _of_xinetd(text: str) -> Iterator[tuple[str, Sequence[str]]]:
    for match in _ENTRY.finditer(text):
        server = _SERVER.search(match["body"])
        arguments = " ".join(_ARGUMENTS.findall(match["body"])).split()
        named = [server[1].strip() if server else "", *arguments[:1]]
        if "popper" in Path(named[0]).name:
            yield match["name"], arguments
        elif any("popper" in Path(word).name for word in named):  # behind tcpd
            yield match["name"], arguments[1:]


def _chosen(path: Path, service: str | None, found: Iterable[tuple[str, Sequence[str]]]) -> Invocation:
    all_of_them = list(found)
    names = ", ".join(name for name, _ in all_of_them)
    those = [(name, words) for name, words in all_of_them if service in (None, name)]
    if not those:
        raise BadInput(
            [f"{path}: no line starts a popper" + (f" for {service} (found: {names or 'none'})" * bool(service))]
        )
    if len(those) > 1:
        raise BadInput([f"{path}: several lines start a popper ({names}); choose one with --service"])
    name, words = those[0]
    return Invocation(name, _port(path, name), tuple(words))


def _port(path: Path, service: str) -> int:
    if service.isdecimal():
        return int(service)
    if service in OLD_PORTS:
        return OLD_PORTS[service]
    try:
        return socket.getservbyname(service, "tcp")
    except OSError as error:
        raise BadInput([f"{path}: this machine knows no service {service!r}; write its port in its place"]) from error
