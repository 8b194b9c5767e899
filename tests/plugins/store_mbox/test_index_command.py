"""``popframe mbox index``: it makes or removes the index, never in the middle of a session, and never touches mail."""

from __future__ import annotations

import argparse
import os
from contextlib import closing
from pathlib import Path

import pytest

from popframe import Account
from popframe.cli import main
from popframe_store_mbox import Settings, StoreMbox
from popframe_store_mbox.index_file import StoredIndex
from popframe_store_mbox.tools.mbox import command

Capture = pytest.CaptureFixture[str]
ALICE = Account("alice")
MESSAGE = b"From a@example.org Mon Jan  5 09:00:00 2026\nSubject: %d\n\n" + b"text\n" * 1000 + b"\n"
MAIL = b"".join(MESSAGE % number for number in range(20))


def mbox(*arguments: object) -> int:
    """Run the command in this process."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(["index", *map(str, arguments)]))


@pytest.fixture
def index(spool: Path) -> Path:
    """Return the path of the index of a spool with twenty messages, which is not there yet."""
    spool.write_bytes(MAIL)
    return spool.with_name(".alice.popframe-index")


def test_it_makes_the_index_that_a_login_uses(spool: Path, index: Path, capsys: Capture) -> None:
    """Whatever was there before."""
    index.write_bytes(b"rubbish")

    assert mbox(spool) == 0
    assert capsys.readouterr().out == f"{index}: 20 messages, {index.stat().st_size} octets\n"
    stored = StoredIndex.load(str(index))
    assert stored is not None
    with closing(stored):
        assert len(stored) == 20
    with closing(StoreMbox(Settings(spool_dir=spool.parent)).popframe_open_maildrop(ALICE)) as maildrop:
        assert len(maildrop.message_octets()) == 20
    assert spool.read_bytes() == MAIL


def test_it_removes_the_index(spool: Path, index: Path, capsys: Capture) -> None:
    """And says so when there is none."""
    mbox(spool)
    capsys.readouterr()

    assert mbox("--drop", spool) == 0
    assert not index.exists()
    assert mbox("--drop", spool) == 0
    assert capsys.readouterr().out == (f"{index}: removed; the next login scans the spool\n{index}: there is none\n")
    assert spool.read_bytes() == MAIL


def test_it_says_that_a_small_spool_has_none(spool: Path, index: Path, capsys: Capture) -> None:
    """No index is not a failure."""
    spool.write_bytes(MESSAGE % 1)

    assert mbox(spool) == 0
    assert "not written; the spool has 1 message and is scanned at each login" in capsys.readouterr().out
    assert not index.exists()


@pytest.mark.parametrize("options", [[], ["--drop"]])
def test_it_keeps_away_from_an_open_session(spool: Path, index: Path, options: list[str], capsys: Capture) -> None:
    """Who has it open reads and writes it."""
    with closing(StoreMbox(Settings(spool_dir=spool.parent)).popframe_open_maildrop(ALICE)):
        before = index.read_bytes()

        assert mbox(*options, spool) == 1
        assert index.read_bytes() == before
    assert "locked since " in capsys.readouterr().err


def test_it_finds_the_index_where_the_configuration_has_it(spool: Path, index: Path, tmp_path: Path) -> None:
    """The state directory of the server, not that of the spool."""
    (tmp_path / "state").mkdir()
    configuration = tmp_path / "popframe.toml"
    configuration.write_text('plugins = ["store_mbox"]\n[plugin.store_mbox]\nstate_dir = "state"\n')

    assert mbox("--config", configuration, spool) == 0
    assert not index.exists()
    assert [name for name in os.listdir(tmp_path / "state") if name.endswith(".popframe-index")]


def test_mistakes_are_told(spool: Path, tmp_path: Path, capsys: Capture) -> None:
    """A spool that is not there is not made; a configuration without this plugin is not guessed at."""
    assert mbox(spool) == 1
    assert capsys.readouterr().err == f"popframe mbox: {spool}: no such file\n"
    assert not spool.exists()
    assert mbox(tmp_path / "nowhere" / "alice", "--drop") == 2
    assert "nowhere: no such directory" in capsys.readouterr().err
    (tmp_path / "other.toml").write_text('plugins = ["auth_file"]\n')
    assert main(["mbox", "index", "--config", str(tmp_path / "other.toml"), str(spool)]) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'other.toml'}:1: plugins: 'store_mbox' is not in this list\n"
