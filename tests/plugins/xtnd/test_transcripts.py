"""The transcripts of this folder, with the plugin as it comes: LAST, XTND XLST, and what is not offered."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe.testing import EngineServer, client_octets, cut_at, in_one_piece, octet_by_octet, play, read_transcript
from popframe_xtnd import Settings, Xtnd
from popframe_xtnd.listing import MAX_HEADER_OCTETS, header

PATHS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


def paths(folder: str) -> list[Path]:
    """Return the transcripts that need more than the plugin as it comes."""
    return sorted((Path(__file__).parent / "transcripts" / folder).glob("*.txt"))


CHANGED = datetime(2026, 1, 5, 9, tzinfo=UTC).timestamp()

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


@pytest.mark.parametrize("path", paths("groups"), ids=lambda path: path.stem)
def test_groups_are_visited_as_they_should_be_however_the_stream_is_cut(path: Path, groups: Path) -> None:
    """The same for the dialogues with a folder of groups."""
    os.utime(groups / "system", (CHANGED, CHANGED))
    transcript = read_transcript(path)
    plugin = Xtnd(Settings(groups_dir=groups))

    for cut in (None, in_one_piece, octet_by_octet):
        play(transcript, EngineServer(transcript, plugin.popframe_register_commands()).connect, cut=cut)


SENT = b"To: bob@example.org\nSubject: dots\n\n.x\n..\na bare\n.\nline\n"
"""What the mailer gets in each of the dialogues with one that works."""


@pytest.mark.parametrize("path", [*paths("xmit"), *paths("xmit_fails")], ids=lambda path: path.stem)
def test_messages_are_sent_as_they_should_be_however_the_stream_is_cut(
    path: Path, mailer: Callable[[str], Path], tmp_path: Path
) -> None:
    """The same for XTND XMIT: in each dialogue one message reaches the mailer, whole."""
    is_failing = path.parent.name == "xmit_fails"
    program = mailer("exit 75" if is_failing else f"echo once >> {tmp_path}/times")
    plugin = Xtnd(
        Settings(
            xmit=True,
            sendmail=(str(program), "-i", "-t"),
            spool_dir=tmp_path,
            as_server_user=True,
            trace_header=False,
        )
    )
    transcript = read_transcript(path)
    for turn, cut in enumerate((None, in_one_piece, octet_by_octet), 1):
        play(transcript, EngineServer(transcript, plugin.popframe_register_commands()).connect, cut=cut)
        if not is_failing:
            assert (tmp_path / "sent").read_bytes() == SENT
            assert (tmp_path / "times").read_text() == "once\n" * turn


def test_each_command_can_be_switched_off() -> None:
    """Only RPOP stays, which is refused."""
    rows = Xtnd(Settings(last=False, xlst=False)).popframe_register_commands()

    assert [row.verb for row in rows] == ["RPOP"]


@given(st.lists(st.sampled_from([b"a: b", b"\n", b"\r\n", b"\r", b" c"]), max_size=12), st.integers(1, 5))
def test_a_header_is_found_however_a_store_cuts_a_message(words: list[bytes], size: int) -> None:
    """It ends at the first line that is empty."""
    message = b"".join(words)
    pieces = (message[start : start + size] for start in range(0, len(message), size))
    whole = header(iter([message]))

    assert header(pieces).rstrip(b"\r\n") == whole.rstrip(b"\r\n")
    assert message.startswith(whole)
    assert not re.search(rb"\n\r?\n", whole)


def test_a_header_that_does_not_end_is_cut() -> None:
    """Memory is bounded, whatever a message is."""
    endless = iter(lambda: b"x" * 65_536, b"")

    assert len(header(endless)) == MAX_HEADER_OCTETS
