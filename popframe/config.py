"""What a plugin's settings are made of.

Rule of this file: a value is never guessed at. ``"600"`` is not a number, an unknown key is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo


class PluginSettings(BaseModel):
    """The settings of a plugin: its table ``[plugin.NAME]`` of the configuration, validated once and frozen.

    A plugin derives its ``Settings`` from this class. Types are strict, and a key that the model does not have is an
    error; every field has a description that names its unit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


def _resolve(path: Path, info: ValidationInfo) -> Path:
    """Take a relative path as relative to the directory that the validation context names, if it names one."""
    directory = (info.context or {}).get("directory")
    return path if directory is None else Path(directory) / path


ConfigPath = Annotated[Path, Field(strict=False), AfterValidator(_resolve)]
"""A path in a configuration file; a relative one starts from the folder of that file."""
