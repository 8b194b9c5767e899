"""The transcripts of this folder, with the plugin as it comes: LAST, XTND XLST, and what is not offered."""

from __future__ import annotations

from pathlib import Path

import pytest

from popframe.testing import EngineServer, client_octets, cut_at, in_one_piece, octet_by_octet, play, read_transcript
from popframe_xtnd import Settings, Xtnd

PATHS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))

CUTS = 25
"""At how many places each dialogue is cut in two."""


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_plugin_answers_as_it_should_however_the_stream_is_cut(path: Path) -> None:
    """The dialogue, command by command, all at once, octet by octet, and in two pieces."""
    transcript = read_transcript(path)
    length = max(map(len, client_octets(transcript)))
    cuts = [cut_at(position) for position in range(1, length, max(1, length // CUTS))]

    for cut in (None, in_one_piece, octet_by_octet, *cuts):
        play(transcript, EngineServer(transcript, Xtnd(Settings()).popframe_register_commands()).connect, cut=cut)


def test_each_command_can_be_switched_off() -> None:
    """Only RPOP stays, which is refused."""
    rows = Xtnd(Settings(last=False, xlst=False)).popframe_register_commands()

    assert [row.verb for row in rows] == ["RPOP"]
