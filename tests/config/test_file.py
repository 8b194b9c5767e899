"""Reading a configuration file that cannot be read, or is not TOML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from popframe.config import ConfigFile, InvalidConfiguration
from popframe.config.file import MAX_FILE_OCTETS


def test_syntax_error_is_told_with_its_line(write: Callable[[str], Path]) -> None:
    """The line of tomllib's message becomes the place of the problem."""
    path = write('plugins = ["auth_file"]\n\n[server\n')

    with pytest.raises(InvalidConfiguration) as caught:
        ConfigFile.read(path)

    assert str(caught.value) == f"{path}:3: Expected ']' at the end of a table declaration"


def test_key_that_is_given_twice_is_told_with_its_line(write: Callable[[str], Path]) -> None:
    """TOML allows a key once; the second one is the mistake."""
    path = write("[server]\nfronts = 1\nfronts = 2\n")

    with pytest.raises(InvalidConfiguration) as caught:
        ConfigFile.read(path)

    assert [(problem.line, problem.text) for problem in caught.value.problems] == [(3, "Cannot overwrite a value")]


def test_error_at_the_end_is_told_with_the_last_line(write: Callable[[str], Path]) -> None:
    """An unclosed string is noticed at the end of the file."""
    path = write('plugins = ["a"]\nx = """\n\n')

    with pytest.raises(InvalidConfiguration) as caught:
        ConfigFile.read(path)

    assert caught.value.problems[0].line == 3


def test_missing_file_is_told_without_a_line(tmp_path: Path) -> None:
    """There is no line to point at."""
    path = tmp_path / "none.toml"

    with pytest.raises(InvalidConfiguration) as caught:
        ConfigFile.read(path)

    assert str(caught.value) == f"{path}: cannot be read: No such file or directory"


def test_directory_is_refused(tmp_path: Path) -> None:
    """A directory opens, and cannot be read."""
    with pytest.raises(InvalidConfiguration, match="cannot be read: Is a directory"):
        ConfigFile.read(tmp_path)


def test_octets_that_are_not_utf8_are_told_with_their_line(tmp_path: Path) -> None:
    """TOML is UTF-8."""
    path = tmp_path / "popframe.toml"
    path.write_bytes(b"plugins = []\n\n# M\xfcller\n")

    with pytest.raises(InvalidConfiguration) as caught:
        ConfigFile.read(path)

    assert str(caught.value) == f"{path}:3: is not UTF-8"


def test_file_without_end_is_refused() -> None:
    """A device named by mistake does not fill the memory."""
    with pytest.raises(InvalidConfiguration, match=f"is larger than {MAX_FILE_OCTETS} octets"):
        ConfigFile.read(Path("/dev/zero"))


def test_deep_nesting_is_refused(write: Callable[[str], Path]) -> None:
    """No text makes the parser fail with anything but a message."""
    path = write(f"plugins = {'[' * 5000}{']' * 5000}\n")

    with pytest.raises(InvalidConfiguration, match="nested too deeply"):
        ConfigFile.read(path)


def test_line_is_unknown_when_tomlkit_fails(tmp_path: Path) -> None:
    """What is wrong is told even where the line cannot be found."""
    config_file = ConfigFile(tmp_path / "x.toml", text="not [ toml", tables={"a": 1})

    assert config_file.line_of("a") == 0


def test_part_of_a_path_that_is_there_gives_the_line(write: Callable[[str], Path]) -> None:
    """A missing key is told in the line of its table, a missing table in the first line."""
    config_file = ConfigFile.read(write('plugins = [\n  "a",\n]\n[plugin.a]\nx = [1]\n'))

    assert config_file.line_of("plugin", "a", "missing") == 4
    assert config_file.line_of("plugin", "a", "x", 7) == 5
    assert config_file.line_of("plugins", 0) == 2
    assert config_file.line_of("server", "listen") == 1


def test_entries_that_name_no_plugin_are_left_out(write: Callable[[str], Path]) -> None:
    """Validation tells of them; the others keep their places."""
    assert ConfigFile.read(write('plugins = ["a", 3, "", "b"]')).plugin_entries == {0: "a", 3: "b"}
    assert ConfigFile.read(write('plugins = "a"')).plugin_entries == {}
