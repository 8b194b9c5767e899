"""What the tests of the configuration share: a file with given text, and what validation says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pydantic import BaseModel

from popframe.config import ConfigFile, Configuration, InvalidConfiguration, Problem, validate

Models = Mapping[str, type[BaseModel] | None]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes the text of a configuration file and returns its path."""

    def write(text: str) -> Path:
        path = tmp_path / "popframe.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def valid(write: Callable[[str], Path]) -> Callable[[str, Models], Configuration]:
    """Return a function that validates a text without mistakes."""

    def valid(text: str, models: Models) -> Configuration:
        return validate(ConfigFile.read(write(text)), models)

    return valid


@pytest.fixture
def problems_in(write: Callable[[str], Path]) -> Callable[[str, Models], list[Problem]]:
    """Return a function that validates a text with mistakes and returns them."""

    def problems_in(text: str, models: Models) -> list[Problem]:
        with pytest.raises(InvalidConfiguration) as caught:
            validate(ConfigFile.read(write(text)), models)
        return list(caught.value.problems)

    return problems_in
