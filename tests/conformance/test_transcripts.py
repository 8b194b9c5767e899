"""Every transcript in this folder, played against the engine in every way in which a client's octets can arrive."""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path

import pytest

from popframe.server.connection import Connection, Timers
from popframe.server.transport import Transport
from popframe.testing import (
    EngineServer,
    SocketTransport,
    client_octets,
    cut_at,
    in_one_piece,
    octet_by_octet,
    play,
    read_transcript,
)

HERE = Path(__file__).parent
PATHS = sorted(HERE.glob("*/*.txt"))

CUT_EVERYWHERE_OCTETS = 400
"""Longer dialogues are cut at some places only; their commands are no others."""

LONG_CUTS = 25
"""How many places that is."""

SESSION_SECONDS = 20.0
"""No session of a transcript takes longer."""

every_transcript = pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")


@every_transcript
def test_the_server_answers_as_it_should_when_the_client_waits(path: Path) -> None:
    """Replies come right behind their commands (RFC 1939 section 3)."""
    transcript = read_transcript(path)

    play(transcript, EngineServer(transcript).connect)


@every_transcript
def test_the_answers_are_the_same_when_all_comes_at_once(path: Path) -> None:
    """Commands may be sent ahead (RFC 2449 section 6.6)."""
    transcript = read_transcript(path)

    play(transcript, EngineServer(transcript).connect, cut=in_one_piece)


@every_transcript
def test_the_answers_are_the_same_when_each_octet_comes_alone(path: Path) -> None:
    """P-025, Q-007: how TCP cuts the stream means nothing."""
    transcript = read_transcript(path)

    play(transcript, EngineServer(transcript).connect, cut=octet_by_octet)


@every_transcript
def test_the_answers_are_the_same_wherever_the_stream_is_cut(path: Path) -> None:
    """P-025, Q-007: a cut may fall between CR and LF, or anywhere else."""
    transcript = read_transcript(path)
    length = max(map(len, client_octets(transcript)))
    step = 1 if length <= CUT_EVERYWHERE_OCTETS else length // LONG_CUTS

    for position in range(1, length, step):
        play(transcript, EngineServer(transcript).connect, cut=cut_at(position))


@every_transcript
def test_the_answers_are_the_same_over_a_socket(path: Path) -> None:
    """A transcript says the same of the engine and of a server that is reached through TCP."""
    transcript = read_transcript(path)
    server = EngineServer(transcript)
    sessions: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def connect() -> SocketTransport:
            for session in sessions:
                session.join(SESSION_SECONDS)
            transport = SocketTransport(listener.getsockname())
            accepted, _ = listener.accept()
            connection = Connection(Transport(accepted), server.session(), Timers(SESSION_SECONDS, SESSION_SECONDS))
            sessions.append(threading.Thread(target=connection.run))
            sessions[-1].start()
            return transport

        play(transcript, connect)
        for session in sessions:
            session.join(SESSION_SECONDS)

    assert not any(session.is_alive() for session in sessions)


@every_transcript
def test_a_transcript_says_what_it_shows(path: Path) -> None:
    """The comment on top names the text that it comes from, or practice, and the numbers of the requirements."""
    comment = "".join(line for line in path.read_text("utf-8").partition("\n\n")[0].splitlines(keepends=True))

    assert re.match(r"# .*", comment)
    assert re.search(r"\b[PCATUNXQHE]-\d{3}\b", comment), "no requirement is named"
    assert all(line.startswith(("#", "@")) for line in comment.splitlines())


def test_there_are_transcripts_of_every_kind() -> None:
    """A folder that is moved away does not go unnoticed."""
    folders = {"hostile", "quirks", "rfc1939", "rfc2449", "rfc3206", "rfc5034", "rfc6856"}

    assert {path.parent.name for path in PATHS} == folders
