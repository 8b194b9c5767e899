"""Keys in a file: read at the start, and again when it has changed."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from popframe import ConfigError
from popframe_auth_oauth.key_file import SETTLED_NANOSECONDS, KeyFile

from .issuer import OTHER_RSA_KEY, RSA_KEY, key_set, public


def replace(path: Path, content: bytes) -> None:
    """Put a new file in place of the old at one instant."""
    new = path.with_name("new")
    new.write_bytes(content)
    new.chmod(0o644)
    new.replace(path)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the plugin has complained about."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock of the test be ahead, so that every file was changed a while ago."""
    later = time.time_ns() + 2 * SETTLED_NANOSECONDS
    monkeypatch.setattr(time, "time_ns", lambda: later)


def test_changed_file_counts_at_once(keys_path: Path, settled: None) -> None:
    """Without a signal; and an unchanged one gives the same keys without being read."""
    keys = KeyFile(keys_path)
    first = keys.current()

    assert keys.current() is first
    assert keys.newer(first) is None
    replace(keys_path, key_set(public(OTHER_RSA_KEY, "k2")))
    assert [kid for kid, _ in keys.current().keys] == ["k2"]


def test_change_within_the_tick_of_the_clock_counts(keys_path: Path) -> None:
    """A file that was just written may change again and look the same."""
    keys = KeyFile(keys_path)
    status = keys_path.stat()
    keys_path.write_bytes(key_set(public(RSA_KEY, "k9")))
    os.utime(keys_path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert [kid for kid, _ in keys.current().keys] == ["k9"]


@pytest.mark.usefixtures("settled")
def test_file_that_cannot_be_used_leaves_the_keys_as_they_were(
    keys_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line in the log for each reason, and the file counts again when it is mended."""
    keys = KeyFile(keys_path)
    first = keys.current()
    replace(keys_path, b"{}")
    for _ in range(3):
        assert keys.current() is first
    keys_path.unlink()
    for _ in range(3):
        assert keys.current() is first

    assert len(errors(caplog)) == 2
    assert "cannot be used, the keys stay as they were: it has no list 'keys'" in errors(caplog)[0]
    assert "No such file" in errors(caplog)[1]
    replace(keys_path, key_set(public(OTHER_RSA_KEY, "k2")))
    assert [kid for kid, _ in keys.current().keys] == ["k2"]


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (None, 0, "cannot be read: No such file"),
        (b"{}", 0o644, "it has no list 'keys'"),
        (key_set(), 0o664, "others than its owner can write it"),
        (key_set(), 0o646, "others than its owner can write it"),
    ],
)
def test_file_that_cannot_be_used_stops_the_start(
    tmp_path: Path, content: bytes | None, mode: int, reason: str
) -> None:
    """Told to the operator; whoever can write the file could log in as anybody."""
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)

    with pytest.raises(ConfigError, match=reason):
        KeyFile(path)


def test_pipe_in_place_of_the_file_holds_nobody_up(tmp_path: Path) -> None:
    """It is no file, and is told as such."""
    os.mkfifo(tmp_path / "keys")

    with pytest.raises(ConfigError, match="not a regular file"):
        KeyFile(tmp_path / "keys")


def test_ignored_key_is_told_at_the_start(keys_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The operator may have meant it."""
    replace(keys_path, key_set(public(RSA_KEY), {"kty": "oct", "k": "c2VjcmV0"}))
    KeyFile(keys_path)

    assert "key 2: its kty is 'oct'" in caplog.text
    assert "c2VjcmV0" not in caplog.text
